"""What goes with a repository, a manifest or a tag that is deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, exists, func, select

from storage.digest import Digest
from storage.metadata.schema import (
    blob_links,
    blobs,
    manifest_references,
    manifests,
    repositories,
    tags,
)

# Other tags of a manifest that are named.
_MAX_OTHERS: Final = 100


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a deletion comes to.

    Attributes:
        tags: that go.
        other_tags: of the same manifest, some of them where there are very many: with a tag they stay and
            with a manifest they go.
        manifests: that go, or that no tag leads to any more.
        size: bytes of blobs that nothing else in the registry keeps.
        stars: that go.
        referrers: manifests that refer to what goes: signatures and the like.
        dependents: indexes that name what goes and stay.
    """

    tags: int
    other_tags: tuple[str, ...] = ()
    manifests: int = 0
    size: int = 0
    stars: int = 0
    referrers: int = 0
    dependents: int = 0


def of_repository(db: Connection, repository_id: int) -> Consequences:
    """Return what goes with the repository."""
    star_count = select(repositories.c.star_count).where(repositories.c.id == repository_id)
    elsewhere = blob_links.alias()
    shared = exists().where(
        elsewhere.c.digest == blob_links.c.digest, elsewhere.c.repository_id != repository_id
    )
    return Consequences(
        tags=_count(db, tags, tags.c.repository_id == repository_id),
        manifests=_count(db, manifests, manifests.c.repository_id == repository_id),
        size=_size(db, blob_links.c.repository_id == repository_id, ~shared),
        stars=db.execute(star_count).scalar_one(),
        referrers=_count(
            db, manifests, manifests.c.repository_id == repository_id, manifests.c.subject.is_not(None)
        ),
    )


def of_tag(db: Connection, repository_id: int, name: str) -> Consequences | None:
    """Return what goes with the tag; None where there is no such tag."""
    this = (tags.c.repository_id == repository_id, tags.c.name == name)
    digest = db.execute(select(tags.c.digest).where(*this)).scalar()
    if digest is None:
        return None
    others = [each for each in _tags_of(db, repository_id, digest, _MAX_OTHERS + 1) if each != name]
    return _of_digest(db, repository_id, Digest(digest), tags_gone=1, others=others, kept=bool(others))


def of_manifest(db: Connection, repository_id: int, digest: Digest) -> Consequences | None:
    """Return what goes with the manifest; None where there is no such manifest."""
    this = (manifests.c.repository_id == repository_id, manifests.c.digest == digest)
    if not _count(db, manifests, *this):
        return None
    gone = _count(db, tags, tags.c.repository_id == repository_id, tags.c.digest == digest)
    others = _tags_of(db, repository_id, digest, _MAX_OTHERS)
    return _of_digest(db, repository_id, digest, tags_gone=gone, others=others, kept=False)


def _of_digest(
    db: Connection, repository_id: int, digest: Digest, *, tags_gone: int, others: Sequence[str], kept: bool
) -> Consequences:
    c = manifest_references.c
    dependents = _count(
        db,
        manifest_references,
        c.repository_id == repository_id,
        c.target == digest,
        c.kind == "manifest",
    )
    referrers = _count(
        db, manifests, manifests.c.repository_id == repository_id, manifests.c.subject == digest
    )
    going = [] if kept or dependents else [digest, *_children(db, repository_id, digest)]
    return Consequences(
        tags=tags_gone,
        other_tags=tuple(others[:_MAX_OTHERS]),
        manifests=len(going),
        size=_size_of_manifests(db, repository_id, going),
        referrers=referrers,
        dependents=dependents,
    )


def _tags_of(db: Connection, repository_id: int, digest: str, limit: int) -> Sequence[str]:
    this = (tags.c.repository_id == repository_id, tags.c.digest == digest)
    # A joined text, so that no index of the names is read to its end in search of the digest.
    statement = select(tags.c.name).where(*this).order_by(tags.c.name + "").limit(limit)
    return db.execute(statement).scalars().all()


def _children(db: Connection, repository_id: int, digest: Digest) -> Sequence[Digest]:
    """Return the manifests that an index names, and that neither a tag nor another index names."""
    c, other = manifest_references.c, manifest_references.alias().c
    tagged = exists().where(tags.c.repository_id == repository_id, tags.c.digest == c.target)
    named = exists().where(
        other.repository_id == repository_id, other.target == c.target, other.digest != digest
    )
    present = exists().where(manifests.c.repository_id == repository_id, manifests.c.digest == c.target)
    statement = select(c.target).where(
        c.repository_id == repository_id, c.digest == digest, c.kind == "manifest", present, ~tagged, ~named
    )
    return [Digest(each) for each in db.execute(statement).scalars()]


def _size_of_manifests(db: Connection, repository_id: int, digests: Sequence[Digest]) -> int:
    """Return the bytes of blobs that these manifests name, and nothing else in the registry."""
    c, other, elsewhere = manifest_references.c, manifest_references.alias().c, blob_links.alias().c
    named = select(c.target).where(c.repository_id == repository_id, c.kind == "blob", c.digest.in_(digests))
    used = exists().where(
        other.repository_id == repository_id,
        other.target == blob_links.c.digest,
        other.digest.not_in(digests),
    )
    linked = exists().where(elsewhere.digest == blob_links.c.digest, elsewhere.repository_id != repository_id)
    mine = (blob_links.c.repository_id == repository_id, blob_links.c.digest.in_(named))
    return _size(db, *mine, ~used, ~linked) if digests else 0


def _size(db: Connection, *conditions: ColumnElement[bool]) -> int:
    statement = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .select_from(blob_links)
        .join(blobs, blobs.c.digest == blob_links.c.digest)
        .where(*conditions)
    )
    return int(db.execute(statement).scalar_one())


def _count(db: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    return db.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
