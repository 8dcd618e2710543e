"""Uploads under way: how far each has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

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


_FIND: Final = select(
    uploads.c.id,
    uploads.c.repository,
    uploads.c.actor,
    uploads.c.algorithm,
    uploads.c.offset,
    uploads.c.digest,
).where(uploads.c.id == bindparam("id"))


def find(db: Connection, upload_id: str) -> StoredUpload | None:
    """Return the upload."""
    row = db.execute(_FIND, {"id": upload_id}).first()
    if row is None:
        return None
    upload_id, repository, actor, algorithm, offset, digest = row
    digest = None if digest is None else Digest(digest)
    return StoredUpload(upload_id, repository, actor, algorithm, offset, digest)


def advance(
    db: Connection, upload_id: str, offset: int, digest: Digest | None, *, since: int, now: datetime
) -> bool:
    """Say that `offset` bytes are durable now; False when the upload is no longer at `since`, where it was.

    Nobody else can have gone on with an upload that is held. Should that ever fail, a row must still never
    say of bytes what was true of others.
    """
    values = {"offset": offset, "digest": digest, "touched_at": now}
    held = (uploads.c.id == upload_id, uploads.c.offset == since)
    return db.execute(update(uploads).where(*held).values(**values)).rowcount > 0


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
