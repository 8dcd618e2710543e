"""What was removed and can still come back, until it is due to go for good."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, true, update

from storage.digest import Digest
from storage.metadata import backups
from storage.metadata.engine import insert
from storage.metadata.schema import blobs, removed_content


class Reason(StrEnum):
    """Why something was removed."""

    UNUSED = "unused"
    """No repository links the blob."""
    UNTAGGED = "untagged"
    """No tag leads to the manifest."""
    REPLACED = "replaced"
    """The same bytes were pushed again, to another location."""
    UNNAMED = "unnamed"
    """No row named the bytes."""
    DAMAGED = "damaged"
    """The bytes were not what the digest says."""


@dataclass(frozen=True, slots=True)
class RemovedBytes:
    """Bytes in the store that no row of `blobs` names."""

    id: int
    digest: Digest
    size: int
    location: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many there are, and their bytes altogether."""

    count: int
    size: int


NOTHING: Final = Sizes(0, 0)


def add_bytes(
    db: Connection,
    digest: Digest,
    size: int,
    location: str,
    reason: Reason,
    *,
    now: datetime,
    due_at: datetime,
) -> None:
    """Keep account of bytes that no row of `blobs` names any more; twice is once."""
    add_all(db, [(digest, size, location)], reason, now=now, due_at=due_at)


def add_all(
    db: Connection,
    found: Iterable[Sequence[Any]],
    reason: Reason,
    *,
    now: datetime,
    due_at: datetime,
) -> None:
    """Keep account of bytes: of each the digest, the size and the location. There is at least one."""
    values = {"reason": reason, "removed_at": now, "due_at": due_at}
    rows = [
        {"digest": digest, "size": size, "location": location, **values} for digest, size, location in found
    ]
    db.execute(insert(db, removed_content).on_conflict_do_nothing(index_elements=["location"]), rows)


def is_any_due(db: Connection, *, now: datetime, redirected: timedelta = timedelta()) -> bool:
    """Tell whether anything is due: to ask costs less than to write."""
    c = removed_content.c
    kinds = or_(c.location.is_(None), _is_left_alone(now, redirected))
    return db.execute(select(c.id).where(c.due_at <= now, kinds).limit(1)).first() is not None


def _is_left_alone(now: datetime, redirected: timedelta) -> ColumnElement[bool]:
    """Return the condition under which no client comes any more for bytes that a redirect led to."""
    return or_(removed_content.c.is_going, removed_content.c.removed_at <= now - redirected)


def take_due(
    db: Connection, *, now: datetime, limit: int, redirected: timedelta = timedelta()
) -> Sequence[RemovedBytes]:
    """Return at most `limit` bytes that are due. From now on they cannot come back.

    Those whose deletion was begun and not seen through are among them. What a backup may still read waits,
    and so does what clients were sent to the store for, who have `redirected` to come for it.
    """
    c = removed_content.c
    needed_since = backups.needed_since(db, now=now)
    is_free = true() if needed_since is None else or_(c.is_going, c.removed_at < needed_since)
    statement = (
        select(c.id, c.digest, c.size, c.location)
        .where(c.due_at <= now, c.location.is_not(None), is_free, _is_left_alone(now, redirected))
        .order_by(c.due_at, c.id)
        .limit(limit)
    )
    found = [RemovedBytes(id_, Digest(digest), *rest) for id_, digest, *rest in db.execute(statement)]
    going = c.id.in_([each.id for each in found])
    db.execute(update(removed_content).where(going).values(is_going=True))
    return found


def forget(db: Connection, ids: Sequence[int]) -> None:
    """Forget what is gone from the store."""
    db.execute(delete(removed_content).where(removed_content.c.id.in_(ids)))


def postpone(db: Connection, ids: Sequence[int], *, due_at: datetime) -> None:
    """Try again then: now the bytes could not be deleted."""
    db.execute(update(removed_content).where(removed_content.c.id.in_(ids)).values(due_at=due_at))


def keep_until(db: Connection, ids: Sequence[int], moment: datetime) -> None:
    """Let what is not being deleted yet be due then, if that is later: somebody is about to bring it back."""
    c = removed_content.c
    sooner = (c.id.in_(ids), c.due_at < moment, c.is_going.is_(False))
    db.execute(update(removed_content).where(*sooner).values(due_at=moment))


def forget_due_manifests(db: Connection, *, now: datetime, limit: int) -> int:
    """Forget at most `limit` manifests that are due; return how many."""
    c = removed_content.c
    due = select(c.id).where(c.due_at <= now, c.location.is_(None)).order_by(c.due_at, c.id).limit(limit)
    return db.execute(delete(removed_content).where(c.id.in_(due))).rowcount


def waiting(db: Connection) -> Sizes:
    """Return how many removed blobs still take room, and how much."""
    c = removed_content.c
    statement = select(func.count(), func.coalesce(func.sum(c.size), 0)).where(c.location.is_not(None))
    count, size = db.execute(statement).one()
    return Sizes(count, int(size))


@dataclass(frozen=True, slots=True)
class RemovedManifest:
    """A manifest that was taken from its repository."""

    id: int
    digest: Digest
    repository: str
    media_type: str
    content: bytes


def manifests_of(db: Connection, digest: str) -> Sequence[RemovedManifest]:
    """Return what was removed of a manifest, from whichever repositories, the latest first."""
    c = removed_content.c
    statement = select(c.id, c.digest, c.repository, c.media_type, c.content)
    this = (c.digest == digest, c.content.is_not(None))
    rows = db.execute(statement.where(*this).order_by(c.removed_at.desc(), c.id.desc()))
    return [RemovedManifest(id_, Digest(row_digest), *rest) for id_, row_digest, *rest in rows]


def bytes_of(db: Connection, digest: str) -> Sequence[RemovedBytes]:
    """Return where bytes of the digest still are, as nobody has begun to delete them; the latest first."""
    c = removed_content.c
    statement = select(c.id, c.size, c.location).where(
        c.digest == digest, c.location.is_not(None), c.is_going.is_(False)
    )
    rows = db.execute(statement.order_by(c.removed_at.desc(), c.id.desc()))
    return [RemovedBytes(id_, Digest(digest), *rest) for id_, *rest in rows]


def bring_back(db: Connection, found: RemovedBytes, *, now: datetime) -> None:
    """Let a blob that is gone be where its bytes still are, which are verified."""
    back = {"digest": found.digest, "size": found.size, "location": found.location}
    db.execute(insert(db, blobs).values(**back, created_at=now, verified_at=now))
    forget(db, [found.id])


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, why, and until when it can come back."""

    size: int
    repository: str | None
    reason: str
    removed_at: datetime
    due_at: datetime
    is_going: bool
    is_manifest: bool


def of_digest(db: Connection, digest: str) -> Sequence[Removal]:
    """Return all that was removed under the digest, the latest first."""
    c = removed_content.c
    statement = select(
        c.size, c.repository, c.reason, c.removed_at, c.due_at, c.is_going, c.location.is_(None)
    )
    rows = db.execute(statement.where(c.digest == digest).order_by(c.removed_at.desc(), c.id.desc()))
    return [Removal(*row) for row in rows]


def due(db: Connection, *, now: datetime, redirected: timedelta = timedelta()) -> Sizes:
    """Return how many removed blobs are due, and their bytes."""
    c = removed_content.c
    statement = select(func.count(), func.coalesce(func.sum(c.size), 0))
    is_due = (c.location.is_not(None), c.due_at <= now, _is_left_alone(now, redirected))
    count, size = db.execute(statement.where(*is_due)).one()
    return Sizes(count, int(size))
