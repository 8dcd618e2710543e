"""Holding uploads by their rows, for stores that have no locks: the same for every process and node.

A hold ends by itself some time after its holder has stopped renewing it. Whoever stood still for so long may
not notice; what it then writes to the row is refused, since the row has moved on.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from storage.blobs import StagedBusy, StagedMissing
from storage.metadata import uploads
from storage.metadata.engine import Metadata, MetadataFull, MetadataUnavailable

# Far more than clocks differ, and than a slow write takes.
_LASTS: Final = timedelta(seconds=60)
_RENEWED_EVERY: Final = 15.0

_log = structlog.stdlib.get_logger("longshore.holds")


class UploadHolds:
    """Holds over the metadata; see `storage.blobs.Holds`."""

    def __init__(
        self, metadata: Metadata, lasts: timedelta = _LASTS, renewed_every: float = _RENEWED_EVERY
    ) -> None:
        self._metadata = metadata
        self._lasts = lasts
        self._renewed_every = renewed_every

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the upload, and keep holding it for as long as that takes."""
        holder = secrets.token_hex(8)
        await self._take(key, holder)
        renewing = asyncio.create_task(self._renew_forever(key, holder))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            # Nothing depends on it: what is not given back ends by itself.
            with contextlib.suppress(MetadataUnavailable, MetadataFull):
                await self._metadata.write(uploads.release_hold, key, holder)

    async def _take(self, key: str, holder: str) -> None:
        now = datetime.now(UTC)
        taken = await self._metadata.write(uploads.take_hold, key, holder, now=now, until=now + self._lasts)
        if taken is None:
            raise StagedMissing("there is no such upload")
        if not taken:
            raise StagedBusy("another request is writing to this upload")

    async def _renew_forever(self, key: str, holder: str) -> None:
        while True:
            await asyncio.sleep(self._renewed_every)
            # The next turn may do better, and there is time for some.
            with contextlib.suppress(MetadataUnavailable, MetadataFull):
                until = datetime.now(UTC) + self._lasts
                if not await self._metadata.write(uploads.renew_hold, key, holder, until=until):
                    _log.warning("upload is no longer held", upload=key)
                    return
