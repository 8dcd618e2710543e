"""How long things are kept that nothing needs, and how those are counted who are told that one is here.

A blob that a manifest names is kept by it, and a manifest by a tag that leads to it: when the last of these
goes, the time begins. So it costs nothing to tell of them. Of what nothing keeps the time is renewed, in the
database, before anybody is told that it is here; not if half of it is left.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from registry.names import RepositoryName
from storage.digest import Digest
from storage.metadata import blobs, manifests, reachability, repositories
from storage.metadata.blobs import StoredBlob
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import StoredManifest

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Grace:
    """How long what nothing needs is kept."""

    blobs: timedelta = _DAY
    """Since a push was last told that the blob is here, or lost what kept it."""
    quarantine: timedelta = _DAY
    """Since then, the bytes: they can come back."""
    untagged: timedelta | None = None
    """Since a manifest was pushed or asked for, or lost the tag that led to it; None keeps it for ever."""
    redirected: timedelta = timedelta()
    """Since they were removed, bytes: clients that were sent to the store have so long to come for them."""


DEFAULT_GRACE: Final = Grace()


class Renewal:
    """Counts those who are told that something is here."""

    def __init__(self, metadata: Metadata, grace: Grace) -> None:
        self._metadata = metadata
        self._grace = grace

    async def keep_blob(self, repository: RepositoryName, blob: StoredBlob) -> bool:
        """Keep a blob that was found for whoever is told so; False where it is gone meanwhile."""
        if blob.loose_since is None:
            return True
        now = datetime.now(UTC)
        if now - blob.loose_since < self._grace.blobs / 2:
            return True
        return await self._metadata.write(blobs.renew, repository, blob.digest, now=now)

    async def keep_manifest(self, repository: RepositoryName, manifest: StoredManifest) -> bool:
        """Keep a manifest that was found by its digest; False where it is gone meanwhile."""
        untagged, renewed_at = self._grace.untagged, manifest.renewed_at
        if untagged is None or renewed_at is None:
            return True
        now = datetime.now(UTC)
        half = now - untagged / 2
        if renewed_at > half or await self._metadata.lookup(_is_kept, repository, manifest.digest, half):
            return True
        return await self._metadata.write(_renew, repository, manifest.digest, now)


def _is_kept(db: Connection, repository: RepositoryName, digest: Digest, young: datetime) -> bool:
    found = repositories.find(db, repository)
    return found is not None and digest in reachability.ways(db, found.id, [digest], young=young).kept


def _renew(db: Connection, repository: RepositoryName, digest: Digest, now: datetime) -> bool:
    found = repositories.find(db, repository)
    return found is not None and manifests.renew(db, found.id, [digest], now=now)
