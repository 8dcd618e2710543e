"""Manifests, byte for byte, with what they name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Row, Select, and_, bindparam, delete, select, update

from storage.digest import Digest
from storage.metadata import blobs
from storage.metadata.engine import Upsert
from storage.metadata.repositories import id_of, lacks, portions
from storage.metadata.schema import manifest_references, manifests, repositories, tags


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest's row without its bytes; `annotations` and `artifact_type` as its referrers list them."""

    digest: Digest
    media_type: str
    size: int
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None
    warning: str | None = None
    """What the tag and the repository that it was found by tell whoever pulls."""
    renewed_at: datetime | None = field(default=None, compare=False)
    """When it was last pushed, or a push was told that it is here; None where nobody looked."""


@dataclass(frozen=True, slots=True)
class References:
    """What a manifest names."""

    blobs: tuple[Digest, ...] = ()
    manifests: tuple[Digest, ...] = ()


def _by_reference(*columns: Column[Any]) -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Return the statements that select by digest and by tag; built once, as that costs more than a run.

    Each selects the deprecation of the repository as well, and the one by tag that of the tag.
    """
    in_repository = (
        select(*columns, repositories.c.deprecation)
        .select_from(manifests)
        .join(repositories)
        .where(repositories.c.name == bindparam("repository"))
    )
    tagged = and_(tags.c.repository_id == manifests.c.repository_id, tags.c.digest == manifests.c.digest)
    by_tag = in_repository.add_columns(tags.c.deprecation.label("tag_deprecation"))
    by_tag = by_tag.join_from(manifests, tags, tagged).where(tags.c.name == bindparam("reference"))
    return in_repository.where(manifests.c.digest == bindparam("reference")), by_tag


_FOUND: Final = (
    manifests.c.digest,
    manifests.c.media_type,
    manifests.c.size,
    manifests.c.pushed_at,
    manifests.c.renewed_at,
)
_FIND_BY_DIGEST, _FIND_BY_TAG = _by_reference(*_FOUND)
_READ_BY_DIGEST, _READ_BY_TAG = _by_reference(*_FOUND, manifests.c.content)


def find(db: Connection, repository: str, reference: str) -> StoredManifest | None:
    """Return the manifest that `reference`, a tag or a digest, means in the repository."""
    # A tag holds no colon and a digest always does (distribution specification, "Pulling manifests").
    statement = _FIND_BY_DIGEST if ":" in reference else _FIND_BY_TAG
    row = db.execute(statement, {"repository": repository, "reference": reference}).first()
    return None if row is None else _found(row, row[5:])


def read(db: Connection, repository: str, reference: str) -> tuple[StoredManifest, bytes] | None:
    """Return the manifest that `reference` means, with its bytes."""
    statement = _READ_BY_DIGEST if ":" in reference else _READ_BY_TAG
    row = db.execute(statement, {"repository": repository, "reference": reference}).first()
    if row is None:
        return None
    return _found(row, row[6:]), row[5]


def _found(row: Row[*tuple[Any, ...]], deprecations: Sequence[str | None]) -> StoredManifest:
    digest, media_type, size, pushed_at, renewed_at = row[:5]
    warning = "; ".join(text for text in reversed(deprecations) if text) or None
    last = pushed_at if renewed_at is None else max(pushed_at, renewed_at)
    return StoredManifest(Digest(digest), media_type, size, warning=warning, renewed_at=last)


_PUT: Final = Upsert(manifests, "media_type", "pushed_at", "pushed_by")
_REFER: Final = Upsert(manifest_references)


def put(
    db: Connection,
    repository_id: int,
    manifest: StoredManifest,
    content: bytes,
    references: References,
    *,
    by: str | None,
    now: datetime,
) -> None:
    """Keep a manifest; when it is there already, the media type of this push counts."""
    annotations = json.dumps(dict(manifest.annotations)) if manifest.annotations else None
    key = {"repository_id": repository_id, "digest": manifest.digest}
    _PUT.run(
        db,
        {
            **key,
            "media_type": manifest.media_type,
            "size": manifest.size,
            "subject": manifest.subject,
            "artifact_type": manifest.artifact_type,
            "annotations": annotations,
            "pushed_at": now,
            "pushed_by": by,
            "content": content,
        },
    )
    named = {("blob", target) for target in references.blobs}
    named |= {("manifest", target) for target in references.manifests}
    if named:
        _REFER.run(db, *({**key, "kind": kind, "target": target} for kind, target in sorted(named)))


def missing(db: Connection, repository_id: int, digests: Iterable[Digest]) -> list[Digest]:
    """Return those digests that are no manifests of the repository, in order."""
    return lacks(db, repository_id, manifests, digests)


def remove(db: Connection, repository: str, digest: Digest, *, now: datetime) -> bool:
    """Delete a manifest with its tags; tell whether it was there. What it kept is kept for a while more."""
    this = (manifests.c.repository_id == id_of(repository), manifests.c.digest == digest)
    repository_id = db.execute(select(manifests.c.repository_id).where(*this)).scalar()
    if repository_id is None:
        return False
    release(db, repository_id, digest, now=now)
    db.execute(delete(manifests).where(*this))
    return True


def release(db: Connection, repository_id: int, digest: str, *, now: datetime) -> None:
    """Let the time begin after which goes what the manifest kept, which is about to go itself.

    That are the blobs and manifests that it names, and its referrers.
    """
    c = manifest_references.c
    statement = select(c.target).where(c.repository_id == repository_id, c.digest == digest)
    named = db.execute(statement).scalars().all()
    blobs.release(db, repository_id, named, now=now)
    for some in portions(named):
        renew(db, repository_id, some, now=now)
    refers = (manifests.c.repository_id == repository_id, manifests.c.subject == digest)
    db.execute(update(manifests).where(*refers).values(renewed_at=now))


def renew(db: Connection, repository_id: int, digests: Sequence[str], *, now: datetime) -> bool:
    """Keep manifests for a while; False where none of them is there. A page's worth of digests at most."""
    c = manifests.c
    statement = update(manifests).where(c.repository_id == repository_id, c.digest.in_(digests))
    return db.execute(statement.values(renewed_at=now)).rowcount > 0


def referrers(
    db: Connection,
    repository: str,
    subject: Digest,
    *,
    artifact_type: str | None,
    last: str,
    limit: int,
    max_bytes: int,
) -> tuple[list[StoredManifest], bool]:
    """Return manifests whose subject is `subject`, by digest after `last`, and whether there are more.

    At most `limit` of them, and no more once their annotations take `max_bytes`: those are the pusher's, and
    whoever lists must not pay for them without end.
    """
    statement = select(
        manifests.c.digest,
        manifests.c.media_type,
        manifests.c.size,
        manifests.c.subject,
        manifests.c.artifact_type,
        manifests.c.annotations,
    ).where(
        manifests.c.repository_id == id_of(repository),
        manifests.c.subject == subject,
        manifests.c.digest > last,
    )
    if artifact_type is not None:
        statement = statement.where(manifests.c.artifact_type == artifact_type)
    found: list[StoredManifest] = []
    size = 0
    with db.execute(statement.order_by(manifests.c.digest).limit(limit + 1)) as rows:
        while (row := rows.fetchone()) is not None:
            if len(found) == limit or size > max_bytes:
                return found, True
            size += len(row.annotations or "")
            found.append(_referrer(row))
    return found, False


def _referrer(row: Row[str, str, int, str | None, str | None, str | None]) -> StoredManifest:
    digest, media_type, size, subject, artifact_type, annotations = row
    return StoredManifest(
        Digest(digest),
        media_type,
        size,
        None if subject is None else Digest(subject),
        artifact_type,
        None if annotations is None else json.loads(annotations),
    )


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest with its bytes, and when and by whom it was pushed last."""

    digest: Digest
    media_type: str
    content: bytes
    pushed_at: datetime
    pushed_by: str | None


def read_some(db: Connection, repository_id: int, digests: Iterable[str]) -> Mapping[str, PushedManifest]:
    """Return those of the manifests that the repository has; a page's worth of them at most."""
    c = manifests.c
    statement = select(c.digest, c.media_type, c.content, c.pushed_at, c.pushed_by).where(
        c.repository_id == repository_id, c.digest.in_(list(digests))
    )
    return {row.digest: PushedManifest(Digest(row.digest), *row[1:]) for row in db.execute(statement)}
