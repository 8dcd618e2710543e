"""What the collector looks at and takes away: rows first, a page at a time.

Each kind of row is looked at in the order of its keys, some hundred at once, for what seems to go. Whatever
goes is taken in a short transaction that looks again: nothing that a push has got hold of since is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from storage.metadata import blobs as blob_rows
from storage.metadata import reachability, removed
from storage.metadata.removed import Reason, Sizes
from storage.metadata.schema import (
    Instant,
    blob_links,
    blobs,
    manifest_references,
    manifests,
    removed_content,
    repositories,
    tags,
)

K = TypeVar("K", bound=tuple[int | str, ...])
S = TypeVar("S", bound=tuple[Any, ...])


class Place(NamedTuple):
    """A manifest or a link: the id of the repository, and the digest."""

    repository_id: int
    digest: str


class Name(NamedTuple):
    """A blob."""

    digest: str


@dataclass(frozen=True, slots=True)
class Look(Generic[K]):
    """What a look at a page of rows found: those that seem to go, and the last one, if more follow it."""

    found: Sequence[K]
    last: K | None


# -- manifests -------------------------------------------------------------------------------------------


def loose_manifests(db: Connection, after: Place | None, *, before: datetime, limit: int) -> Look[Place]:
    """Look at manifests for those that no tag means and nobody has asked for since `before`."""
    c = manifests.c
    tagged = exists().where(tags.c.repository_id == c.repository_id, tags.c.digest == c.digest)
    old = and_(c.pushed_at < before, or_(c.renewed_at.is_(None), c.renewed_at < before))
    statement = select(c.repository_id, c.digest, and_(old, ~tagged)).order_by(c.repository_id, c.digest)
    rows = db.execute(_behind(statement, (c.repository_id, c.digest), after).limit(limit)).all()
    return _look([(Place(*key), goes) for *key, goes in rows], limit)


def remove_manifests(
    db: Connection, places: Sequence[Place], *, before: datetime, now: datetime, due_at: datetime
) -> Sizes:
    """Take those of the manifests that nothing keeps, to come back until they are due.

    Their children and referrers need no further time: whoever is told of one that is not kept renews it. Of
    their blobs that is not true, which they kept until now.
    """
    sizes: list[int] = []
    for repository_id, group in groupby(places, lambda place: place.repository_id):
        digests = {place.digest for place in group}
        going = sorted(digests - reachability.ways(db, repository_id, digests, young=before).kept)
        if going:
            _keep_account(db, repository_id, going, now=now, due_at=due_at)
            sizes += _delete_manifests(db, repository_id, going, now=now)
    return Sizes(len(sizes), sum(sizes))


def _keep_account(
    db: Connection, repository_id: int, digests: Sequence[str], *, now: datetime, due_at: datetime
) -> None:
    c = manifests.c
    kept = ("digest", "size", "repository", "media_type", "content", "reason", "removed_at", "due_at")
    values = (literal(Reason.UNTAGGED.value), literal(now, Instant), literal(due_at, Instant))
    rows = (
        select(c.digest, c.size, repositories.c.name, c.media_type, c.content, *values)
        .join_from(manifests, repositories)
        .where(c.repository_id == repository_id, c.digest.in_(digests))
    )
    db.execute(insert(removed_content).from_select(kept, rows))


def _delete_manifests(
    db: Connection, repository_id: int, digests: Sequence[str], *, now: datetime
) -> Sequence[int]:
    """Delete manifests; return the sizes of those that were there."""
    references, c = manifest_references.c, manifests.c
    named = select(references.target).where(
        references.repository_id == repository_id, references.digest.in_(digests)
    )
    blob_rows.release(db, repository_id, db.execute(named.distinct()).scalars().all(), now=now)
    gone = delete(manifests).where(c.repository_id == repository_id, c.digest.in_(digests))
    return db.execute(gone.returning(c.size)).scalars().all()


# -- links -----------------------------------------------------------------------------------------------


def loose_links(db: Connection, after: Place | None, *, before: datetime, limit: int) -> Look[Place]:
    """Look at links for those that no manifest needs and nobody was told of since `before`."""
    c = blob_links.c
    statement = select(c.repository_id, c.digest, _is_loose(before)).order_by(c.repository_id, c.digest)
    rows = db.execute(_behind(statement, (c.repository_id, c.digest), after).limit(limit)).all()
    return _look([(Place(*key), goes) for *key, goes in rows], limit)


def remove_links(db: Connection, places: Sequence[Place], *, before: datetime) -> int:
    """Take those of the links that still are loose; a blob without any is unused since its last."""
    c = blob_links.c
    statement = (
        delete(blob_links)
        .where(tuple_(c.repository_id, c.digest).in_(places), _is_loose(before))
        .returning(c.digest, c.linked_at)
    )
    gone = [{"key": row.digest, "since": row.linked_at} for row in db.execute(statement)]
    if gone:
        unused = (blobs.c.digest == bindparam("key"), blobs.c.unused_since.is_(None), ~_IS_LINKED)
        db.execute(update(blobs).where(*unused).values(unused_since=bindparam("since")), gone)
    return len(gone)


def _is_loose(before: datetime) -> ColumnElement[bool]:
    c = blob_links.c
    references = manifest_references.c
    # Whatever the manifest takes it for.
    named = exists().where(references.repository_id == c.repository_id, references.target == c.digest)
    return and_(c.linked_at < before, ~named)


# -- blobs -----------------------------------------------------------------------------------------------

_IS_LINKED: Final = exists().where(blob_links.c.digest == blobs.c.digest)


def unlinked_blobs(db: Connection, after: Name | None, *, limit: int) -> Look[Name]:
    """Look at blobs for those that no repository links and that are not known to be unused."""
    c = blobs.c
    statement = select(c.digest, and_(c.unused_since.is_(None), ~_IS_LINKED)).order_by(c.digest)
    rows = db.execute(_behind(statement, (c.digest,), after).limit(limit)).all()
    return _look([(Name(digest), goes) for digest, goes in rows], limit)


def note_unused(db: Connection, names: Sequence[Name], *, now: datetime) -> None:
    """Let the time begin after which the blobs go, unless they are linked by now."""
    digests = [name.digest for name in names]
    unused = (blobs.c.digest.in_(digests), blobs.c.unused_since.is_(None), ~_IS_LINKED)
    db.execute(update(blobs).where(*unused).values(unused_since=now))


def remove_unused(db: Connection, *, before: datetime, now: datetime, due_at: datetime, limit: int) -> Sizes:
    """Take at most `limit` blobs that are unused since `before`; their bytes stay until due."""
    c = blobs.c
    statement = (
        select(c.digest, c.size, c.location)
        .where(c.unused_since <= before, ~_IS_LINKED)
        .order_by(c.unused_since)
        .limit(limit)
    )
    gone = db.execute(statement).all()
    if gone:
        removed.add_all(db, gone, Reason.UNUSED, now=now, due_at=due_at)
        db.execute(delete(blobs).where(c.digest.in_([row.digest for row in gone])))
    return Sizes(len(gone), sum(row.size for row in gone))


# -- pages -----------------------------------------------------------------------------------------------


def _behind(
    statement: Select[S], keys: Sequence[Column[Any]], after: tuple[int | str, ...] | None
) -> Select[S]:
    if after is None:
        return statement
    values = [literal(value, key.type) for key, value in zip(keys, after, strict=True)]
    return statement.where(tuple_(*keys) > tuple_(*values))


def _look(rows: Sequence[tuple[K, bool]], limit: int) -> Look[K]:
    last = rows[-1][0] if len(rows) == limit else None
    return Look([key for key, goes in rows if goes], last)
