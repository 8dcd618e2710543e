"""Work that goes on whatever becomes of whoever waits for it: blocking calls in threads above all."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Any, TypeVar

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


class Lane:
    """Calls that are run one after the other, each in one of the threads; after one that raised, none.

    The next one begins without the event loop, which may be busy: it is handed over before its turn.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._lock = Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._runs = False
        self._failure: BaseException | None = None

    @property
    def is_idle(self) -> bool:
        """Whether all calls are done."""
        return not self._runs

    def run(self, call: Callable[[], T]) -> Awaitable[T]:
        """Run a blocking call behind those before it: it has its place now, not when it is awaited."""
        return see_through(asyncio.wrap_future(self._enter(call)))

    def _enter(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append((future, call))
            begins, self._runs = not self._runs, True
        if begins:
            self._threads.submit(self._work)
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._runs = False
                    return
                future, call = self._waiting.popleft()
            future.set_running_or_notify_cancel()
            try:
                if self._failure is not None:
                    raise self._failure
                result = call()
            except BaseException as error:  # noqa: BLE001 - told to who waits for it
                self._failure = error
                future.set_exception(error)
            else:
                future.set_result(result)
