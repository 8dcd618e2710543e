"""Taking a backup while the registry serves.

A row tells the collector of garbage that a backup goes on before the snapshot of the metadata is taken: what
is removed after that stays where it is until the backup is done, or has not renewed its row for a while.
Blobs that the place has are not copied again, so a backup that was cut off loses at most the blobs that were
on their way: the next one goes on from there, with a snapshot of its own.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from registry.backup.vault import BackupError, Manifest, Vault, lines_of, name_of
from registry.move import AT_ONCE, Damaged, Progress, content_of, stored_blobs
from registry.several import work_on
from storage.blobs import BlobStore
from storage.digest import Digest, RunningDigest
from storage.metadata import backups, blobs, snapshots
from storage.metadata.databases import SqliteDatabase
from storage.metadata.engine import Connection, Metadata, MetadataFull, MetadataUnavailable

# A dead backup keeps bytes from being deleted for so long. Clocks of nodes differ by less.
_LASTS: Final = timedelta(hours=1)
# And, while it removes what it does not need, other backups from beginning.
_PRUNING_LASTS: Final = timedelta(minutes=2)
_RENEWED_EVERY: Final = 20.0
_WAIT: Final = 1.0


@dataclass(slots=True)
class Copied:
    """What became of the blobs of a snapshot."""

    count: int = 0
    """Blobs that were not there before; `total` counts all."""
    size: int = 0
    """Bytes of those."""
    total: int = 0
    total_size: int = 0
    lacking: dict[str, str] = field(default_factory=dict)
    """What is wrong with those that could not be read, by digest."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that is done."""

    snapshot: str
    manifest: Manifest
    copied: Copied


class Hold:
    """The row of one backup, renewed while it goes on."""

    def __init__(self, metadata: Metadata, destination: str) -> None:
        self.id = secrets.token_hex(8)
        self._metadata = metadata
        self._destination = destination
        self._is_lost = False
        self._is_done = False
        self._lasts = _LASTS

    @contextlib.asynccontextmanager
    async def held(self, *, alone: bool) -> AsyncIterator[None]:
        """Hold it; `alone` says that no other backup can be writing to the destination."""
        while True:
            if await self._begin(alone):
                break
            await asyncio.sleep(_WAIT)
        renewing = asyncio.create_task(self._renew_forever())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            # Nothing depends on it: what is not given back ends by itself.
            with contextlib.suppress(MetadataUnavailable, MetadataFull):
                await self._metadata.write(self._end)

    def note_done(self) -> None:
        """Let it count as finished when it ends: the snapshot is there."""
        self._is_done = True

    async def require(self) -> None:
        """Return if the row was there all the time.

        Raises:
            BackupError: it was not: what the snapshot names may have been removed, or others may write.
        """
        if self._is_lost or not await self._renew():
            raise BackupError("the backup stood still for too long and counts as dead: run it again")

    async def start_pruning(self) -> bool:
        """Keep others from beginning; tell whether that could be."""
        self._lasts = _PRUNING_LASTS
        now = datetime.now(UTC)
        return await self._metadata.write(backups.start_pruning, self.id, now=now, until=now + self._lasts)

    async def _begin(self, alone: bool) -> bool:
        now = datetime.now(UTC)
        if alone:
            await self._metadata.write(backups.forget_others, self.id, self._destination)
        begin = partial(backups.begin, now=now, until=now + self._lasts)
        return await self._metadata.write(begin, self.id, self._destination)

    def _end(self, db: Connection) -> None:
        if self._is_done:
            backups.finish(db, self.id, now=datetime.now(UTC))
        else:
            backups.end(db, self.id)

    async def _renew(self) -> bool:
        now = datetime.now(UTC)
        return await self._metadata.write(backups.renew, self.id, now=now, until=now + self._lasts)

    async def _renew_forever(self) -> None:
        while not self._is_lost:
            await asyncio.sleep(_RENEWED_EVERY)
            # The next turn may do better, and there is time for some.
            with contextlib.suppress(MetadataUnavailable, MetadataFull):
                self._is_lost = not await self._renew()


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup: `workspace` is a directory of its own."""

    metadata: Metadata
    store: BlobStore
    vault: Vault
    workspace: Path
    progress: Progress

    async def take(self, hold: Hold) -> Taken:
        """Take a snapshot of the metadata, copy the blobs that it names and are not there, and name it.

        Raises:
            BackupError: it cannot be trusted; what was copied stays for the next one.
        """
        taken_at = datetime.now(UTC)
        path = self.workspace / "metadata.db"
        self.progress.expect("rows", 0)
        take = partial(snapshots.take, path=path, progress=lambda _, rows: self.progress.advance(rows))
        revision, tables = await self.metadata.read(take)
        copied = await self._copy_blobs(path)
        if path.with_name(f"{path.name}-wal").exists():
            raise BackupError(f"the metadata could not be written to {path}")
        snapshot = name_of(taken_at)
        files = (path, self._list_of_blobs)
        parts = {each.name: await self.vault.put_file(snapshot, each) for each in files}
        await hold.require()
        manifest = Manifest(
            format=1,
            taken_at=taken_at,
            version=version("longshore"),
            revision=revision,
            tables=tables,
            blobs=copied.total,
            blobs_size=copied.total_size,
            lacking=copied.lacking,
            parts=parts,
        )
        await self.vault.put_manifest(manifest)
        hold.note_done()
        return Taken(snapshot, manifest, copied)

    @property
    def _list_of_blobs(self) -> Path:
        return self.workspace / "blobs.txt"

    async def _copy_blobs(self, path: Path) -> Copied:
        there = await self.vault.stored_blobs()
        copied = Copied()
        rows = SqliteDatabase(path).open()
        try:
            total = 0
            async for _, size, _ in self._to_copy(rows, there):
                total += size
            self.progress.expect("blobs", total)
            await work_on(self._to_copy(rows, there), partial(self._work, copied), at_once=AT_ONCE)
            await self._write_list(rows, copied)
        finally:
            await rows.close()
        return copied

    async def _to_copy(self, rows: Metadata, there: Mapping[str, int]) -> AsyncIterator[tuple[str, int, str]]:
        sealing = self.vault.sealing
        async for digest, size, location in stored_blobs(rows):
            if there.get(sealing.blob(Digest(digest))) != sealing.size(size):
                yield digest, size, location

    async def _work(self, copied: Copied, blob: tuple[str, int, str]) -> None:
        digest, size, location = blob
        try:
            await self._copy(Digest(digest), size, location)
            copied.count += 1
            copied.size += size
        except Damaged as error:
            copied.lacking[digest] = str(error)
        self.progress.advance(size)

    async def _copy(self, digest: Digest, size: int, location: str) -> None:
        name = self.vault.sealing.blob(digest)
        try:
            await self.vault.put(name, _verified(self.store, digest, size, location), size)
        except Damaged:
            # It may have been pushed again since, and be elsewhere.
            current = await self.metadata.lookup(blobs.location_of, digest)
            if current is None or current == location:
                raise
            await self.vault.put(name, _verified(self.store, digest, size, current), size)

    async def _write_list(self, rows: Metadata, copied: Copied) -> None:
        with self._list_of_blobs.open("wb") as file:
            async for digest, size, _ in stored_blobs(rows):
                if digest not in copied.lacking:
                    copied.total += 1
                    copied.total_size += size
                    file.write(lines_of([(digest, size)]))


async def _verified(store: BlobStore, digest: Digest, size: int, location: str) -> AsyncIterator[bytes]:
    """Yield a blob's bytes, and raise at their end if they were not those of the digest."""
    running = RunningDigest(digest.algorithm)
    try:
        async for piece in content_of(store, location, size):
            await asyncio.to_thread(running.update, piece)
            yield piece
    except OSError as error:
        raise Damaged(f"the bytes cannot be read: {error.strerror or error}") from error
    if running.digest() != digest:
        raise Damaged("the bytes are not what the digest says")
