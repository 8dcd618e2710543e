"""Calls in threads: in turn, one after the other, and none after one that failed."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from storage.threads import Lane


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


async def test_calls_are_run_in_their_order_one_at_a_time(threads: ThreadPoolExecutor) -> None:
    lane, done, running = Lane(threads), list[int](), threading.Lock()

    def call(number: int) -> int:
        assert running.acquire(blocking=False), "two at a time"
        done.append(number)
        running.release()
        return number

    for begin in range(0, 200, 20):
        calls = [lane.run(partial(call, begin + each)) for each in range(20)]
        # Whatever order they are awaited in.
        assert [await each for each in reversed(calls)] == [*reversed(range(begin, begin + 20))]
    assert done == [*range(200)]


async def test_the_next_call_begins_without_the_event_loop(threads: ThreadPoolExecutor) -> None:
    lane, began = Lane(threads), threading.Event()
    let = threading.Event()
    first = lane.run(partial(let.wait, 20))
    second = lane.run(began.set)
    assert not lane.is_idle
    let.set()
    assert began.wait(20), "it waits for the loop, which is not let go of here"
    assert await first
    await second


async def test_no_call_is_run_after_one_that_failed(threads: ThreadPoolExecutor) -> None:
    lane, ran, error = Lane(threads), list[int](), OSError("the disk is gone")

    def fail() -> None:
        raise error

    calls = [lane.run(fail), lane.run(partial(ran.append, 1))]
    for call in calls:
        with pytest.raises(OSError, match="the disk is gone"):
            await call
    with pytest.raises(OSError, match="the disk is gone"):
        await lane.run(partial(ran.append, 2))
    assert ran == []


async def test_who_is_cancelled_waits_for_what_runs(threads: ThreadPoolExecutor) -> None:
    lane, let, ended = Lane(threads), threading.Event(), threading.Event()

    def call() -> None:
        let.wait(20)
        ended.set()

    async def wait() -> None:
        await lane.run(call)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    let.set()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert ended.is_set()
