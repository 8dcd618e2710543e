"""Stores that behave in ways that a good one seldom does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from storage.blobs import BlobReader, BlobStore, KeptBytes, Space, StagedBlob
from storage.digest import Digest, RunningDigest

ENOUGH: Final = 2**62


class WrappedStore:
    """A store like the one it wraps; `wrap` may make another of its staged blobs."""

    chunk_min_length: int | None = None
    redirects = False

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    def wrap(self, staged: StagedBlob) -> StagedBlob:
        """Return what a holder of the upload gets."""
        return staged

    async def prepare(self) -> None:
        await self.store.prepare()

    async def stage(self, key: str) -> None:
        await self.store.stage(key)

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[StagedBlob]:
        async with self.store.hold(key) as staged:
            yield self.wrap(staged)

    async def staged_before(self, moment: datetime) -> Iterable[str]:
        return await self.store.staged_before(moment)

    async def remove_stray(self, key: str) -> None:
        await self.store.remove_stray(key)

    async def remove_unnamed(self, key: str) -> None:
        await self.store.remove_unnamed(key)

    async def delete(self, locations: Sequence[str]) -> None:
        await self.store.delete(locations)

    def walk(self) -> AsyncIterator[Sequence[KeptBytes]]:
        return self.store.walk()

    async def space(self) -> Space | None:
        return await self.store.space()

    async def size(self, location: str) -> int:
        return await self.store.size(location)

    async def open(self, location: str) -> BlobReader:
        return await self.store.open(location)

    async def url(self, location: str) -> str | None:
        return await self.store.url(location)


class WrappedStaged:
    """A staged blob like the one it wraps."""

    def __init__(self, staged: StagedBlob) -> None:
        self.staged = staged
        self.checkpoint_length = staged.checkpoint_length
        self.writes_ahead = staged.writes_ahead

    async def resume(self, offset: int, state: str | None) -> None:
        await self.staged.resume(offset, state)

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        await self.staged.write(data, running)

    async def sync(self) -> str | None:
        return await self.staged.sync()

    def read(self) -> AsyncIterator[bytes]:
        return self.staged.read()

    async def commit(self, digest: Digest) -> str:
        return await self.staged.commit(digest)

    async def discard(self, state: str | None, *, thorough: bool = False) -> None:
        await self.staged.discard(state, thorough=thorough)


class SmallStore(WrappedStore):
    """A store that fails once: when it has taken `room` bytes. Then there is room enough."""

    def __init__(self, store: BlobStore, room: int, error: Exception) -> None:
        super().__init__(store)
        self.room = room
        self.error = error

    def wrap(self, staged: StagedBlob) -> StagedBlob:
        return _SmallStaged(staged, self)


class _SmallStaged(WrappedStaged):
    def __init__(self, staged: StagedBlob, store: SmallStore) -> None:
        super().__init__(staged)
        self._store = store

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        fits, self._store.room = data[: self._store.room], self._store.room - len(data)
        await self.staged.write(fits, running)
        if self._store.room < 0:
            self._store.room = ENOUGH
            raise self._store.error


class SlowStore(WrappedStore):
    """A store that writes when it is let; a write that has begun goes on, as it does in a thread."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.writing = asyncio.Event()
        self.let = asyncio.Event()

    def wrap(self, staged: StagedBlob) -> StagedBlob:
        return _SlowStaged(staged, self)


class _SlowStaged(WrappedStaged):
    def __init__(self, staged: StagedBlob, store: SlowStore) -> None:
        super().__init__(staged)
        self._store = store

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        writing = asyncio.ensure_future(self._write(data, running))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    async def _write(self, data: bytes, running: RunningDigest | None) -> None:
        self._store.writing.set()
        await self._store.let.wait()
        await self.staged.write(data, running)


class LateStore(WrappedStore):
    """A store that holds an upload only after something else has happened."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.before_hold: Callable[[], Awaitable[object]] | None = None

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[StagedBlob]:
        if self.before_hold is not None:
            await self.before_hold()
        async with self.store.hold(key) as staged:
            yield staged


class UnsyncedStore(WrappedStore):
    """A store that knows in `unsynced` how many bytes a loss of power would cost."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.unsynced = 0

    def wrap(self, staged: StagedBlob) -> StagedBlob:
        return _UnsyncedStaged(staged, self)


class _UnsyncedStaged(WrappedStaged):
    def __init__(self, staged: StagedBlob, store: UnsyncedStore) -> None:
        super().__init__(staged)
        self._store = store

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        self._store.unsynced += len(data)
        await self.staged.write(data, running)

    async def sync(self) -> str | None:
        before = self._store.unsynced
        state = await self.staged.sync()
        self._store.unsynced -= before
        return state


class CountingStore(WrappedStore):
    """A store that counts in `reads` how often an upload was read again."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.reads = 0

    def wrap(self, staged: StagedBlob) -> StagedBlob:
        return _CountingStaged(staged, self)


class _CountingStaged(WrappedStaged):
    def __init__(self, staged: StagedBlob, store: CountingStore) -> None:
        super().__init__(staged)
        self._store = store

    def read(self) -> AsyncIterator[bytes]:
        self._store.reads += 1
        return self.staged.read()
