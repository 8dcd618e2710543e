"""Bringing back what was collected, as long as its bytes are there for certain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from registry.errors import Problem, RegistryError
from registry.manifest import parse_manifest
from registry.names import RepositoryName
from storage.digest import Digest
from storage.metadata import blobs, manifests, removed, repositories
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import References, StoredManifest
from storage.metadata.removed import RemovedManifest


@dataclass(frozen=True, slots=True)
class Returned:
    """What came back: manifests, and how many blobs they have."""

    repository: str | None
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]


class Undo:
    """Takes back what the collector did."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def bring_back(self, digest: Digest, repository: RepositoryName | None = None) -> Returned:
        """Bring a manifest back to its repository, with its children and blobs, or a blob to `repository`.

        Raises:
            RegistryError: NOT_HERE; in words for the operator. Nothing was changed.
        """
        return await self._metadata.write(_bring_back, digest, repository, datetime.now(UTC))


def _bring_back(db: Connection, digest: Digest, repository: RepositoryName | None, now: datetime) -> Returned:
    found = removed.manifests_of(db, digest)
    if found:
        return _bring_manifest(db, found, repository, now)
    if removed.bring_back_bytes(db, digest, now=now) is None:
        raise _lost(f"nothing of {digest} can come back")
    if repository is not None:
        blobs.link(db, _id_of(db, repository), digest, now=now)
    return Returned(repository, (), (digest,))


def _bring_manifest(
    db: Connection, found: Sequence[RemovedManifest], repository: RepositoryName | None, now: datetime
) -> Returned:
    places = sorted({each.repository for each in found})
    if repository is None and len(places) > 1:
        raise _lost(f"it was removed from {', '.join(places)}: say --repository")
    place = repository or places[0]
    chosen = [each for each in found if each.repository == place] or found
    manifest_digests: list[Digest] = []
    blob_digests: list[Digest] = []
    waiting = [chosen[0]]
    repository_id = _id_of(db, place)
    while waiting:
        each = waiting.pop()
        manifest_digests.append(each.digest)
        parsed = parse_manifest(each.content, each.media_type)
        blob_digests += _link_all(db, repository_id, parsed.blobs, now)
        blob_digests += _link_all(db, repository_id, parsed.optional_blobs, now, may_lack=True)
        children = tuple(child.digest for child in parsed.children)
        for child in manifests.missing(db, repository_id, children):
            if child not in manifest_digests:
                waiting += [one for one in removed.manifests_of(db, child) if one.repository == place][:1]
        references = References((*parsed.blobs, *parsed.optional_blobs), children)
        stored = StoredManifest(
            each.digest,
            each.media_type,
            len(each.content),
            parsed.subject,
            parsed.artifact_type,
            parsed.annotations,
        )
        manifests.put(db, repository_id, stored, each.content, references, by=None, now=now)
        removed.forget(db, [each.id])
    return Returned(place, tuple(manifest_digests), tuple(dict.fromkeys(blob_digests)))


def _link_all(
    db: Connection, repository_id: int, digests: Sequence[Digest], now: datetime, *, may_lack: bool = False
) -> list[Digest]:
    """Link blobs, bringing back those that were removed; return those that are here now."""
    lacking = set(blobs.missing(db, repository_id, digests))
    here = [each for each in digests if each not in lacking]
    for each in lacking:
        if removed.bring_back_bytes(db, each, now=now) is not None:
            blobs.link(db, repository_id, each, now=now)
            here.append(each)
        elif not may_lack:
            raise _lost(f"its blob {each} is gone")
    return here


def _id_of(db: Connection, repository: str) -> int:
    found = repositories.find(db, repository)
    if found is None:
        raise _lost(f"there is no repository {repository}")
    return found.id


def _lost(words: str) -> RegistryError:
    return RegistryError(Problem.NOT_HERE, words)
