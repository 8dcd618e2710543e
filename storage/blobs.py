"""The BlobStore protocol: verified bytes. It knows no repositories and no users.

Errors:
    BlobStoreError
    ├── BlobMissing      no bytes at this location
    ├── StagedMissing    the bytes of an upload are gone, in whole or in part
    ├── StagedBusy       another request is writing to the upload
    └── StoreFull        no room; nothing half-written is visible
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from storage.digest import Digest


class BlobStoreError(Exception):
    """Something that a store has to say."""


class BlobMissing(BlobStoreError):
    """There are no bytes at this location."""


class StagedMissing(BlobStoreError):
    """The bytes of an upload are gone, in whole or in part: it has to start anew."""


class StagedBusy(BlobStoreError):
    """Another request holds the upload."""


class StoreFull(BlobStoreError):
    """The store has no room for more bytes."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room for blobs, in bytes."""

    free: int
    total: int


class BlobReader(Protocol):
    """A stored blob that is open for reading; it stays readable when the blob is deleted meanwhile."""

    @property
    def file(self) -> BinaryIO | None:
        """A local file with exactly the blob's bytes, where there is one: the kernel can send it."""

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from offset `start` up to, not including, `stop`."""

    async def close(self) -> None:
        """Give back what the reader holds."""


class StagedBlob(Protocol):
    """The bytes of one upload, held by one request at a time."""

    async def resume(self, offset: int) -> None:
        """Go on after the first `offset` bytes; what was written behind them is dropped.

        Raises:
            StagedMissing: fewer bytes than that are there.
        """

    async def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            StoreFull: only a part of it, or nothing, was written.
        """

    async def sync(self) -> None:
        """Return when all bytes written so far survive a loss of power."""

    def read(self) -> AsyncIterator[bytes]:
        """Yield the bytes from the first one to the last that was written."""

    async def commit(self, digest: Digest) -> str:
        """Make the bytes a blob, durably, and return its location. They were verified by the caller."""

    async def discard(self) -> None:
        """Drop the bytes. Dropping what is gone is no error."""


class BlobStore(Protocol):
    """Where blobs live. A location is opaque to everyone else and is kept in the blob's row."""

    chunk_min_length: int | None
    """The smallest chunk, in bytes, that costs nothing extra (`OCI-Chunk-Min-Length`); none if any does."""

    async def prepare(self) -> None:
        """Make ready for use; called once, before anything else."""

    async def stage(self, key: str) -> None:
        """Begin an upload under `key`, a name that the caller has made unique."""

    def hold(self, key: str) -> AbstractAsyncContextManager[StagedBlob]:
        """Hold the upload against every other request, of this process or another.

        State that is read while the upload is held cannot change before it is let go.

        Raises:
            StagedMissing: there is no such upload.
            StagedBusy: somebody else holds it.
        """

    async def staged_before(self, moment: datetime) -> Iterable[str]:
        """Return the keys of uploads whose last byte came before `moment`."""

    async def space(self) -> Space | None:
        """Return how much room there is; None where nothing bounds it."""

    async def open(self, location: str) -> BlobReader:
        """Open the blob at `location`.

        Raises:
            BlobMissing: there is none.
        """
