"""Bytes on their way into a staged blob: hashed and stored in threads while the next ones arrive."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from storage.blobs import StagedBlob
from storage.digest import Digest, RunningDigest

# Large enough that handing a batch to a thread costs nothing beside it.
_BATCH: Final = 512 * 1024

Checkpoint = Callable[[int, Digest | None, str | None], Awaitable[None]]
"""(bytes that are durable now, their digest if all were hashed, the store's state) → None."""


class Intake:
    """Takes an upload's bytes in. `running` has hashed those before `offset`; without it none are hashed.

    After a write that failed nothing more is stored: `offset` is of what was stored before it, and `running`
    and `digest` are None.
    """

    def __init__(
        self, staged: StagedBlob, offset: int, running: RunningDigest | None, checkpoint: Checkpoint
    ) -> None:
        self.offset = offset
        self.running = running
        self._staged = staged
        self._checkpoint = checkpoint
        self._handed_over = offset
        self._next_checkpoint = self._checkpoint_after(offset)
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._storing: deque[asyncio.Task[None]] = deque()
        self._syncing: list[asyncio.Task[None]] = []

    @property
    def digest(self) -> Digest | None:
        """The digest of all bytes that are stored, if they were hashed from the first.

        It can be asked for while none are under way.
        """
        return None if self.running is None else self.running.digest()

    async def add(self, data: bytes) -> None:
        """Take `data` in; waits while more is collected than the store keeps up with."""
        self._collected.append(data)
        self._collected_size += len(data)
        if self._collected_size >= _BATCH:
            await self._hand_over()

    async def finish(self) -> None:
        """Return when all bytes are stored. They are not yet synced."""
        try:
            if self._collected:
                await self._hand_over()
        finally:
            await _see_out(*self._storing, *self._syncing)

    async def _hand_over(self) -> None:
        await self._settle(self._staged.writes_ahead - 1)
        if self._next_checkpoint is not None and self._handed_over >= self._next_checkpoint:
            await self._settle()
            await _see_out(*self._syncing)
            self._next_checkpoint = self._checkpoint_after(self.offset)
            self._syncing = [asyncio.create_task(self._sync(self.offset, self.digest))]
        batch = b"".join(self._collected)
        self._collected.clear()
        self._collected_size = 0
        self._handed_over += len(batch)
        self._storing.append(asyncio.create_task(self._store(batch)))

    async def _settle(self, left: int = 0) -> None:
        """Wait until no more than so many batches are under way. What failed stays, to raise again."""
        while len(self._storing) > left:
            await _see_out(self._storing[0])
            self._storing.popleft()

    async def _store(self, batch: bytes) -> None:
        try:
            await self._staged.write(batch, self.running)
        except BaseException:
            self.running = None  # nobody can tell how far the hash is ahead of the store
            raise
        self.offset += len(batch)

    async def _sync(self, offset: int, digest: Digest | None) -> None:
        """Sync while the next bytes are written: to wait for the disk would leave it idle afterwards."""
        await self._checkpoint(offset, digest, await self._staged.sync())

    def _checkpoint_after(self, offset: int) -> int | None:
        length = self._staged.checkpoint_length
        return None if length is None else offset + length


async def _see_out(*tasks: asyncio.Task[None]) -> None:
    """Wait for work that has begun, all of it; raises each time again if some of it failed.

    Threads go on whatever becomes of the request: the upload is let go of when they are done.
    """
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        await asyncio.wait(tasks)
        raise
    finally:
        failures = [task.exception() for task in tasks if task.done()]
    for failure in failures:
        if failure is not None:
            raise failure
