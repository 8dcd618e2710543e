"""Putting a snapshot back: into an empty place, of the same kind as it came from or another.

The blobs go first, each hashed on its way and read back, its new location noted in a journal: a restore that
is cut off goes on with those that are not noted. Then all rows are written in one transaction, in which they
are held against those of the snapshot.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry.backup.sealing import SealBroken
from registry.backup.vault import BackupError, Manifest, Vault
from registry.move import BlobMove, Journal, MovedBlobs, Progress, copy_metadata
from storage.blobs import BlobMissing, BlobReader, BlobStore
from storage.digest import Digest
from storage.metadata import copying
from storage.metadata.databases import SqliteDatabase
from storage.metadata.engine import Metadata
from storage.metadata.migrate import DatabaseTooNew, revision_of
from storage.metadata.sqlite import open_sqlite


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to."""

    manifest: Manifest
    blobs: MovedBlobs
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore of a snapshot into two stores; `workspace` is a directory of its own."""

    vault: Vault
    snapshot: str
    metadata: Metadata
    store: BlobStore
    workspace: Path
    progress: Progress

    async def run(self, journal: Journal, *, skip_damaged: bool) -> Restored:
        """Restore it.

        Raises:
            BackupError: the place is not empty, or the snapshot is damaged; no row was written.
            storage.metadata.copying.NotEmpty: the database is not empty.
        """
        await self._require_empty(journal)
        manifest = await self.vault.manifest(self.snapshot)
        path = await self._fetch(manifest)
        rows = SqliteDatabase(path).open()
        try:
            await self._check(rows, manifest)
            await rows.write(copying.address_by_digest, manifest.lacking)
            blobs = await BlobMove(rows, _Blobs(self.vault), self.store, journal, self.progress).run()
        finally:
            await rows.close()
        if blobs.damaged and not skip_damaged:
            return Restored(manifest, blobs, {})
        return Restored(manifest, blobs, await self._write_rows(path, blobs))

    async def _require_empty(self, journal: Journal) -> None:
        await self.metadata.read(copying.require_empty)
        if journal.locations:
            return  # its own blobs, from a run that was cut off
        async for page in self.store.walk():
            if page:
                raise BackupError("the new place has blobs already: give it an empty one")

    async def _fetch(self, manifest: Manifest) -> Path:
        """Fetch the snapshot's metadata, and bring it to this program's schema."""
        path = self.workspace / "metadata.db"
        path.touch(mode=0o600)
        with path.open("wb") as file:
            async for piece in self.vault.part(self.snapshot, manifest, "metadata.db"):
                await asyncio.to_thread(file.write, piece)
        try:
            await asyncio.to_thread(SqliteDatabase(path).migrate)
        except DatabaseTooNew as error:
            raise BackupError(f"the snapshot was taken by a newer longshore: {error}") from error
        return path

    async def _check(self, rows: Metadata, manifest: Manifest) -> None:
        """Hold the rows against what was noted of them, where the schema is still the same."""
        if await rows.read(revision_of) != manifest.revision:
            return
        found = await rows.read(partial(copying.fingerprints, locations=False))
        if found != manifest.tables:
            raise BackupError(f"snapshot {self.snapshot}: the rows are not those that were saved")

    async def _write_rows(self, path: Path, blobs: MovedBlobs) -> Mapping[str, int]:
        self.progress.expect("rows", 0)
        engine = open_sqlite(path, begin="BEGIN")
        try:
            with engine.connect() as original:
                copy = partial(
                    copy_metadata,
                    source=original,
                    locations=blobs.locations,
                    advance=lambda _, rows: self.progress.advance(rows),
                )
                return await self.metadata.write(copy)
        finally:
            engine.dispose()


class _Blobs:
    """The blobs of a backup, at their digests."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def open(self, location: str) -> BlobReader:
        return _BlobOfBackup(self._vault, Digest(location))


class _BlobOfBackup:
    """A blob of a backup, to be read from its beginning to its end."""

    file = None

    def __init__(self, vault: Vault, digest: Digest) -> None:
        self._vault = vault
        self._digest = digest

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        try:
            async for piece in self._vault.read(self._vault.sealing.blob(self._digest)):
                yield piece
        except SealBroken as error:
            raise BlobMissing(str(error)) from error

    async def close(self) -> None:
        pass
