"""Bytes on their way in: batches, checkpoints, and what is left when a write fails."""

import asyncio
import errno
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import intake
from registry.intake import Intake
from storage.blobs import StoreFull
from storage.digest import Digest, RunningDigest
from tests.storage.properties import PROPERTY

BATCH: Final = 8
CHECKPOINT: Final = 20

PARTS = st.lists(st.binary(max_size=3 * BATCH), max_size=12)


class Bytes:
    """A staged blob in memory. The write that `fails_at` counts takes half of its data and raises `error`."""

    def __init__(self, fails_at: int = -1, error: Exception | None = None) -> None:
        self.content = b""
        self.synced = 0
        self.writes = 0
        self.fails_at = fails_at
        self.error = error
        self.writing = False
        self.in_turn = asyncio.Lock()
        self.failed = False
        self.checkpoint_length: int | None = CHECKPOINT
        self.writes_ahead = 2

    async def resume(self, offset: int, state: str | None) -> None:
        self.content = self.content[:offset]

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        async with self.in_turn:
            if self.failed and self.error is not None:
                raise self.error
            self.writing = True
            await asyncio.sleep(0)
            self.writing = False
            self.failed, self.writes = self.writes == self.fails_at, self.writes + 1
            self.content += data[: len(data) // 2] if self.failed else data
            if self.failed and self.error is not None:
                raise self.error
            if running is not None:
                running.update(data)

    async def sync(self) -> str | None:
        self.synced = len(self.content)
        return f"after {self.synced}"

    async def read(self) -> AsyncIterator[bytes]:
        yield self.content

    async def commit(self, digest: Digest) -> str:
        return digest

    async def discard(self, state: str | None, *, thorough: bool = False) -> None:
        self.content = b""


class Checkpoints:
    """Remembers each checkpoint, and that it was true."""

    def __init__(self, staged: Bytes) -> None:
        self.staged = staged
        self.offsets: list[int] = []

    async def __call__(self, offset: int, digest: Digest | None, state: str | None) -> None:
        assert self.staged.synced >= offset
        assert state == f"after {offset}"
        assert digest in {None, Digest.of(self.staged.content[:offset])}
        self.offsets.append(offset)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_BATCH", BATCH)


async def fill(taken: Intake, parts: list[bytes]) -> None:
    try:
        for part in parts:
            await taken.add(part)
    finally:
        await taken.finish()


@PROPERTY
@given(parts=PARTS, hashed=st.booleans())
async def test_bytes_are_stored_in_order(parts: list[bytes], hashed: bool) -> None:
    staged, content = Bytes(), b"".join(parts)
    checkpoints = Checkpoints(staged)
    taken = Intake(staged, 0, RunningDigest() if hashed else None, checkpoints)
    await fill(taken, parts)
    assert staged.content == content
    assert taken.offset == len(content)
    assert taken.digest == (Digest.of(content) if hashed else None)
    # Whatever a crash costs, it is a checkpoint's distance and one batch more at most.
    reached = [0, *checkpoints.offsets, len(content)]
    largest = max((len(part) for part in parts), default=0)
    assert all(later - earlier < CHECKPOINT + BATCH + largest for earlier, later in pairwise(reached))
    assert all(later - earlier >= CHECKPOINT for earlier, later in pairwise(reached[:-1]))


async def test_bytes_are_stored_while_others_arrive() -> None:
    staged = Bytes()
    taken = Intake(staged, 0, None, Checkpoints(staged))
    for _ in range(10):
        await taken.add(b"x" * BATCH)
        await asyncio.sleep(0)
        assert taken.offset + 3 * BATCH >= len(staged.content)
    assert staged.content
    await taken.finish()


async def test_store_without_checkpoints_is_synced_by_none() -> None:
    staged = Bytes()
    staged.checkpoint_length = None
    checkpoints = Checkpoints(staged)
    await fill(Intake(staged, 0, None, checkpoints), [b"x" * BATCH] * 10)
    assert checkpoints.offsets == []
    assert staged.synced == 0


async def test_offset_counts_from_where_the_upload_was() -> None:
    staged = Bytes()
    staged.content = b"0123"
    running = RunningDigest()
    running.update(b"0123")
    taken = Intake(staged, 4, running, Checkpoints(staged))
    await fill(taken, [b"45", b"6789"])
    assert (taken.offset, taken.digest) == (10, Digest.of(b"0123456789"))


@PROPERTY
@given(
    parts=PARTS,
    fails_at=st.integers(0, 6),
    error=st.builds(StoreFull) | st.builds(OSError, st.just(errno.EIO)),
    hashed=st.booleans(),
)
async def test_nothing_is_stored_after_a_write_that_failed(
    parts: list[bytes], fails_at: int, error: Exception, hashed: bool
) -> None:
    staged, content = Bytes(fails_at, error), b"".join(parts)
    taken = Intake(staged, 0, RunningDigest() if hashed else None, Checkpoints(staged))
    try:
        await fill(taken, parts)
    except (StoreFull, OSError) as raised:
        assert raised is error
        assert staged.writes == fails_at + 1
        assert taken.digest is None
    else:
        assert staged.writes <= fails_at
        assert taken.offset == len(content)
        assert taken.digest == (Digest.of(content) if hashed else None)
    assert staged.content[: taken.offset] == content[: taken.offset]


@pytest.mark.parametrize("ticks", range(30))
@pytest.mark.parametrize("hashed", [True, False])
async def test_cancelled_intake_finishes_what_it_has(ticks: int, hashed: bool) -> None:
    staged, content = Bytes(), bytes(range(90))
    taken = Intake(staged, 0, RunningDigest() if hashed else None, Checkpoints(staged))
    filling = asyncio.create_task(fill(taken, [content[at : at + 3] for at in range(0, 90, 3)]))
    for _ in range(ticks):
        await asyncio.sleep(0)
    filling.cancel()
    await asyncio.wait([filling])
    assert not staged.writing
    assert len(staged.content) == taken.offset
    assert staged.content == content[: taken.offset]
    assert taken.digest == (Digest.of(staged.content) if hashed else None)


class SlowSync(Bytes):
    """Syncs when it is let, and says what was written when it began; it can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.syncs = 0
        self.sync_error: Exception | None = None

    async def sync(self) -> str | None:
        size, self.syncs = len(self.content), self.syncs + 1
        await self.let.wait()
        if self.sync_error is not None:
            raise self.sync_error
        self.synced = size
        return f"after {size}"


async def fill_until_held(taken: Intake, staged: SlowSync) -> asyncio.Task[None]:
    """Add bytes until nothing moves any more for want of a sync."""
    filling = asyncio.create_task(fill(taken, [b"x" * BATCH] * 20))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not filling.done()
    return filling


async def test_a_sync_is_waited_for_only_by_the_next_one() -> None:
    """A crash costs at most two distances between checkpoints, and what is under way."""
    staged = SlowSync()
    checkpoints = Checkpoints(staged)
    filling = await fill_until_held(taken := Intake(staged, 0, RunningDigest(), checkpoints), staged)
    assert staged.syncs == 1
    assert 2 * CHECKPOINT <= len(staged.content) <= 2 * (CHECKPOINT + BATCH)
    staged.let.set()
    await filling
    assert len(checkpoints.offsets) == staged.syncs > 3
    assert (taken.offset, taken.digest) == (160, Digest.of(b"x" * 160))


async def test_a_sync_that_fails_is_told_before_the_end() -> None:
    staged = SlowSync()
    staged.sync_error = OSError(errno.EIO, "no disk")
    checkpoints = Checkpoints(staged)
    filling = await fill_until_held(Intake(staged, 0, None, checkpoints), staged)
    staged.let.set()
    with pytest.raises(OSError, match="no disk"):
        await filling
    assert checkpoints.offsets == []


async def test_nothing_runs_any_more_when_a_cancelled_intake_ends() -> None:
    staged = SlowSync()
    filling = await fill_until_held(Intake(staged, 0, None, Checkpoints(staged)), staged)
    filling.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not filling.done(), "the sync is still running"
    staged.let.set()
    await asyncio.wait([filling])
    assert filling.cancelled()
    assert staged.synced
