"""Work on several things at the same time, and no more than that."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def work_on(items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Work on all items; the first failure ends the others and is raised."""
    queue: asyncio.Queue[T] = asyncio.Queue(at_once)

    async def keep_working() -> None:
        while True:
            item = await queue.get()
            await work(item)
            queue.task_done()

    async def hand_out() -> None:
        async for item in items:
            await queue.put(item)
        await queue.join()

    tasks = [asyncio.create_task(each) for each in (hand_out(), *(keep_working() for _ in range(at_once)))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
