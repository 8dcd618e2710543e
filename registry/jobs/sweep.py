"""Removing what was begun and left: abandoned uploads, and what counted once and does no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from auth.throttle import FORGET_SECONDS
from registry.uploads import give_up
from storage.blobs import BlobStore, StagedBusy
from storage.metadata import access_tokens, accounts, invitations, login_failures, sessions, uploads
from storage.metadata.engine import Connection, Metadata

_log = structlog.stdlib.get_logger("longshore.jobs")

# How long people can still look up what became of their access tokens and invitations.
_REMEMBERED: Final = timedelta(days=30)


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
        removed = {"uploads": swept, **await self.metadata.write(_remove_expired, now)}
        if any(removed.values()):
            _log.info("swept", **removed)

    async def sweep_uploads(self, before: datetime) -> int:
        """Remove uploads that nothing was added to since `before`; return how many.

        Also bytes without a row, which a crash between the two leaves.
        """
        abandoned = await self.metadata.read(uploads.untouched_since, before)
        removed = [
            await give_up(self.metadata, self.store, upload_id, before) for upload_id in sorted(abandoned)
        ]
        removed += [
            await self._remove_stray(key)
            for key in sorted(await self.store.staged_before(before))
            if await self.metadata.lookup(uploads.find, key) is None
        ]
        return sum(removed)

    async def _remove_stray(self, key: str) -> bool:
        try:
            await self.store.remove_stray(key)
        except StagedBusy:
            return False
        return True


def _remove_expired(db: Connection, now: datetime) -> Mapping[str, int]:
    """Forget what counts no more; return how many of each table."""
    return {
        "refresh_tokens": accounts.remove_expired_refresh_tokens(db, now=now),
        "login_failures": login_failures.remove_before(db, now - timedelta(seconds=FORGET_SECONDS)),
        "sessions": sessions.remove_expired(db, now=now),
        "access_tokens": access_tokens.remove_expired_before(db, now - _REMEMBERED),
        "invitations": invitations.remove_before(db, now - _REMEMBERED),
    }
