"""Bringing bytes back that a store has lost: from what else it keeps, from a copy, from another registry."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from registry.backup.source import BlobSource
from registry.errors import Problem, RegistryError
from registry.interface import Chunk
from registry.names import RepositoryName
from registry.uploads import HeldUpload, Uploads
from storage.blobs import BlobMissing, BlobStore, BlobStoreError
from storage.digest import Digest
from storage.metadata import blobs, removed
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Connection, Metadata
from storage.metadata.inventory import Inventory

_log = structlog.stdlib.get_logger("longshore.healing")

# An upload of nobody's: no repository has this name, as no client can ask for it.
_NOWHERE: Final = RepositoryName("-/-")

# Whose uploads they are: no account's name holds a colon. As many as blobs are healed at a time, and those
# that a crash has left to the sweep.
_ACTOR: Final = "longshore:healing"
_MOST: Final = 1_000_000

# Bytes without a name that are looked into for one blob.
_MAX_LEFTOVERS: Final = 20

_READ_SIZE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NamedSource:
    """Where bytes may be had again, and what to call that."""

    name: str
    source: BlobSource


class Healer:
    """Puts sound bytes in the place of damaged ones: as an upload of its own, hashed on its way."""

    def __init__(self, metadata: Metadata, store: BlobStore) -> None:
        self._metadata = metadata
        self._uploads = Uploads(metadata, store, _MOST)

    async def heal(self, blob: BlobRow, sources: Sequence[NamedSource]) -> str | None:
        """Return the name of the first source that had the bytes; None if none had.

        Raises:
            RegistryError: STORE_FULL.
        """
        for each in sources:
            try:
                data = await each.source.open(blob.digest)
                if data is not None and await self._take(blob.digest, data):
                    return each.name
            except (OSError, BlobStoreError) as error:
                _log.warning("source failed", source=each.name, digest=blob.digest, error=str(error))
        return None

    async def _take(self, digest: Digest, data: AsyncIterator[bytes]) -> bool:
        upload = await self._uploads.start(_NOWHERE, _ACTOR, digest.algorithm)
        try:
            async with self._uploads.hold(_NOWHERE, _ACTOR, upload.id) as held:
                await held.receive(Chunk(data), digest.algorithm)
                stored = await held.commit(digest)
                await self._metadata.write(partial(_replace, held, stored))
        except RegistryError as error:
            if error.problem is not Problem.DIGEST_INVALID:
                raise
            return False
        except BaseException:
            # Where the store failed it is gone already.
            with contextlib.suppress(RegistryError):
                async with self._uploads.hold(_NOWHERE, _ACTOR, upload.id) as held:
                    await held.drop()
            raise
        return True


def _replace(held: HeldUpload, stored: blobs.StoredBlob, db: Connection) -> None:
    held.finish(db)
    blobs.add(db, stored, now=datetime.now(UTC))


class Leftovers:
    """What the store itself keeps of the same bytes: removed ones that are not gone yet, and unnamed ones."""

    def __init__(self, metadata: Metadata, store: BlobStore, inventory: Inventory) -> None:
        self._metadata = metadata
        self._store = store
        self._inventory = inventory

    async def of(self, blob: BlobRow) -> Sequence[NamedSource]:
        """Return where it may be; only their digest can tell of some that they are others."""
        removed_bytes = await self._metadata.lookup(removed.bytes_of, blob.digest)
        kept = [each.location for each in removed_bytes if each.location != blob.location]
        unnamed = self._inventory.unnamed_of_size(blob.size, limit=_MAX_LEFTOVERS)
        # A name that tells the digest comes first.
        unnamed = sorted(unnamed, key=lambda each: blob.digest.hex not in each.location)
        return [
            *(NamedSource("removed content", _Kept(self._store, each, blob.size)) for each in kept),
            *(NamedSource("unnamed bytes", _Kept(self._store, each.location, blob.size)) for each in unnamed),
        ]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes of a store, as a BlobSource."""

    store: BlobStore
    location: str
    size: int

    async def open(self, _: Digest) -> AsyncIterator[bytes] | None:
        try:
            reader = await self.store.open(self.location)
        except BlobMissing:
            return None

        async def read() -> AsyncIterator[bytes]:
            try:
                async for data in reader.read(0, self.size):
                    yield data
            finally:
                await reader.close()

        return read()


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory with blobs as files: a backup, a copy of a data directory or an OCI image layout."""

    path: Path

    async def open(self, digest: Digest) -> AsyncIterator[bytes] | None:
        """Begin to read a file that is named by the digest."""
        path = await asyncio.to_thread(self._find, digest)
        return None if path is None else _read_file(path)

    def _find(self, digest: Digest) -> Path | None:
        algorithm = self.path / "blobs" / digest.algorithm
        of_two = algorithm / digest.hex[:2]
        named = [algorithm / digest.hex, of_two / digest.hex, *sorted(of_two.glob(f"{digest.hex}.*"))]
        return next((path for path in named if path.is_file()), None)


async def _read_file(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while data := await asyncio.to_thread(file.read, _READ_SIZE):
            yield data
    finally:
        file.close()
