"""Which blobs were found damaged, and when each was last found sound.

A blob is meant with its location: what was found of bytes says nothing of those that replaced them meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, update

from storage.digest import Digest
from storage.metadata.repositories import portions
from storage.metadata.schema import blob_links, blobs, manifest_references, repositories

# Repositories that are told of a blob.
_MAX_NAMES: Final = 5

# Not "is not null", for which SQLite reads the whole index.
_IS_DAMAGED: Final = blobs.c.damaged_at > datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob as its row tells of it; `damaged_at` is when its bytes were found damaged, if they were."""

    digest: Digest
    size: int
    location: str
    damaged_at: datetime | None = None


_ROW: Final = select(blobs.c.digest, blobs.c.size, blobs.c.location, blobs.c.damaged_at)
# Built once, as every push asks: that costs more than a run.
_FIND: Final = _ROW.where(blobs.c.digest == bindparam("digest"))


def find(db: Connection, digest: Digest) -> BlobRow | None:
    """Return the blob's row, whoever links it."""
    row = db.execute(_FIND, {"digest": digest}).first()
    return None if row is None else BlobRow(Digest(row[0]), *row[1:])


def page(db: Connection, *, after: str, limit: int) -> Sequence[BlobRow]:
    """Return blobs whose digests come after `after`, in order."""
    return _rows(db, blobs.c.digest > after, limit, blobs.c.digest)


def damaged_page(db: Connection, *, after: str, limit: int) -> Sequence[BlobRow]:
    """Return damaged blobs whose digests come after `after`, in order."""
    return _rows(db, and_(_IS_DAMAGED, blobs.c.digest > after), limit, blobs.c.digest)


def least_verified(db: Connection, *, before: datetime, limit: int) -> Sequence[BlobRow]:
    """Return the blobs that were verified longest ago and before `before`; damaged ones are left out."""
    due = and_(blobs.c.verified_at < before, blobs.c.damaged_at.is_(None))
    return _rows(db, due, limit, blobs.c.verified_at)


def least_looked_at(db: Connection, *, limit: int) -> Sequence[BlobRow]:
    """Return the damaged blobs that were looked at longest ago."""
    return _rows(db, _IS_DAMAGED, limit, blobs.c.damaged_at)


def _rows(
    db: Connection, condition: ColumnElement[bool], limit: int, order: ColumnElement[object]
) -> Sequence[BlobRow]:
    rows = db.execute(_ROW.where(condition).order_by(order).limit(limit))
    return [BlobRow(Digest(row[0]), *row[1:]) for row in rows]


def is_current(db: Connection, blob: BlobRow) -> bool:
    """Tell whether the blob's row still names that location."""
    return db.execute(select(blobs.c.digest).where(_same(blob))).first() is not None


def note_sound(db: Connection, found: Sequence[BlobRow], *, now: datetime) -> None:
    """Say that the bytes were read and are what the digests say: also of those that counted as damaged."""
    for blob in found:
        db.execute(update(blobs).where(_same(blob)).values(verified_at=now, damaged_at=None))


def note_damaged(db: Connection, blob: BlobRow, *, now: datetime) -> bool:
    """Say that the bytes are damaged; False when that is known, or they were replaced meanwhile."""
    new = and_(_same(blob), blobs.c.damaged_at.is_(None))
    return db.execute(update(blobs).where(new).values(damaged_at=now)).rowcount > 0


def note_looked_at(db: Connection, blob: BlobRow, *, now: datetime) -> None:
    """Say that the bytes were looked at again and are damaged still."""
    db.execute(update(blobs).where(_same(blob), _IS_DAMAGED).values(damaged_at=now))


def _same(blob: BlobRow) -> ColumnElement[bool]:
    return and_(blobs.c.digest == blob.digest, blobs.c.location == blob.location)


def count(db: Connection) -> int:
    """Return how many blobs are damaged."""
    return db.execute(select(func.count()).select_from(blobs).where(_IS_DAMAGED)).scalar_one()


_AMONG: Final = select(blobs.c.digest).where(
    blobs.c.digest.in_(bindparam("some", expanding=True)), _IS_DAMAGED
)


def among(db: Connection, digests: Iterable[str]) -> set[str]:
    """Return those digests whose blobs are damaged."""
    found = set[str]()
    for some in portions(digests):
        found.update(db.execute(_AMONG, {"some": some}).scalars())
    return found


def named_by(db: Connection, repository_id: int, digest: str, *, limit: int) -> Sequence[str]:
    """Return the digests of damaged blobs that the manifest names, in order."""
    c = manifest_references.c
    statement = (
        select(c.target)
        .join(blobs, blobs.c.digest == c.target)
        .where(c.repository_id == repository_id, c.digest == digest, c.kind == "blob", _IS_DAMAGED)
    )
    return db.execute(statement.order_by(c.target).limit(limit)).scalars().all()


def linked_by(db: Connection, digest: Digest) -> Sequence[str]:
    """Return the names of some repositories that link the blob."""
    statement = select(repositories.c.name).join(blob_links).where(blob_links.c.digest == digest)
    return db.execute(statement.order_by(repositories.c.name).limit(_MAX_NAMES)).scalars().all()
