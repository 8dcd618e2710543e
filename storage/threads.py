"""Blocking calls in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run_in(threads: Executor, call: Callable[[], T]) -> T:
    """Run a blocking call in one of the threads.

    A thread cannot be stopped: whoever is cancelled waits until it is done, so that what it does, and what it
    uses, never comes after what the caller does next.
    """
    running = asyncio.get_running_loop().run_in_executor(threads, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
