"""The stores that the contract suite runs over, by name: a child process can open the same one.

An upload has a row, which keeps what the store says, and holds it for stores that have no locks: `Worker` is
what a registry does about that, in as few lines as can be.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from registry.holds import UploadHolds
from storage.blobs import BlobReader, BlobStore, Holds, StagedBlob, StagedMissing
from storage.digest import Digest
from storage.filesystem import FileStore
from storage.metadata import uploads
from storage.metadata.engine import Metadata
from storage.metadata.sqlite import SqliteMetadata
from storage.metadata.uploads import StoredUpload
from storage.s3 import S3Store
from storage.s3_client import S3Place
from storage.s3_parts import MIN_PART, PartPlan

# Where the S3 store of a directory is: see `place_of`.
PLACE: Final = "place.json"

PLAN: Final = PartPlan.of(MIN_PART, growing=False)


def place_of(root: Path) -> S3Place:
    """Return the place that a test's fixture noted in the directory."""
    return S3Place(**json.loads((root / PLACE).read_text()))


def _files(root: Path, _: Holds) -> BlobStore:
    return FileStore(root)


def _s3(root: Path, holds: Holds) -> BlobStore:
    return S3Store(place_of(root), holds, PLAN)


STORES: Final[Mapping[str, Callable[[Path, Holds], BlobStore]]] = {
    "files": _files,
    "minio": _s3,
    "versitygw": _s3,
}


class Worker:
    """A store as one process has it, with the rows of the uploads."""

    def __init__(self, store: BlobStore, metadata: Metadata) -> None:
        self.store = store
        self.metadata = metadata

    async def stage(self, key: str) -> None:
        """Begin an upload."""
        await self.store.stage(key)
        row = StoredUpload(key, "team/app", None, "sha256", 0, None)
        await self.metadata.write(uploads.add, row, now=datetime.now(UTC))

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator["Held"]:
        """Hold an upload as its row tells of it."""
        async with self.store.hold(key) as staged:
            row = await self.metadata.lookup(uploads.find, key)
            if row is None:
                raise StagedMissing
            yield Held(staged, self.metadata, row)

    async def append(self, key: str, *chunks: bytes) -> None:
        """Go on with an upload, as one request does."""
        async with self.hold(key) as held:
            await held.resume()
            await held.write(*chunks)
            await held.keep()

    async def commit(self, key: str, digest: Digest) -> str:
        """Make a blob of what was staged."""
        async with self.hold(key) as held:
            await held.resume()
            return await held.commit(digest)

    async def put(self, key: str, content: bytes, algorithm: str = "sha256") -> str:
        """Store a blob the short way and return its location."""
        await self.stage(key)
        await self.append(key, content)
        return await self.commit(key, Digest.of(content, algorithm))

    async def get(self, location: str, size: int) -> bytes:
        """Read a whole blob."""
        return await content_of(await self.store.open(location), size)


class Held:
    """An upload that is held; `row` is what its row says, `offset` how far it has come."""

    def __init__(self, staged: StagedBlob, metadata: Metadata, row: StoredUpload) -> None:
        self.staged = staged
        self.metadata = metadata
        self.row = row
        self.offset = row.offset

    async def resume(self) -> None:
        """Go on from what the row says."""
        await self.staged.resume(self.row.offset, self.row.state)
        self.offset = self.row.offset

    async def write(self, *chunks: bytes) -> None:
        """Append the chunks."""
        for chunk in chunks:
            await self.staged.write(chunk)
            self.offset += len(chunk)

    async def keep(self) -> None:
        """Make the bytes durable and say so in the row."""
        state, since, now = await self.staged.sync(), self.row.offset, datetime.now(UTC)
        assert await self.metadata.write(
            uploads.advance, self.row.id, self.offset, None, state, since=since, now=now
        )
        self.row = replace(self.row, offset=self.offset, state=state)

    async def read(self) -> bytes:
        """Read all that was written."""
        return await joined(self.staged.read())

    async def commit(self, digest: Digest) -> str:
        """Make the bytes a blob and remove the row."""
        location = await self.staged.commit(digest)
        assert await self.metadata.write(uploads.finish, self.row.id, since=self.row.offset)
        return location

    async def discard(self) -> None:
        """Give the upload up, its row first."""
        if await self.metadata.write(uploads.remove, self.row.id):
            await self.staged.discard(self.row.state)


@contextlib.asynccontextmanager
async def opened(kind: str, root: Path) -> AsyncIterator[Worker]:
    """Open the store in a directory that is made ready, as one more process does."""
    metadata = SqliteMetadata(root / "longshore.db")
    try:
        yield Worker(STORES[kind](root, UploadHolds(metadata)), metadata)
    finally:
        await metadata.close()


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    """Return all that comes as one piece."""
    return b"".join([chunk async for chunk in chunks])


async def content_of(reader: BlobReader, size: int) -> bytes:
    """Read a whole blob and close it."""
    try:
        return await joined(reader.read(0, size))
    finally:
        await reader.close()


# For files alone, which need no row.


async def append(store: BlobStore, key: str, offset: int, *chunks: bytes) -> None:
    """Go on with an upload, as one request does."""
    async with store.hold(key) as staged:
        await staged.resume(offset, None)
        for chunk in chunks:
            await staged.write(chunk)
        await staged.sync()


async def commit(store: BlobStore, key: str, digest: Digest) -> str:
    """Make a blob of what was staged."""
    async with store.hold(key) as staged:
        return await staged.commit(digest)


async def put(store: BlobStore, key: str, content: bytes, algorithm: str = "sha256") -> str:
    """Store a blob the short way and return its location."""
    await store.stage(key)
    await append(store, key, 0, content)
    return await commit(store, key, Digest.of(content, algorithm))
