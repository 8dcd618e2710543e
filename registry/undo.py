"""Bringing back what was collected, as long as its bytes are there and are what their digests say.

Since they were removed nobody has read them. So a first transaction finds out which bytes would come back and
is given up, they are read, and another one brings back what is sound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from registry.errors import Problem, RegistryError
from registry.manifest import parse_manifest
from registry.names import RepositoryName
from registry.verification import Damage, Verifier
from storage.blobs import BlobStore
from storage.digest import Digest
from storage.metadata import blobs, damage, manifests, removed, repositories
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import References, StoredManifest
from storage.metadata.removed import RemovedBytes, RemovedManifest

# What is wrong with bytes by their locations; None with those that are sound.
_Looks = Mapping[str, Damage | None]

_GONE: Final = "gone"

# How long what would come back is kept while the next of its blobs is read.
_KEPT: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Returned:
    """What came back: manifests, and the blobs that they have."""

    repository: str | None
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    damaged: tuple[Digest, ...] = ()
    """Blobs that a manifest can do without, and that stay away as their bytes are damaged."""


class Undo:
    """Takes back what the collector did."""

    def __init__(self, metadata: Metadata, store: BlobStore) -> None:
        self._metadata = metadata
        self._verifier = Verifier(metadata, store)

    async def bring_back(self, digest: Digest, repository: RepositoryName | None = None) -> Returned:
        """Bring a manifest back to its repository, with its children and blobs, or a blob to `repository`.

        Raises:
            RegistryError: NOT_HERE; in words for the operator. Nothing came back.
            StoreUnavailable: bytes cannot be read now. Nothing came back.
        """
        looks: dict[str, Damage | None] = {}
        while True:
            try:
                run = partial(_bring_back, digest, repository, looks, datetime.now(UTC))
                return await self._metadata.write(run)
            except _Unread as unread:
                for each in unread.found:
                    until = datetime.now(UTC) + _KEPT
                    await self._metadata.write(removed.keep_until, unread.rows, until)
                    row = BlobRow(each.digest, each.size, each.location)
                    looks[each.location] = await self._verifier.look(row)


class _Unread(Exception):
    """Some of what would come back was not read yet; `rows` are the ids of all of it."""

    def __init__(self, found: Sequence[RemovedBytes], rows: Sequence[int]) -> None:
        super().__init__()
        self.found = found
        self.rows = rows


def _bring_back(
    digest: Digest, repository: RepositoryName | None, looks: _Looks, now: datetime, db: Connection
) -> Returned:
    attempt = _Attempt(db, looks, now)
    found = removed.manifests_of(db, digest)
    returned = attempt.bring_manifest(found, repository) if found else attempt.bring_blob(digest, repository)
    if attempt.unread:
        raise _Unread(attempt.unread, attempt.rows)
    return returned


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One transaction. Bytes that `looks` does not tell of count as sound, and the attempt does not."""

    db: Connection
    looks: _Looks
    now: datetime
    unread: list[RemovedBytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    damaged: list[Digest] = field(default_factory=list)

    def bring_blob(self, digest: Digest, repository: RepositoryName | None) -> Returned:
        fault = self._bring_bytes(digest)
        if fault:
            raise _lost(f"{digest} cannot come back: its bytes are {fault}")
        if repository is not None:
            blobs.link(self.db, self._id_of(repository), digest, now=self.now)
        return Returned(repository, (), (digest,))

    def bring_manifest(self, found: Sequence[RemovedManifest], repository: RepositoryName | None) -> Returned:
        places = sorted({each.repository for each in found})
        if repository is None and len(places) > 1:
            raise _lost(f"it was removed from {', '.join(places)}: say --repository")
        place = repository or places[0]
        chosen = [each for each in found if each.repository == place] or found
        manifest_digests: list[Digest] = []
        blob_digests: list[Digest] = []
        waiting = [chosen[0]]
        repository_id = self._id_of(place)
        while waiting:
            each = waiting.pop()
            manifest_digests.append(each.digest)
            parsed = parse_manifest(each.content, each.media_type)
            blob_digests += self._link_all(repository_id, parsed.blobs)
            blob_digests += self._link_all(repository_id, parsed.optional_blobs, may_lack=True)
            children = tuple(child.digest for child in parsed.children)
            for child in manifests.missing(self.db, repository_id, children):
                if child not in manifest_digests:
                    there = removed.manifests_of(self.db, child)
                    waiting += [one for one in there if one.repository == place][:1]
            references = References((*parsed.blobs, *parsed.optional_blobs), children)
            stored = StoredManifest(
                each.digest,
                each.media_type,
                len(each.content),
                parsed.subject,
                parsed.artifact_type,
                parsed.annotations,
            )
            manifests.put(self.db, repository_id, stored, each.content, references, by=None, now=self.now)
            removed.forget(self.db, [each.id])
            self.rows.append(each.id)
        blob_digests = list(dict.fromkeys(blob_digests))
        damaged = tuple(dict.fromkeys(self.damaged))
        return Returned(place, tuple(manifest_digests), tuple(blob_digests), damaged)

    def _link_all(
        self, repository_id: int, digests: Sequence[Digest], *, may_lack: bool = False
    ) -> list[Digest]:
        """Link blobs, bringing back those that were removed; return those that are here now."""
        lacking = set(blobs.missing(self.db, repository_id, digests))
        here = [each for each in digests if each not in lacking]
        for each in lacking:
            fault = self._bring_bytes(each)
            if not fault:
                blobs.link(self.db, repository_id, each, now=self.now)
                here.append(each)
            elif not may_lack:
                raise _lost(f"its blob {each} is {fault}")
            elif fault != _GONE:
                self.damaged.append(each)
        return here

    def _bring_bytes(self, digest: Digest) -> str:
        """Let a blob be here, if it is not; return what is wrong with it, in words: nothing if it is here."""
        here = damage.find(self.db, digest)
        if here is not None:
            return "" if here.damaged_at is None else "damaged"
        fault = _GONE
        for each in removed.bytes_of(self.db, digest):
            found = self.looks.get(each.location)
            if found is None:
                if each.location not in self.looks:
                    self.unread.append(each)
                removed.bring_back(self.db, each, now=self.now)
                self.rows.append(each.id)
                return ""
            fault = f"damaged ({found})"
        return fault

    def _id_of(self, repository: str) -> int:
        found = repositories.find(self.db, repository)
        if found is None:
            raise _lost(f"there is no repository {repository}")
        return found.id


def _lost(words: str) -> RegistryError:
    return RegistryError(Problem.NOT_HERE, words)
