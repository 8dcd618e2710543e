"""How much is stored: by namespace, and altogether."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, exists, func, select

from storage.metadata.schema import (
    accounts,
    blob_links,
    blobs,
    manifests,
    namespaces,
    repositories,
    tags,
    uploads,
)


@dataclass(frozen=True, slots=True)
class NamespaceUse:
    """What a namespace takes: bytes of blobs that it alone links, and of those that others link as well."""

    name: str
    repositories: int
    exclusive: int = 0
    shared: int = 0


def by_namespace(db: Connection, *, last: str, limit: int) -> Sequence[NamespaceUse]:
    """Return the namespaces after `last` by name, at most `limit`."""
    c = namespaces.c
    statement = select(c.id, c.name).where(c.name > last).order_by(c.name).limit(limit)
    found = db.execute(statement).all()
    ids = [row.id for row in found]
    counts, sizes = _repositories(db, ids), _sizes(db, ids)
    return [NamespaceUse(name, counts.get(key, 0), *sizes.get(key, (0, 0))) for key, name in found]


def _repositories(db: Connection, ids: Sequence[int]) -> Mapping[int, int]:
    c = repositories.c
    statement = select(c.namespace_id, func.count()).where(c.namespace_id.in_(ids))
    return {row[0]: row[1] for row in db.execute(statement.group_by(c.namespace_id))}


def _sizes(db: Connection, ids: Sequence[int]) -> Mapping[int, tuple[int, int]]:
    """Return the exclusive and the shared bytes by namespace; a blob counts once in each."""
    mine = (
        select(repositories.c.namespace_id, blob_links.c.digest)
        .join(blob_links, blob_links.c.repository_id == repositories.c.id)
        .where(repositories.c.namespace_id.in_(ids))
        .distinct()
        .subquery()
    )
    link, other = blob_links.alias(), repositories.alias()
    shared = (
        exists()
        .where(
            link.c.digest == mine.c.digest,
            other.c.id == link.c.repository_id,
            other.c.namespace_id != mine.c.namespace_id,
        )
        .correlate(mine)
    )
    marked = select(mine.c.namespace_id, blobs.c.size, case((shared, 1), else_=0).label("shared")).join_from(
        mine, blobs, blobs.c.digest == mine.c.digest
    )
    each = marked.subquery().c
    statement = select(
        each.namespace_id,
        func.sum(each.size * (1 - each.shared)),
        func.sum(each.size * each.shared),
    ).group_by(each.namespace_id)
    return {key: (int(alone), int(together)) for key, alone, together in db.execute(statement)}


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is of everything; `size` in bytes of blobs."""

    accounts: int
    namespaces: int
    repositories: int
    tags: int
    manifests: int
    blobs: int
    uploads: int
    size: int


def totals(db: Connection) -> Totals:
    """Count everything."""
    tables = (accounts, namespaces, repositories, tags, manifests, blobs, uploads)
    counts = {each.name: db.execute(select(func.count()).select_from(each)).scalar_one() for each in tables}
    size = db.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar_one()
    return Totals(**counts, size=int(size))
