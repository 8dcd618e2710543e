"""The arithmetic of multipart uploads, and what an upload's row keeps of one.

S3 takes 10,000 parts at most. Equal parts are what every store takes; where a store takes parts of different
sizes, they may grow as an upload becomes longer.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from storage.blobs import StagedMissing

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

MAX_PARTS: Final = 10_000

# Of S3; the last part may be smaller.
MIN_PART: Final = 5 * MIB

# Part sizes that leave room for one part in flight while another is collected.
LARGEST_PART: Final = 32 * MIB

# Memory for one upload: the parts in flight and the one that is being collected.
UPLOAD_MEMORY: Final = 64 * MIB

# Parts that have one size before it doubles.
_PARTS_OF_A_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class PartPlan:
    """How long each part is: all are `first` bytes long, unless they grow up to `largest`."""

    first: int
    largest: int

    @classmethod
    def of(cls, part_size: int, *, growing: bool) -> "PartPlan":
        """Return the plan for parts of `part_size` bytes, that may grow as far as memory allows."""
        return cls(part_size, max(part_size, LARGEST_PART) if growing else part_size)

    def size(self, number: int) -> int:
        """Return the bytes of a part that is not the last; numbers begin at 1."""
        return min(self.first << (number - 1) // _PARTS_OF_A_SIZE, self.largest)

    def length(self, count: int) -> int:
        """Return the bytes of the first `count` parts."""
        steps = range(0, count, _PARTS_OF_A_SIZE)
        return sum(self.size(done + 1) * min(_PARTS_OF_A_SIZE, count - done) for done in steps)

    @property
    def limit(self) -> int:
        """The bytes of the largest blob that can be made of such parts."""
        return self.length(MAX_PARTS)


@dataclass(frozen=True, slots=True)
class UploadState:
    """An upload between two requests: the parts that are uploaded, and where the bytes behind them are."""

    size: int = 0
    first_part: int = 0
    largest_part: int = 0
    key: str = ""
    """Of the multipart upload, and so of the blob; empty without a part."""
    multipart: str = ""
    etags: tuple[str, ...] = ()
    """Of the parts, in order. A part that somebody else wrote has another, and cannot slip in."""
    tail: str = ""
    """The key of the object with the bytes behind the parts; empty if there are none."""
    superseded: tuple[str, ...] = ()
    """Keys of former tails, which nobody needs once a row keeps this state."""

    def to_text(self) -> str:
        """Return the state as a row keeps it."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def parse(cls, text: str | None) -> "UploadState":
        """Read what a row keeps; None is an upload without a byte.

        Raises:
            StagedMissing: this store did not write it.
        """
        if text is None:
            return cls()
        try:
            values = json.loads(text)
            etags, superseded = values.pop("etags", ()), values.pop("superseded", ())
            return cls(**values, etags=tuple(etags), superseded=tuple(superseded))
        except (ValueError, TypeError, AttributeError) as error:
            raise StagedMissing("the upload was begun in another store") from error
