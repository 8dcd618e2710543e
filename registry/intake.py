"""Bytes on their way into a staged blob: hashed and stored in threads while the next ones arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from storage.blobs import StagedBlob
from storage.digest import Digest, RunningDigest

# Large enough that handing a batch to a thread costs nothing beside it. Two are in memory for an upload:
# one being stored and one being collected.
_BATCH: Final = 1024 * 1024

Checkpoint = Callable[[int, Digest | None, str | None], Awaitable[None]]
"""(bytes that are durable now, their digest if all were hashed, the store's state) → None."""


class Intake:
    """Takes an upload's bytes in. `running` has hashed those before `offset`; without it none are hashed.

    After a write that failed nothing more is stored: `offset` and `digest` are of what was stored before it,
    and `running` is None.
    """

    def __init__(
        self, staged: StagedBlob, offset: int, running: RunningDigest | None, checkpoint: Checkpoint
    ) -> None:
        self.offset = offset
        self.running = running
        self.digest = None if running is None else running.digest()
        """The digest of all bytes that are stored, if they were hashed from the first."""
        self._staged = staged
        self._checkpoint = checkpoint
        self._next_checkpoint = self._checkpoint_after(offset)
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._storing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

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
            await _settle(self._storing)
        finally:
            await _settle(self._syncing)

    async def _hand_over(self) -> None:
        await _settle(self._storing)
        batch = b"".join(self._collected)
        self._collected.clear()
        self._collected_size = 0
        self._storing = asyncio.create_task(self._store(batch))

    async def _store(self, batch: bytes) -> None:
        # Until all is done, nobody can tell how far the hash is ahead of the store.
        running, self.running = self.running, None
        await self._staged.write(batch, running)
        self.offset += len(batch)
        self.running = running
        self.digest = None if running is None else running.digest()
        if self._next_checkpoint is not None and self.offset >= self._next_checkpoint:
            await _settle(self._syncing)
            self._next_checkpoint = self._checkpoint_after(self.offset)
            self._syncing = asyncio.create_task(self._sync(self.offset, self.digest))

    async def _sync(self, offset: int, digest: Digest | None) -> None:
        """Sync while the next bytes are written: to wait for the disk would leave it idle afterwards."""
        await self._checkpoint(offset, digest, await self._staged.sync())

    def _checkpoint_after(self, offset: int) -> int | None:
        length = self._staged.checkpoint_length
        return None if length is None else offset + length


async def _settle(task: asyncio.Task[None] | None) -> None:
    """Wait for work that has begun; raises each time again if it failed."""
    if task is None:
        return
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        # Threads go on whatever becomes of the request: let go of the upload when they are done.
        await asyncio.wait([task])
        raise
