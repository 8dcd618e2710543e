"""What rows say of each other that the database itself does not hold them to, and what it may have lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, exists, not_, select, text, tuple_

from storage.digest import Digest
from storage.metadata.repositories import lacks
from storage.metadata.schema import (
    blob_links,
    blobs,
    manifest_references,
    manifests,
    removed_content,
    repositories,
    tags,
)

# Manifests hold megabytes at worst.
_FEW: Final = 20


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """A manifest with its bytes, and what rows say that it names: (kind, digest)."""

    repository_id: int
    repository: str
    digest: Digest
    media_type: str
    size: int
    content: bytes
    named: frozenset[tuple[str, str]]


def manifests_page(db: Connection, *, after: tuple[int, str]) -> Sequence[KeptManifest]:
    """Return some manifests whose repository's id and digest come after these, in order."""
    c = manifests.c
    columns = (c.repository_id, repositories.c.name, c.digest, c.media_type, c.size, c.content)
    key = tuple_(c.repository_id, c.digest)
    statement = select(*columns).join(repositories).where(key > tuple_(*after))
    rows = db.execute(statement.order_by(c.repository_id, c.digest).limit(_FEW)).all()
    return [
        KeptManifest(row[0], row[1], Digest(row[2]), row[3], row[4], row[5], _named(db, row[0], row[2]))
        for row in rows
    ]


def _named(db: Connection, repository_id: int, digest: str) -> frozenset[tuple[str, str]]:
    c = manifest_references.c
    statement = select(c.kind, c.target).where(c.repository_id == repository_id, c.digest == digest)
    return frozenset((row.kind, row.target) for row in db.execute(statement))


def unlinked(
    db: Connection, repository_id: int, manifest: Digest, named: Sequence[Digest]
) -> Sequence[Digest]:
    """Return those blobs that the repository does not link; none if the manifest is not there any more."""
    c = manifests.c
    there = select(c.digest).where(c.repository_id == repository_id, c.digest == manifest)
    if db.execute(there).first() is None:
        return []
    return lacks(db, repository_id, blob_links, named)


def tags_without_manifest(db: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield repository, name and digest of tags whose manifest is not there."""
    there = exists().where(
        manifests.c.repository_id == tags.c.repository_id, manifests.c.digest == tags.c.digest
    )
    statement = select(repositories.c.name, tags.c.name, tags.c.digest).join(repositories)
    for row in db.execute(statement.where(not_(there)).order_by(repositories.c.name, tags.c.name)):
        yield row[0], row[1], row[2]


def links_without_blob(db: Connection) -> Iterator[tuple[str, str]]:
    """Yield repository and digest of links to blobs that have no row."""
    there = exists().where(blobs.c.digest == blob_links.c.digest)
    statement = select(repositories.c.name, blob_links.c.digest).join(repositories)
    for row in db.execute(statement.where(not_(there)).order_by(repositories.c.name, blob_links.c.digest)):
        yield row[0], row[1]


def blobs_about_to_go(db: Connection) -> Iterator[tuple[str, str]]:
    """Yield digest and location of blobs whose bytes also count as removed: they would go."""
    twice = and_(removed_content.c.digest == blobs.c.digest, removed_content.c.location == blobs.c.location)
    for row in db.execute(select(blobs.c.digest, blobs.c.location).join(removed_content, twice)):
        yield row[0], row[1]


def faults_of_file(db: Connection) -> Iterator[str]:
    """Yield what SQLite finds wrong with its file, and rows whose foreign keys lead nowhere."""
    if db.dialect.name != "sqlite":
        return
    for (words,) in db.execute(text("PRAGMA integrity_check")):
        if words != "ok":
            yield words
    for table, rowid, parent, _ in db.execute(text("PRAGMA foreign_key_check")):
        yield f"row {rowid} of {table} names a row of {parent} that is not there"
