"""Removing what was begun and left: abandoned uploads, expired refresh tokens, old login failures."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from auth.throttle import FORGET_SECONDS
from storage.blobs import BlobStore, StagedBusy, StagedMissing
from storage.metadata import accounts, login_failures, uploads
from storage.metadata.engine import Metadata

_log = structlog.stdlib.get_logger("longshore.jobs")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One turn removes everything that is due."""

    metadata: Metadata
    store: BlobStore
    upload_ttl: int
    """Seconds without a byte after which an upload counts as abandoned."""

    async def __call__(self) -> None:
        """Remove what is due."""
        now = datetime.now(UTC)
        swept = await self.sweep_uploads(now - timedelta(seconds=self.upload_ttl))
        tokens = await self.metadata.write(accounts.remove_expired_refresh_tokens, now=now)
        forgotten = now - timedelta(seconds=FORGET_SECONDS)
        failures = await self.metadata.write(login_failures.remove_before, forgotten)
        if swept or tokens or failures:
            _log.info("swept", uploads=swept, refresh_tokens=tokens, login_failures=failures)

    async def sweep_uploads(self, before: datetime) -> int:
        """Remove uploads that nothing was added to since `before`; return how many.

        Also bytes without a row, which a crash between the two leaves.
        """
        abandoned = set(await self.metadata.read(uploads.untouched_since, before))
        stray = {
            key
            for key in await self.store.staged_before(before)
            if await self.metadata.lookup(uploads.find, key) is None
        }
        removed = [await self._remove(upload_id, before) for upload_id in sorted(abandoned | stray)]
        return sum(removed)

    async def _remove(self, upload_id: str, before: datetime) -> bool:
        try:
            async with self.store.hold(upload_id) as staged:
                # Held now: look again whether somebody went on with it before that.
                if await self.metadata.lookup(uploads.is_touched_since, upload_id, before):
                    return False
                await self.metadata.write(uploads.remove, upload_id)
                await staged.discard()
        except StagedBusy:
            return False
        except StagedMissing:
            return await self.metadata.write(uploads.remove, upload_id)
        return True
