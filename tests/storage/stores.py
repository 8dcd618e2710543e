"""The stores that the contract suite runs over, by name: a child process can open the same one."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from storage.blobs import BlobReader, BlobStore
from storage.digest import Digest
from storage.filesystem import FileStore

STORES: Final[Mapping[str, Callable[[Path], BlobStore]]] = {"files": FileStore}


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    """Return all that comes as one piece."""
    return b"".join([chunk async for chunk in chunks])


async def append(store: BlobStore, key: str, offset: int, *chunks: bytes) -> None:
    """Go on with an upload, as one request does."""
    async with store.hold(key) as staged:
        await staged.resume(offset)
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


async def content_of(reader: BlobReader, size: int) -> bytes:
    """Read a whole blob and close it."""
    try:
        return await joined(reader.read(0, size))
    finally:
        await reader.close()
