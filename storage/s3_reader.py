"""Reading objects: a few MiB in each request, the next ones while the last are sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from storage.s3_client import S3Client

# Large enough that the time to the first byte hardly counts. Two are in memory for a reader.
WINDOW: Final = 4 * 1024 * 1024


class S3Reader:
    """An object that is there, as a BlobReader."""

    file = None

    def __init__(self, client: S3Client, key: str) -> None:
        self._client = client
        self._key = key

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of some MiB."""
        return read_object(self._client, self._key, start, stop)

    async def close(self) -> None:
        """Do nothing: between two requests nothing is open."""


async def read_object(client: S3Client, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
    """Yield the bytes from `start` up to, not including, `stop`, reading ahead by one piece.

    Raises:
        BlobMissing: not all of them are there.
    """
    ahead: asyncio.Task[bytes] | None = None
    try:
        for offset in range(start, stop, WINDOW):
            if ahead is None:
                ahead = _fetch(client, key, offset, stop)
            data = await ahead
            ahead = _fetch(client, key, offset + WINDOW, stop) if offset + WINDOW < stop else None
            yield data
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


def _fetch(client: S3Client, key: str, start: int, stop: int) -> asyncio.Task[bytes]:
    return asyncio.create_task(client.get(key, start, min(start + WINDOW, stop)))
