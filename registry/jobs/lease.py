"""Running a job in one process at a time, whatever the number of processes and nodes."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from storage.metadata import leases
from storage.metadata.engine import Metadata

_log = structlog.stdlib.get_logger("longshore.jobs")


class Job:
    """Work that is due every `interval` seconds somewhere.

    The lease lasts one interval and is not given back: that is what keeps the others from doing the same
    work again. A failure is logged, and the next turn tries again. What came of a turn stays with the lease;
    `count` is told whether it failed.
    """

    def __init__(
        self,
        metadata: Metadata,
        name: str,
        interval: float,
        work: Callable[[], Awaitable[None]],
        count: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._metadata = metadata
        self._name = name
        self._interval = interval
        self._work = work
        self._count = count
        self._holder = secrets.token_hex(8)

    async def run_forever(self) -> None:
        """Take turns with the other processes, until cancelled."""
        while True:
            began = time.monotonic()
            await self.run_once()
            await asyncio.sleep(max(0.0, began + self._interval - time.monotonic()))

    async def run_once(self) -> bool:
        """Do the work if it is this process's turn; tell whether it was."""
        mine = False
        try:
            now = datetime.now(UTC)
            expires_at = now + timedelta(seconds=self._interval)
            mine = await self._metadata.write(
                leases.take, self._name, self._holder, now=now, expires_at=expires_at
            )
            if mine:
                await self._take_turn(now)
        except Exception:  # noqa: BLE001 - a job must not end because one turn failed
            _log.exception("job failed", job=self._name)
        return mine

    async def _take_turn(self, began_at: datetime) -> None:
        began = time.monotonic()
        try:
            await self._work()
        except Exception:
            self._count(True)
            await self._note(began_at, time.monotonic() - began, failed=True)
            raise
        self._count(False)
        await self._note(began_at, time.monotonic() - began, failed=False)

    async def _note(self, began_at: datetime, seconds: float, *, failed: bool) -> None:
        await self._metadata.write(leases.note, self._name, began_at=began_at, seconds=seconds, failed=failed)
