"""Uploads under way: how far each has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from storage.digest import Digest
from storage.metadata.schema import uploads


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload's row."""

    id: str
    repository: str
    actor: str | None
    """Who began it: nobody else may go on with it."""
    algorithm: str
    offset: int
    """Bytes that are durable in the store."""
    digest: Digest | None
    """The digest of those bytes; None where nobody hashed all of them in one go."""


def add(db: Connection, upload: StoredUpload, *, now: datetime) -> None:
    """Begin an upload."""
    db.execute(
        uploads.insert().values(
            id=upload.id,
            repository=upload.repository,
            actor=upload.actor,
            algorithm=upload.algorithm,
            offset=upload.offset,
            digest=upload.digest,
            started_at=now,
            touched_at=now,
        )
    )


def find(db: Connection, upload_id: str) -> StoredUpload | None:
    """Return the upload."""
    columns = uploads.c
    statement = select(
        columns.id, columns.repository, columns.actor, columns.algorithm, columns.offset, columns.digest
    )
    row = db.execute(statement.where(columns.id == upload_id)).first()
    if row is None:
        return None
    upload_id, repository, actor, algorithm, offset, digest = row
    digest = None if digest is None else Digest(digest)
    return StoredUpload(upload_id, repository, actor, algorithm, offset, digest)


def advance(db: Connection, upload_id: str, offset: int, digest: Digest | None, *, now: datetime) -> None:
    """Say how many bytes are durable now."""
    values = {"offset": offset, "digest": digest, "touched_at": now}
    db.execute(update(uploads).where(uploads.c.id == upload_id).values(**values))


def remove(db: Connection, upload_id: str) -> bool:
    """Forget the upload; tell whether it was there."""
    return db.execute(delete(uploads).where(uploads.c.id == upload_id)).rowcount > 0


def untouched_since(db: Connection, moment: datetime) -> Sequence[str]:
    """Return the ids of uploads that nothing was added to since `moment`."""
    return db.execute(select(uploads.c.id).where(uploads.c.touched_at < moment)).scalars().all()


def is_touched_since(db: Connection, upload_id: str, moment: datetime) -> bool:
    """Tell whether something was added to the upload at or after `moment`."""
    statement = select(uploads.c.id).where(uploads.c.id == upload_id, uploads.c.touched_at >= moment)
    return db.execute(statement).first() is not None
