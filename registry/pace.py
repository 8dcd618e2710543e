"""Reading no faster than somebody wants it."""

import asyncio
import time


class Pace:
    """Bytes per second for all who share it; None is as fast as it goes."""

    def __init__(self, rate: int | None = None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def wait_for(self, size: int) -> None:
        """Return when so many bytes are due after those that were waited for before."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / self._rate
        await asyncio.sleep(self._free_at - now)
