"""Whether the bytes of a blob are what its row says."""

import asyncio
import os
from enum import StrEnum
from typing import BinaryIO, Final

from registry.pace import Pace
from storage.blobs import BlobMissing, BlobReader, BlobStore
from storage.digest import Digest, RunningDigest
from storage.metadata import damage
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Metadata

# What is wrong is looked at so often before it counts: it may have been on its way.
_LOOKS: Final = 2


class Damage(StrEnum):
    """What is wrong with the bytes of a blob."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    """There are more or fewer than the row says."""
    CORRUPT = "corrupt"
    """They are others than the digest says."""
    UNREADABLE = "unreadable"
    """The disk does not give them."""


class Verifier:
    """Reads blobs of one store. It changes no row."""

    def __init__(self, metadata: Metadata, store: BlobStore, pace: Pace | None = None) -> None:
        self._metadata = metadata
        self._store = store
        self._pace = pace or Pace()

    async def verify(self, blob: BlobRow, *, hashing: bool = True) -> Damage | None:
        """Return what is wrong with the blob; None if it is sound, or its row tells of other bytes by now.

        Without `hashing` only the number of its bytes is looked at.

        Raises:
            StoreUnavailable: nothing can be said.
        """
        found = await self.look(blob, hashing=hashing)
        if found is None or not await self._metadata.lookup(damage.is_current, blob):
            return None
        return found

    async def look(self, blob: BlobRow, *, hashing: bool = True) -> Damage | None:
        """Return what is wrong with the bytes, whether or not a row names them; None if they are sound.

        Raises:
            StoreUnavailable: nothing can be said.
        """
        found = None
        for _ in range(_LOOKS):
            found = await self._look(blob, hashing=hashing)
            if found is None:
                break
        return found

    async def _look(self, blob: BlobRow, *, hashing: bool) -> Damage | None:
        try:
            if await self._store.size(blob.location) != blob.size:
                return Damage.TRUNCATED
            if not hashing:
                return None
            if await self.digest(blob.location, blob.size, blob.digest.algorithm) == blob.digest:
                return None
        except BlobMissing:
            return Damage.MISSING
        except OSError:
            return Damage.UNREADABLE
        return Damage.CORRUPT

    async def digest(self, location: str, size: int, algorithm: str) -> Digest:
        """Return the digest of the first `size` bytes at a location.

        Raises:
            BlobMissing, StoreUnavailable, OSError: they cannot be read.
        """
        running = RunningDigest(algorithm)
        reader = await self._store.open(location)
        try:
            await asyncio.to_thread(_forget, reader)
            async for data in reader.read(0, size):
                await asyncio.to_thread(running.update, data)
                await self._pace.wait_for(len(data))
        finally:
            await reader.close()
        return running.digest()


def _forget(reader: BlobReader) -> None:
    """Let the kernel forget what it knows of a file: it is the disk that is asked."""
    file: BinaryIO | None = reader.file
    if file is not None:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
