"""Moving a registry: its blobs to another store, its metadata to another database.

Blobs go first: each is read, hashed, written and read back before its new location is noted in a journal. A
move that is cut off goes on with those that are not noted. Blobs never change, so that may happen while the
registry serves; the metadata follows in one transaction when it does not.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from registry.several import work_on
from storage.blobs import BlobMissing, BlobReader, BlobStore
from storage.digest import Digest, RunningDigest, digest_of
from storage.metadata import copying
from storage.metadata.engine import Connection, Metadata

AT_ONCE: Final = 4
"""Blobs that are on their way at the same time."""

_PAGE: Final = 500


class Progress(Protocol):
    """Hears how far a move has come."""

    def expect(self, what: str, total: int) -> None:
        """So many bytes, or rows, are to come."""

    def advance(self, amount: int) -> None:
        """So many more are done."""


@dataclass(slots=True)
class MovedBlobs:
    """What became of the blobs."""

    locations: dict[str, str] = field(default_factory=dict)
    """Where each blob is now, by digest."""
    moved: int = 0
    """Blobs that this run has moved; the others were there."""
    size: int = 0
    """Bytes of those."""
    damaged: dict[str, str] = field(default_factory=dict)
    """What is wrong with those that could not be moved, by digest."""


class Damaged(Exception):
    """The bytes of a blob are not what its digest says, or are not there."""


class Journal:
    """The new locations of blobs, in a file that survives a loss of power, for one target each."""

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target
        self.locations = self._read()
        self._file = path.open("a", encoding="utf-8")
        path.chmod(0o600)
        # What a crash left of a line would be the beginning of the next one.
        self._file.truncate(self._whole)

    def note(self, digest: str, location: str) -> None:
        """Note where a blob is, durably."""
        self._file.write(json.dumps([self._target, digest, location]) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.locations[digest] = location

    def close(self) -> None:
        """Close the file; it stays, for another run."""
        self._file.close()

    def _read(self) -> dict[str, str]:
        content = self._path.read_bytes() if self._path.exists() else b""
        self._whole = content.rfind(b"\n") + 1
        notes = [json.loads(line) for line in content[: self._whole].splitlines()]
        return {digest: location for target, digest, location in notes if target == self._target}


class Openable(Protocol):
    """Where blobs are read: a store, or a backup."""

    async def open(self, location: str) -> BlobReader:
        """Open the blob at `location`.

        Raises:
            BlobMissing: there is none.
        """


class BlobMove:
    """Moves all blobs from one store to another."""

    def __init__(
        self, metadata: Metadata, source: Openable, target: BlobStore, journal: Journal, progress: Progress
    ) -> None:
        self._metadata = metadata
        self._source = source
        self._target = target
        self._journal = journal
        self._progress = progress

    async def run(self) -> MovedBlobs:
        """Move what is not there yet."""
        _, total = await self._metadata.read(copying.total_of_blobs)
        self._progress.expect("blobs", total)
        result = MovedBlobs()
        await work_on(stored_blobs(self._metadata), partial(self._work, result), at_once=AT_ONCE)
        return result

    async def _work(self, result: MovedBlobs, blob: tuple[str, int, str]) -> None:
        digest, size, location = blob
        try:
            if digest not in self._journal.locations:
                self._journal.note(digest, await self._move(Digest(digest), size, location))
                result.moved += 1
                result.size += size
            result.locations[digest] = self._journal.locations[digest]
        except Damaged as error:
            result.damaged[digest] = str(error)
        self._progress.advance(size)

    async def _move(self, digest: Digest, size: int, location: str) -> str:
        key = secrets.token_hex(16)
        await self._target.stage(key)
        async with self._target.hold(key) as staged:
            await staged.resume(0, None)
            running = RunningDigest(digest.algorithm)
            async for data in content_of(self._source, location, size):
                await staged.write(data, running)
            if running.digest() != digest:
                await staged.discard(None)
                raise Damaged("the bytes are not what the digest says")
            moved = await staged.commit(digest)
        if await digest_of(content_of(self._target, moved, size), digest.algorithm) != digest:
            raise OSError(f"{digest} reads back differently from the new store")
        return moved


async def stored_blobs(metadata: Metadata) -> AsyncIterator[tuple[str, int, str]]:
    """Yield digest, size and location of every blob, by digest."""
    after = ""
    while rows := await metadata.read(copying.stored_blobs, after=after, limit=_PAGE):
        for row in rows:
            yield row
        after = rows[-1][0]


async def content_of(store: Openable, location: str, size: int) -> AsyncIterator[bytes]:
    """Yield a blob's bytes.

    Raises:
        Damaged: they are missing, in whole or in part.
    """
    try:
        reader = await store.open(location)
        try:
            async for data in reader.read(0, size):
                yield data
        finally:
            await reader.close()
    except BlobMissing as error:
        raise Damaged("the bytes are missing") from error


def copy_metadata(
    db: Connection,
    source: Connection,
    locations: Mapping[str, str] | None,
    advance: Callable[[str, int], None],
) -> Mapping[str, int]:
    """Copy all rows and hold the copy against the original, in the transaction that copies.

    Raises:
        storage.metadata.copying.NotEmpty: the target has content.
        OSError: the copy differs; nothing is kept.
    """
    written = copying.copy(db, source, locations, advance)
    unchanged = locations is None
    before = copying.fingerprints(source, locations=unchanged)
    after = copying.fingerprints(db, locations=unchanged)
    left_out = {"blobs", "blob_links"} if locations is not None and _lacks_some(source, locations) else set()
    differing = [name for name in before if name not in left_out and before[name] != after[name]]
    if differing:
        raise OSError(f"the copy differs from the original in {', '.join(differing)}: nothing was kept")
    return written


def _lacks_some(source: Connection, locations: Mapping[str, str]) -> bool:
    return copying.total_of_blobs(source)[0] != len(locations)
