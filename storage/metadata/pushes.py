"""Pushes in progress, as they show in the rows that they write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from storage.digest import Digest
from storage.metadata.schema import blob_links, blobs, repositories, tags, uploads


@dataclass(frozen=True, slots=True)
class LinkedBlob:
    """A blob that a repository may serve."""

    digest: Digest
    size: int
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class SetTag:
    """A tag that means something new."""

    name: str
    digest: Digest
    tagged_by: str | None
    tagged_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """What is under way in a repository, and what landed since a moment, the oldest first."""

    uploads: int
    size: int
    """Bytes of the uploads that are safe."""
    blobs: Sequence[LinkedBlob]
    tags: Sequence[SetTag]


def progress(db: Connection, repository_id: int, *, since: datetime, limit: int) -> Progress | None:
    """Return what is going on; at most `limit` of blobs and of tags. None where the repository is gone."""
    name = db.execute(select(repositories.c.name).where(repositories.c.id == repository_id)).scalar()
    if name is None:
        return None
    under_way = select(func.count(), func.coalesce(func.sum(uploads.c.offset), 0))
    count, size = db.execute(under_way.where(uploads.c.repository == name)).one()
    return Progress(
        count,
        int(size),
        _blobs_since(db, repository_id, since, limit),
        _tags_since(db, repository_id, since, limit),
    )


def _blobs_since(db: Connection, repository_id: int, since: datetime, limit: int) -> Sequence[LinkedBlob]:
    c = blob_links.c
    statement = (
        select(c.digest, blobs.c.size, c.linked_at)
        .join(blobs, blobs.c.digest == c.digest)
        .where(c.repository_id == repository_id, c.linked_at >= since)
        .order_by(c.linked_at, c.digest)
        .limit(limit)
    )
    return [LinkedBlob(Digest(digest), size, at) for digest, size, at in db.execute(statement)]


def _tags_since(db: Connection, repository_id: int, since: datetime, limit: int) -> Sequence[SetTag]:
    c = tags.c
    statement = (
        select(c.name, c.digest, c.tagged_by, c.tagged_at)
        .where(c.repository_id == repository_id, c.tagged_at >= since)
        .order_by(c.tagged_at, c.name)
        .limit(limit)
    )
    return [SetTag(name, Digest(digest), by, at) for name, digest, by, at in db.execute(statement)]
