"""Tags: names for manifests."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select

from storage.digest import Digest
from storage.metadata import manifests
from storage.metadata.engine import Upsert
from storage.metadata.repositories import id_of
from storage.metadata.schema import tags


def digest_of(db: Connection, repository: str, name: str) -> Digest | None:
    """Return what the tag means now."""
    statement = select(tags.c.digest).where(tags.c.repository_id == id_of(repository), tags.c.name == name)
    digest = db.execute(statement).scalar()
    return None if digest is None else Digest(digest)


_MEANT: Final = select(tags.c.digest).where(
    tags.c.repository_id == bindparam("repository_id"), tags.c.name == bindparam("name")
)
_PUT: Final = Upsert(tags, "digest", "tagged_at", "tagged_by")


def put(
    db: Connection, repository_id: int, name: str, digest: Digest, *, by: str | None, now: datetime
) -> None:
    """Let the tag mean the manifest `digest` of the repository.

    What it meant before, and is maybe tagged no more, is kept for a while.
    """
    key = {"repository_id": repository_id, "name": name}
    meant = db.execute(_MEANT, key).scalar()
    if meant is not None and meant != digest:
        manifests.renew(db, repository_id, [meant], now=now)
    _PUT.run(db, {**key, "digest": digest, "tagged_at": now, "tagged_by": by})


def names(db: Connection, repository: str, *, last: str, limit: int) -> Sequence[str]:
    """Return the names after `last` in byte order, at most `limit`."""
    statement = (
        select(tags.c.name)
        .where(tags.c.repository_id == id_of(repository), tags.c.name > last)
        .order_by(tags.c.name)
        .limit(limit)
    )
    return db.execute(statement).scalars().all()


def remove(db: Connection, repository: str, name: str, *, now: datetime) -> bool:
    """Delete the tag, not what it means; tell whether it was there."""
    statement = delete(tags).where(tags.c.repository_id == id_of(repository), tags.c.name == name)
    removed = db.execute(statement.returning(tags.c.repository_id, tags.c.digest)).first()
    if removed is None:
        return False
    manifests.renew(db, removed.repository_id, [removed.digest], now=now)
    return True


def of_manifest(db: Connection, repository_id: int, digest: str, *, limit: int) -> Sequence[str]:
    """Return tags that mean the manifest, the one set last first."""
    statement = (
        select(tags.c.name)
        .where(tags.c.repository_id == repository_id, tags.c.digest == digest)
        .order_by(tags.c.tagged_at.desc(), tags.c.name)
        .limit(limit)
    )
    return db.execute(statement).scalars().all()
