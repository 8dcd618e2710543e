"""Which blobs are stored where, and which repository links them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, case, delete, exists, null, select, type_coerce, update

from storage.digest import Digest
from storage.metadata import damage, removed
from storage.metadata.engine import Upsert
from storage.metadata.repositories import Viewer, id_of, lacks, portions, visible_to
from storage.metadata.schema import Instant, blob_links, blobs, manifest_references, repositories


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where a blob's bytes are."""

    digest: Digest
    size: int
    location: str
    loose_since: datetime | None = field(default=None, compare=False)
    """When somebody was last told that it is here, where no manifest of the repository names it."""


_NAMED: Final = exists().where(
    manifest_references.c.repository_id == blob_links.c.repository_id,
    manifest_references.c.target == blob_links.c.digest,
)

# A blob that is known to be damaged counts as one that is not there: it is not served, and the next push of
# its digest brings the bytes.
_IS_SOUND: Final = blobs.c.damaged_at.is_(None)

# Built once: that costs more than a run.
_FIND: Final = (
    select(
        blobs.c.size,
        blobs.c.location,
        type_coerce(case((_NAMED, null()), else_=blob_links.c.linked_at), Instant),
    )
    .join(blob_links, blob_links.c.digest == blobs.c.digest)
    .join(repositories, repositories.c.id == blob_links.c.repository_id)
    .where(repositories.c.name == bindparam("repository"), blobs.c.digest == bindparam("digest"), _IS_SOUND)
)


def find(db: Connection, repository: str, digest: Digest) -> StoredBlob | None:
    """Return the blob if the repository links it and it is not damaged."""
    row = db.execute(_FIND, {"repository": repository, "digest": digest}).first()
    return None if row is None else StoredBlob(digest, *row)


def find_anywhere(db: Connection, digest: Digest, viewer: Viewer) -> StoredBlob | None:
    """Return the blob if a repository that the viewer may see links it and it is not damaged."""
    statement = (
        select(blobs.c.size, blobs.c.location)
        .join(blob_links, blob_links.c.digest == blobs.c.digest)
        .join(repositories, repositories.c.id == blob_links.c.repository_id)
        .where(blobs.c.digest == digest, _IS_SOUND, visible_to(viewer))
        .limit(1)
    )
    row = db.execute(statement).first()
    return None if row is None else StoredBlob(digest, *row)


# Who is reading the bytes that were replaced has this long to come to their end.
_REPLACED_KEPT: Final = timedelta(hours=1)


_ADD: Final = Upsert(blobs, "size", "location", "verified_at", cleared=("unused_since", "damaged_at"))


def add(db: Connection, blob: StoredBlob, *, now: datetime) -> None:
    """Say where the bytes are, which are verified.

    A later location of the same bytes takes the place of an earlier one, whose bytes may be damaged and are
    on their way out.
    """
    earlier = damage.find(db, blob.digest)
    values = {"size": blob.size, "location": blob.location, "verified_at": now}
    _ADD.run(db, {"digest": blob.digest, "created_at": now, **values})
    if earlier is not None and earlier.location != blob.location:
        due_at = now + _REPLACED_KEPT
        reason = removed.Reason.REPLACED if earlier.damaged_at is None else removed.Reason.DAMAGED
        removed.add_bytes(db, blob.digest, earlier.size, earlier.location, reason, now=now, due_at=due_at)


def location_of(db: Connection, digest: Digest) -> str | None:
    """Return where the blob's bytes are, whoever links it."""
    return db.execute(select(blobs.c.location).where(blobs.c.digest == digest)).scalar()


_LINK: Final = Upsert(blob_links, "linked_at")
_IN_USE: Final = (
    update(blobs)
    .where(blobs.c.digest == bindparam("this"), blobs.c.unused_since.is_not(None))
    .values(unused_since=None)
)


def link(db: Connection, repository_id: int, digest: Digest, *, now: datetime) -> None:
    """Let the repository serve the blob; from now on it is in use, or about to be."""
    _LINK.run(db, {"repository_id": repository_id, "digest": digest, "linked_at": now})
    db.execute(_IN_USE, {"this": digest})


def renew(db: Connection, repository: str, digest: Digest, *, now: datetime) -> bool:
    """Keep the blob for whoever is told now that it is here; False where it is not, or not any more."""
    statement = update(blob_links).where(
        blob_links.c.repository_id == id_of(repository), blob_links.c.digest == digest
    )
    return db.execute(statement.values(linked_at=now)).rowcount > 0


# Whoever watches pushes looks back for some seconds, and is not to take what is let go for what came.
_NOT_NEWS: Final = timedelta(seconds=30)


def release(db: Connection, repository_id: int, digests: Iterable[str], *, now: datetime) -> None:
    """Let the time begin after which links go: a manifest that named the blobs is about to.

    Until now nobody needed to be counted who was told that a blob is here: the manifest kept it.
    """
    then = now - _NOT_NEWS
    c = blob_links.c
    for some in portions(digests):
        older = (c.repository_id == repository_id, c.digest.in_(some), c.linked_at < then)
        db.execute(update(blob_links).where(*older).values(linked_at=then))


def unlink(db: Connection, repository: str, digest: Digest) -> bool:
    """Take the blob from the repository; tell whether it was there."""
    statement = delete(blob_links).where(
        blob_links.c.repository_id == id_of(repository), blob_links.c.digest == digest
    )
    return db.execute(statement).rowcount > 0


def user_of(db: Connection, repository: str, digest: Digest) -> str | None:
    """Return the digest of a manifest in the repository that names the blob, if there is one."""
    references = manifest_references.c
    statement = select(references.digest).where(
        references.repository_id == id_of(repository),
        references.target == digest,
        references.kind == "blob",
    )
    return db.execute(statement.limit(1)).scalar()


def is_linked(db: Connection, repository: str, digest: Digest) -> bool:
    """Tell whether the repository links the blob, damaged or not."""
    statement = select(blob_links.c.digest).where(
        blob_links.c.repository_id == id_of(repository), blob_links.c.digest == digest
    )
    return db.execute(statement).first() is not None


def missing(db: Connection, repository_id: int, digests: Iterable[Digest]) -> list[Digest]:
    """Return those digests that the repository does not link or that are damaged, in order."""
    wanted = list(dict.fromkeys(digests))
    lacking = {*lacks(db, repository_id, blob_links, wanted), *damage.among(db, wanted)}
    return [digest for digest in wanted if digest in lacking]


def find_in(db: Connection, repository_id: int, digest: str) -> StoredBlob | None:
    """Return the blob if the repository links it and it is not damaged."""
    statement = (
        select(blobs.c.digest, blobs.c.size, blobs.c.location)
        .join(blob_links)
        .where(blob_links.c.repository_id == repository_id, blobs.c.digest == digest, _IS_SOUND)
    )
    row = db.execute(statement).first()
    return None if row is None else StoredBlob(Digest(row.digest), row.size, row.location)
