"""The place of backups: snapshots, and the blobs that they name, each kept once.

    DEST/
    ├── longshore-backup.json              what this is, and which key it takes
    ├── blobs/<algorithm>/<ab>/<hex>       blobs; sealed ones are blobs/hmac/<ab>/<hex>
    └── snapshots/<time>/
        ├── metadata.db                    all rows, as a SQLite database
        ├── blobs.txt                      digest and size of each blob, a line each
        └── manifest.json                  what the others are, and its own digest: written last, it makes
                                           them a snapshot

Secrets are in it, as hashes or sealed: whoever reads it knows all that the registry knows.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from registry.backup.sealing import SealBroken, Sealing
from storage.blobs import BlobMissing, BlobStoreError
from storage.digest import Digest, InvalidDigest, RunningDigest
from storage.objects import Objects

MARK: Final = "longshore-backup.json"
"""The file that tells that a place is a backup."""

_FORMAT: Final = 1
_MAX_DOCUMENT: Final = 64 * 1024 * 1024
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_SNAPSHOT: Final = re.compile(r"snapshots/(\d{8}T\d{6}\.\d{6}Z)/manifest\.json")
_READ_SIZE: Final = 1024 * 1024


class BackupError(Exception):
    """What is wrong with a backup, in words for the operator."""


class Part(BaseModel):
    """A file of a snapshot: its size in bytes, and the digest of its content."""

    model_config = ConfigDict(frozen=True)

    size: int
    digest: str


class Manifest(BaseModel):
    """What a snapshot is."""

    model_config = ConfigDict(frozen=True)

    format: int
    taken_at: datetime
    version: str
    """Of the longshore that took it."""
    revision: str
    """Of the schema of its metadata."""
    tables: Mapping[str, tuple[int, str]]
    """The number of rows and a fingerprint of each table, wherever blobs are."""
    blobs: int
    blobs_size: int
    """Bytes of all of them."""
    lacking: Mapping[str, str]
    """Blobs that could not be read, with the reason of each, by digest."""
    parts: Mapping[str, Part]
    """`metadata.db` and `blobs.txt`."""


def name_of(taken_at: datetime) -> str:
    """Return the name of the snapshot of a moment: the order of names is that of time."""
    return taken_at.astimezone(UTC).strftime(_TIME)


def moment_of(name: str) -> datetime:
    """Return the moment of a snapshot."""
    return datetime.strptime(name, _TIME).replace(tzinfo=UTC)


class Vault:
    """The place, opened with its key. It is a `registry.backup.source.BlobSource`."""

    def __init__(self, objects: Objects, sealing: Sealing) -> None:
        self.objects = objects
        self.sealing = sealing

    def __str__(self) -> str:
        return str(self.objects)

    async def check(self) -> None:
        """Return if this is a backup, and the key is its key.

        Raises:
            BackupError: it is not.
        """
        if not await self._is_marked():
            raise BackupError(f"{self} is no backup of longshore")

    async def make(self) -> None:
        """Make a backup's place of an empty one, and return if it is one with this key.

        Raises:
            BackupError: there is something else.
        """
        await self.objects.prepare()
        if await self._is_marked():
            return
        async for page in self.objects.pages(""):
            if page:
                raise BackupError(f"{self} is neither empty nor a backup of longshore")
        content = json.dumps({"format": _FORMAT, "key": self.sealing.fingerprint}).encode()
        await self.objects.put(MARK, _once(content), len(content))

    async def _is_marked(self) -> bool:
        try:
            mark = json.loads(await _whole(self.objects.read(MARK)))
            found, wanted = mark["format"], mark["key"]
        except BlobMissing:
            return False
        except (ValueError, TypeError, KeyError):
            raise BackupError(f"{self}/{MARK} is damaged") from None
        if found != _FORMAT:
            raise BackupError(f"{self} was written by a newer longshore")
        if wanted != self.sealing.fingerprint:
            raise BackupError(f"{self} {_about_key(wanted, self.sealing.fingerprint)}")
        return True

    # -- objects ---------------------------------------------------------------------------------------

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write an object; where `data` raises, nothing was written."""
        await self.objects.put(name, self.sealing.seal(name, data), self.sealing.size(size))

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the content of an object.

        Raises:
            BlobMissing, SealBroken: it is not there, or is not what was written.
        """
        return self.sealing.open(name, self.objects.read(name))

    async def open(self, digest: Digest) -> AsyncIterator[bytes] | None:
        """Begin to read a blob; None where it is not there. Whoever reads hashes what comes."""
        pieces = self.read(self.sealing.blob(digest))
        try:
            first = await anext(pieces, b"")
        except BlobMissing:
            return None
        except SealBroken as error:
            raise BlobStoreError(str(error)) from error
        return _again(first, pieces)

    async def stored_blobs(self) -> dict[str, int]:
        """Return the sizes of the objects of blobs, by name: some hundred bytes of memory for each."""
        return {each.name: each.size async for page in self.objects.pages("blobs/") for each in page}

    # -- snapshots -------------------------------------------------------------------------------------

    async def snapshots(self) -> Sequence[str]:
        """Return the names of whole snapshots, the oldest first."""
        names = [each.name async for page in self.objects.pages("snapshots/") for each in page]
        return sorted(found[1] for name in names if (found := _SNAPSHOT.fullmatch(name)))

    async def snapshot_at(self, moment: datetime | None) -> str:
        """Return the newest snapshot, or the newest that is not younger than `moment`.

        Raises:
            BackupError: there is none.
        """
        names = await self.snapshots()
        found = [each for each in names if moment is None or moment_of(each) <= moment]
        if not found:
            of_then = "" if moment is None else f" of {moment.isoformat()} or before"
            raise BackupError(f"{self} has no snapshot{of_then}; there are: {', '.join(names) or 'none'}")
        return found[-1]

    async def manifest(self, snapshot: str) -> Manifest:
        """Read what a snapshot is.

        Raises:
            BackupError: it cannot be read.
        """
        try:
            value = json.loads(await _whole(self.read(f"snapshots/{snapshot}/manifest.json")))
            if not isinstance(value, dict) or value.pop("digest", None) != _digest_of(value):
                raise BackupError(f"snapshot {snapshot}: manifest.json is damaged")
            return Manifest.model_validate(value)
        except (BlobMissing, SealBroken, ValueError) as error:
            raise BackupError(f"snapshot {snapshot}: manifest.json is damaged") from error

    async def put_file(self, snapshot: str, path: Path) -> Part:
        """Write a file of a snapshot."""
        running = RunningDigest()
        size = await asyncio.to_thread(os.path.getsize, path)
        await self.put(f"snapshots/{snapshot}/{path.name}", _hashed(_pieces_of(path), running), size)
        return Part(size=size, digest=running.digest())

    async def put_manifest(self, manifest: Manifest) -> None:
        """Write what makes the files a snapshot."""
        value = manifest.model_dump(mode="json")
        content = json.dumps({**value, "digest": _digest_of(value)}, indent=1).encode()
        name = f"snapshots/{name_of(manifest.taken_at)}/manifest.json"
        await self.put(name, _once(content), len(content))

    async def part(self, snapshot: str, manifest: Manifest, name: str) -> AsyncIterator[bytes]:
        """Yield a file of a snapshot, and raise at its end if it was not the one that was written.

        Raises:
            BackupError: it is missing or damaged.
        """
        wanted = manifest.parts.get(name)
        running = RunningDigest()
        try:
            async for piece in _hashed(self.read(f"snapshots/{snapshot}/{name}"), running):
                yield piece
        except (BlobMissing, SealBroken) as error:
            raise BackupError(f"snapshot {snapshot}: {error}") from error
        if wanted is None or running.digest() != wanted.digest:
            raise BackupError(f"snapshot {snapshot}: {name} is damaged")

    async def blobs(self, snapshot: str, manifest: Manifest) -> AsyncIterator[tuple[Digest, int]]:
        """Yield digest and size of each blob of a snapshot.

        Raises:
            BackupError: the list is missing or damaged.
        """
        rest = b""
        async for piece in self.part(snapshot, manifest, "blobs.txt"):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                digest, _, size = line.decode(errors="replace").partition(" ")
                try:
                    yield Digest.parse(digest), int(size)
                except (InvalidDigest, ValueError):
                    raise BackupError(f"snapshot {snapshot}: blobs.txt is damaged") from None

    async def files_of(self, snapshot: str) -> Sequence[str]:
        """Return the names of all objects of a snapshot, whole or not, what makes it one first."""
        prefix = f"snapshots/{snapshot}/"
        names = [each.name async for page in self.objects.pages(prefix) for each in page]
        return sorted(names, key=lambda name: (not name.endswith("/manifest.json"), name))

    async def broken_snapshots(self) -> Sequence[str]:
        """Return the names of what a backup that was cut off has left."""
        names = [each.name async for page in self.objects.pages("snapshots/") for each in page]
        return sorted({name.split("/")[1] for name in names} - {*await self.snapshots()})


def lines_of(blobs: Iterable[tuple[str, int]]) -> bytes:
    """Return lines of `blobs.txt`."""
    return "".join(f"{digest} {size}\n" for digest, size in blobs).encode()


def _about_key(wanted: Any, given: str | None) -> str:
    if wanted is None:
        return "is not sealed: leave the key away"
    return "is sealed: say --key-file" if given is None else "is sealed with another key"


def _digest_of(value: Mapping[str, Any]) -> Digest:
    """Return the digest of a document, which it carries itself: however it is laid out."""
    return Digest.of(json.dumps(value, sort_keys=True).encode())


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    content = bytearray()
    async for piece in pieces:
        content += piece
        if len(content) > _MAX_DOCUMENT:
            raise BackupError("a document of the backup is far too long")
    return bytes(content)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for piece in rest:
            yield piece
    except SealBroken as error:
        raise BlobStoreError(str(error)) from error


async def _hashed(pieces: AsyncIterator[bytes], running: RunningDigest) -> AsyncIterator[bytes]:
    async for piece in pieces:
        await asyncio.to_thread(running.update, piece)
        yield piece


async def _pieces_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := await asyncio.to_thread(file.read, _READ_SIZE):
            yield piece
