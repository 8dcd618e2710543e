"""Work that goes on whatever becomes of whoever waits for it: blocking calls in threads above all."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run_in(threads: Executor, call: Callable[[], T]) -> T:
    """Run a blocking call in one of the threads, which cannot be stopped."""
    return await see_through(asyncio.get_running_loop().run_in_executor(threads, call))


async def see_through(running: asyncio.Future[T]) -> T:
    """Wait for work that is not to be cut off.

    Whoever is cancelled waits until it is done all the same, so that what it does, and what it uses, never
    comes after what the caller does next.
    """
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
