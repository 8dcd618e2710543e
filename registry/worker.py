"""What runs in a worker process: the registry on the listeners that it shares, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from gunicorn.workers.base import Worker

from registry.app import make_runner
from registry.config import Settings
from registry.server import BACKLOG, tls_of

# For transfers that were cut: see CLOSING_SECONDS in registry.server, of which this is the most.
_CUTTING_SECONDS: Final = 3

_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


async def serve(
    settings: Settings, metrics_directory: Path, sources: Mapping[str, str] | None, worker: Worker
) -> None:
    """Serve until a signal says to stop, or the arbiter is gone; let uploads and downloads finish."""
    stopping = asyncio.Event()
    for number in _STOP:  # an interrupted terminal sends one to the workers as well as to the arbiter
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if not worker.alive:
        stopping.set()  # it came while this was on its way
    # Read anew by each worker: the certificate may have been renewed.
    runner = await make_runner(settings, metrics_directory, sources, tls_of(settings))
    transfers = Transfers(runner, settings.shutdown_timeout)
    await runner.setup()
    for listener in worker.sockets:
        # One at a time: otherwise the worker that wakes first takes all connections of a moment, and others
        # have none. asyncio knows only one number for that and for how many may wait.
        await web.SockSite(runner, listener, backlog=1).start()
        listener.listen(BACKLOG)
    worker.booted = True
    beating = asyncio.create_task(_beat(worker, stopping))
    await stopping.wait()
    await transfers.end()
    await runner.cleanup()
    beating.cancel()


async def _beat(worker: Worker, stopping: asyncio.Event) -> None:
    """Tell the arbiter each second that the worker lives; stop where there is no arbiter any more."""
    while True:
        worker.notify()
        if os.getppid() != worker.ppid:
            stopping.set()
        await asyncio.sleep(1)


class Transfers:
    """The requests of a runner that is not set up yet, which may finish when it stops.

    aiohttp's own stop reads nothing more of the requests that it waits for, so an upload would only stand
    still until it is cut: it comes after this one.
    """

    def __init__(self, runner: web.AppRunner, seconds: int) -> None:
        self._runner = runner
        self._seconds = seconds
        self._running: dict[asyncio.Task[Any] | None, web.Request] = {}
        self._idle = asyncio.Event()
        self._ending = False
        self._idle.set()
        runner.app.middlewares.insert(0, self._see)

    async def end(self) -> None:
        """Take no new connection, let requests finish in time, and cut off those that do not."""
        self._ending = True
        # What would never end by itself ends now; aiohttp asks for it only when all the rest is done.
        await self._runner.app.shutdown()
        for site in list(self._runner.sites):
            await site.stop()
        if not await self._are_done(self._seconds):
            self._cut()
            await self._are_done(_CUTTING_SECONDS)

    @web.middleware
    async def _see(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        self._running[task] = request
        self._idle.clear()
        try:
            response = await handler(request)
        finally:
            del self._running[task]
            if not self._running:
                self._idle.set()
        if self._ending:
            response.force_close()
        return response

    async def _are_done(self, seconds: int) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    def _cut(self) -> None:
        for task, request in self._running.items():
            if task is not None and request.method == "GET":
                task.cancel()  # asyncio's sendfile does not notice that its connection is aborted
            elif request.transport is not None:
                # As if the client had gone away: what came of an upload is kept.
                request.transport.abort()
