"""Blobs that could not be read when somebody asked for them: looked at again, and fenced where damaged."""

import asyncio
import errno
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import BinaryIO, Final

import structlog

from registry.verification import Damage, Verifier
from storage.blobs import BlobMissing, BlobReader, BlobStore, BlobStoreError
from storage.metadata import damage
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Metadata

_log = structlog.stdlib.get_logger("longshore.damage")

# Blobs that are read again at the same time, each because a client had no luck with it. The scrub finds those
# that there is no room for.
_MAX_READ: Final = 2


class Doubts:
    """What becomes of a blob that somebody could not read; one for the process."""

    def __init__(self, metadata: Metadata, store: BlobStore) -> None:
        self._metadata = metadata
        self._verifier = Verifier(metadata, store)
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def settle(self, blob: BlobRow) -> None:
        """Fence the blob if its bytes are gone or cut off: that is known at once."""
        found = await self._verifier.verify(blob, hashing=False)
        if found is not None:
            await fence(self._metadata, blob, found)

    def read_again(self, blob: BlobRow) -> None:
        """Read the blob in the background, and fence it if that fails."""
        if blob.digest not in self._reading and len(self._reading) < _MAX_READ:
            task = asyncio.create_task(self._read(blob))
            self._reading[blob.digest] = task
            task.add_done_callback(lambda _: self._reading.pop(blob.digest))

    async def _read(self, blob: BlobRow) -> None:
        try:
            found = await self._verifier.verify(blob)
            if found is not None:
                await fence(self._metadata, blob, found)
        except Exception as error:  # noqa: BLE001 - nobody waits for this: the log is told
            _log.warning("could not look at a blob again", digest=blob.digest, error=str(error))

    async def idle(self) -> None:
        """Return when nothing is read."""
        await asyncio.gather(*self._reading.values())


async def fence(metadata: Metadata, blob: BlobRow, found: Damage) -> bool:
    """Let the blob not be served any more, and say so; False when that is known."""
    fenced = await metadata.write(damage.note_damaged, blob, now=datetime.now(UTC))
    if fenced:
        _log.error("blob is damaged", digest=blob.digest, damage=str(found), location=blob.location)
    return fenced


class WatchedReader:
    """A reader that has doubts when bytes are missing or the disk does not give them."""

    def __init__(self, reader: BlobReader, blob: BlobRow, doubts: Doubts) -> None:
        self._reader = reader
        self._blob = blob
        self._doubts = doubts

    @property
    def file(self) -> BinaryIO | None:
        """The blob's file. Whoever finds that it cannot be sent reads, and has the error told."""
        return self._reader.file

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        try:
            async for data in self._reader.read(start, stop):
                yield data
        except BlobMissing:
            await self._doubts.settle(self._blob)
            raise
        except BlobStoreError:
            raise
        except OSError as error:
            if error.errno == errno.EIO:
                self._doubts.read_again(self._blob)
            raise

    async def close(self) -> None:
        """Close the reader."""
        await self._reader.close()
