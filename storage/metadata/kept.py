"""What to tell of things that are kept or that go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, exists, func, select, tuple_

from storage.metadata.collection import Place
from storage.metadata.removed import Sizes
from storage.metadata.schema import blob_links, blobs, manifest_references, manifests, repositories, tags

# Repositories that are told of: a base image may be in any number.
_MANY: Final = 100


class Where(NamedTuple):
    """A repository."""

    repository_id: int
    repository: str


@dataclass(frozen=True, slots=True)
class Link:
    """A blob's link: a manifest that needs it, if one does."""

    where: Where
    linked_at: datetime
    manifest: str | None


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob with its links, of very many only some."""

    size: int
    unused_since: datetime | None
    links: Sequence[Link]


class Thing(NamedTuple):
    """What may go: "manifest" or "blob", where, and how large it is."""

    kind: str
    repository: str
    digest: str
    size: int


def repositories_with(db: Connection, digest: str) -> Sequence[Where]:
    """Return the repositories that have the manifest."""
    statement = select(repositories.c.id, repositories.c.name).join(
        manifests, manifests.c.repository_id == repositories.c.id
    )
    rows = db.execute(
        statement.where(manifests.c.digest == digest).order_by(repositories.c.name).limit(_MANY)
    )
    return [Where(*row) for row in rows]


def a_tag_of(db: Connection, repository_id: int, digest: str) -> str:
    """Return a tag of the manifest; there is one."""
    statement = select(tags.c.name).where(tags.c.repository_id == repository_id, tags.c.digest == digest)
    name: str = db.execute(statement.order_by(tags.c.name).limit(1)).scalar_one()
    return name


def renewed_at(db: Connection, repository_id: int, digest: str) -> datetime:
    """Return when the manifest was last pushed, or a push was told that it is here."""
    c = manifests.c
    statement = select(c.pushed_at, c.renewed_at).where(c.repository_id == repository_id, c.digest == digest)
    pushed, renewed = db.execute(statement).one()
    last: datetime = pushed if renewed is None else max(pushed, renewed)
    return last


def blob(db: Connection, digest: str) -> Blob | None:
    """Return the blob."""
    row = db.execute(select(blobs.c.size, blobs.c.unused_since).where(blobs.c.digest == digest)).first()
    if row is None:
        return None
    references, link = manifest_references.c, blob_links.c
    named = (
        select(func.min(references.digest))
        .where(references.repository_id == link.repository_id, references.target == link.digest)
        .scalar_subquery()
    )
    statement = select(repositories.c.id, repositories.c.name, link.linked_at, named).join_from(
        blob_links, repositories
    )
    rows = db.execute(statement.where(link.digest == digest).order_by(repositories.c.name).limit(_MANY))
    return Blob(*row, [Link(Where(id_, name), at, manifest) for id_, name, at, manifest in rows])


def of_links(db: Connection, places: Sequence[Place]) -> Sequence[Thing]:
    """Return the blobs of links, each with its size where this is its only link, else with none."""
    c, other = blob_links.c, blob_links.alias().c
    shared = exists().where(other.digest == c.digest, other.repository_id != c.repository_id)
    statement = (
        select(repositories.c.name, c.digest, blobs.c.size, shared)
        .join_from(blob_links, repositories)
        .join(blobs, blobs.c.digest == c.digest)
        .where(tuple_(c.repository_id, c.digest).in_(places))
    )
    return [
        Thing("blob", name, digest, 0 if more else size) for name, digest, size, more in db.execute(statement)
    ]


def of_manifests(db: Connection, places: Sequence[Place]) -> Sequence[Thing]:
    """Return the manifests."""
    c = manifests.c
    statement = select(repositories.c.name, c.digest, c.size).join_from(manifests, repositories)
    rows = db.execute(statement.where(tuple_(c.repository_id, c.digest).in_(places))) if places else ()
    return [Thing("manifest", *row) for row in rows]


def unused_since(db: Connection, moment: datetime) -> Sizes:
    """Return how many blobs no repository has had since then, and their bytes."""
    statement = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0))
    count, size = db.execute(statement.where(blobs.c.unused_since <= moment)).one()
    return Sizes(count, int(size))
