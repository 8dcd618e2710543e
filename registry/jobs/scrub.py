"""Reading blobs again in the background, slowly, to find out which the disk has lost before somebody asks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from registry.doubts import fence
from registry.pace import Pace
from registry.verification import Damage, Verifier
from storage.blobs import BlobStore
from storage.metadata import damage
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Metadata

_log = structlog.stdlib.get_logger("longshore.jobs")

INTERVAL: Final = 3600
"""Seconds between the beginnings of two turns."""

# Seconds of reading in a turn, so that it ends before the next one; a large blob may take longer.
_TURN: Final = 3000

# Disks do not change by the hour.
_AGAIN: Final = timedelta(days=7)

_PAGE: Final = 100

# Bytes that each blob counts for beside its own.
_LEAST: Final = 64 * 1024


def _nothing(_: int) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True)
class Scrub:
    """One turn reads what was verified longest ago, `rate` bytes per second at most."""

    metadata: Metadata
    store: BlobStore
    rate: int
    on_read: Callable[[int], None] = _nothing
    """Told of the bytes of each blob that was read."""
    on_damage: Callable[[int], None] = _nothing
    """Told of blobs that were found damaged."""

    async def __call__(self) -> None:
        """Read what is due: those that count as damaged first, as a disk may have come back."""
        turn = _Turn(self)
        await turn.read_damaged()
        await turn.read_oldest()
        if turn.fenced or turn.recovered:
            _log.warning("scrubbed", read=turn.read, fenced=turn.fenced, recovered=turn.recovered)


class _Turn:
    def __init__(self, scrub: Scrub) -> None:
        self._scrub = scrub
        self._metadata = scrub.metadata
        self._pace = Pace(scrub.rate)
        self._verifier = Verifier(scrub.metadata, scrub.store, self._pace)
        self._budget = scrub.rate * _TURN
        self.read = 0
        self.fenced = 0
        self.recovered = 0

    async def read_damaged(self) -> None:
        """Read some of the blobs that count as damaged; each turn another part of them."""
        for blob in await self._metadata.read(damage.least_looked_at, limit=_PAGE):
            if self._budget <= 0:
                return
            if await self._look(blob) is None:
                await self._metadata.write(damage.note_sound, [blob], now=_now())
                self.recovered += 1
            else:
                await self._metadata.write(damage.note_looked_at, blob, now=_now())

    async def read_oldest(self) -> None:
        """Read blobs until the turn is over, or none is due."""
        before = _now() - _AGAIN
        while self._budget > 0:
            due = await self._metadata.read(damage.least_verified, before=before, limit=_PAGE)
            if not due:
                return
            sound = [blob for blob in due if self._budget > 0 and await self._is_sound(blob)]
            await self._metadata.write(damage.note_sound, sound, now=_now())

    async def _is_sound(self, blob: BlobRow) -> bool:
        found = await self._look(blob)
        if found is not None and await fence(self._metadata, blob, found):
            self.fenced += 1
            self._scrub.on_damage(1)
        return found is None

    async def _look(self, blob: BlobRow) -> Damage | None:
        found = await self._verifier.verify(blob)
        # What has few bytes costs as much as some more would.
        await self._pace.wait_for(_LEAST)
        self._budget -= blob.size + _LEAST
        self.read += 1
        self._scrub.on_read(blob.size)
        return found


def _now() -> datetime:
    return datetime.now(UTC)
