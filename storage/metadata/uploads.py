"""Uploads under way: how far each has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from storage.digest import Digest
from storage.metadata.leases import CLOCK_ERROR
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
    state: str | None = None
    """What the store needs to go on after those bytes, in its own words."""


# Statements of every push are built once: that costs more than a run.
_ADD: Final = uploads.insert()
_HELD: Final = (uploads.c.id == bindparam("this"), uploads.c.offset == bindparam("since"))
_ADVANCE: Final = update(uploads).where(*_HELD)
_FINISH: Final = delete(uploads).where(*_HELD)


def add(db: Connection, upload: StoredUpload, *, now: datetime) -> None:
    """Begin an upload."""
    db.execute(
        _ADD,
        {
            "id": upload.id,
            "repository": upload.repository,
            "actor": upload.actor,
            "algorithm": upload.algorithm,
            "offset": upload.offset,
            "digest": upload.digest,
            "state": upload.state,
            "started_at": now,
            "touched_at": now,
        },
    )


_FIND: Final = select(
    uploads.c.id,
    uploads.c.repository,
    uploads.c.actor,
    uploads.c.algorithm,
    uploads.c.offset,
    uploads.c.digest,
    uploads.c.state,
).where(uploads.c.id == bindparam("id"))


def find(db: Connection, upload_id: str) -> StoredUpload | None:
    """Return the upload."""
    row = db.execute(_FIND, {"id": upload_id}).first()
    if row is None:
        return None
    upload_id, repository, actor, algorithm, offset, digest, state = row
    digest = None if digest is None else Digest(digest)
    return StoredUpload(upload_id, repository, actor, algorithm, offset, digest, state)


def advance(
    db: Connection,
    upload_id: str,
    offset: int,
    digest: Digest | None,
    state: str | None,
    *,
    since: int,
    now: datetime,
) -> bool:
    """Say that `offset` bytes are durable now; False when the upload is no longer at `since`, where it was.

    Nobody else can have gone on with an upload that is held. Should that ever fail, a row must still never
    say of bytes what was true of others.
    """
    values = {"offset": offset, "digest": digest, "state": state, "touched_at": now}
    return db.execute(_ADVANCE, {"this": upload_id, "since": since, **values}).rowcount > 0


def finish(db: Connection, upload_id: str, *, since: int) -> bool:
    """Forget the upload that became a blob; False when it is no longer at `since`, or gone.

    Then somebody else went on with it or gave it up, and its bytes are no longer the caller's to name.
    """
    return db.execute(_FINISH, {"this": upload_id, "since": since}).rowcount > 0


def remove(db: Connection, upload_id: str) -> bool:
    """Forget the upload; tell whether it was there."""
    return db.execute(delete(uploads).where(uploads.c.id == upload_id)).rowcount > 0


_BEGUN: Final = uploads.c.actor.is_not_distinct_from(bindparam("actor"))
_COUNT: Final = select(func.count()).select_from(
    select(uploads.c.id).where(_BEGUN).limit(bindparam("most")).subquery()
)


def count_of(db: Connection, actor: str | None, *, most: int) -> int:
    """Return how many uploads somebody has begun and not finished, as far as `most`."""
    return db.execute(_COUNT, {"actor": actor, "most": most}).scalar_one()


def longest_idle(db: Connection, actor: str | None, before: datetime) -> str | None:
    """Return the upload of somebody's that nothing was added to for longest, if not since `before`."""
    statement = select(uploads.c.id).where(_BEGUN, uploads.c.touched_at < before)
    return db.execute(statement.order_by(uploads.c.touched_at).limit(1), {"actor": actor}).scalar()


def untouched_since(db: Connection, moment: datetime) -> Sequence[str]:
    """Return the ids of uploads that nothing was added to since `moment`."""
    return db.execute(select(uploads.c.id).where(uploads.c.touched_at < moment)).scalars().all()


def is_touched_since(db: Connection, upload_id: str, moment: datetime) -> bool:
    """Tell whether something was added to the upload at or after `moment`."""
    statement = select(uploads.c.id).where(uploads.c.id == upload_id, uploads.c.touched_at >= moment)
    return db.execute(statement).first() is not None


def take_hold(db: Connection, upload_id: str, holder: str, *, now: datetime, until: datetime) -> bool | None:
    """Hold the upload until then; False when another does, None when there is no such upload.

    A hold that ends long after the one that is asked for was taken by a clock that was wrong: it is void.
    """
    free = or_(
        uploads.c.holder.is_(None), uploads.c.held_until <= now, uploads.c.held_until > until + CLOCK_ERROR
    )
    statement = update(uploads).where(uploads.c.id == upload_id, free)
    if db.execute(statement.values(holder=holder, held_until=until)).rowcount > 0:
        return True
    return (
        None if db.execute(select(uploads.c.id).where(uploads.c.id == upload_id)).first() is None else False
    )


def renew_hold(db: Connection, upload_id: str, holder: str, *, until: datetime) -> bool:
    """Hold the upload for longer; False when it is lost, or gone."""
    mine = (uploads.c.id == upload_id, uploads.c.holder == holder)
    return db.execute(update(uploads).where(*mine).values(held_until=until)).rowcount > 0


def release_hold(db: Connection, upload_id: str, holder: str) -> None:
    """Let the upload go, unless it is lost already."""
    mine = (uploads.c.id == upload_id, uploads.c.holder == holder)
    db.execute(update(uploads).where(*mine).values(holder=None, held_until=None))
