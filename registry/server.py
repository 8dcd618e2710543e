"""Worker processes that share one port: gunicorn starts, watches and stops them."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.worker import GunicornWebWorker
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from prometheus_client.multiprocess import mark_process_dead

from registry.app import make_runner
from registry.config import Settings

# A worker whose event loop stands still for this many seconds is replaced.
_STUCK_AFTER: Final = 60

# After its transfers have finished or were cut a worker still has to note how far they came, and to close
# its stores.
_CUTTING_SECONDS: Final = 3
_CLOSING_SECONDS: Final = 5

_BACKLOG: Final = 2048

# Files that a worker has open for itself: databases, their readers, connections to other servers.
_OWN_FILES: Final = 256

_log = structlog.stdlib.get_logger("longshore.server")


class Server(BaseApplication):
    """The registry as processes. The address is taken at once: from then on connections wait to be served.

    Raises:
        OSError: the address cannot be taken or TLS cannot be spoken, in words for the operator.
    """

    def __init__(
        self, settings: Settings, metrics_directory: Path, sources: Mapping[str, str] | None = None
    ) -> None:
        _tls_of(settings)
        self._settings = settings
        self._metrics_directory = metrics_directory
        self._sources = sources
        listener = _listen(settings.host, settings.port)
        self._address: tuple[str, int] = listener.getsockname()[:2]
        self._descriptor = listener.detach()  # gunicorn closes it
        _raise_open_files(settings.connections)
        self.transfers = Transfers(settings.shutdown_timeout)
        super().__init__()

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        scheme = "http" if self._settings.tls_certificate is None else "https"
        return f"{scheme}://{_join(*self._address)}"

    def load_config(self) -> None:
        """Translate the settings into gunicorn's."""
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._descriptor}",
            "workers": settings.workers,
            "worker_class": "registry.server.RegistryWorker",
            "timeout": _STUCK_AFTER,
            "graceful_timeout": settings.shutdown_timeout + _CLOSING_SECONDS,
            "umask": 0o077,
            "proc_name": "longshore",
            "control_socket_disable": True,
            "logger_class": "registry.server.ArbiterLogger",
            "child_exit": _forget_worker,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the coroutine function that makes a worker's runner, in the worker."""

        async def make() -> web.AppRunner:
            tls = _tls_of(self._settings)  # anew, after a renewal
            runner = await make_runner(self._settings, self._metrics_directory, self._sources, tls)
            self.transfers.watch(runner)
            return runner

        return make


class Transfers:
    """The requests under way in a worker, which may finish when it stops.

    aiohttp's own stop reads nothing more of the requests that it waits for, so an upload would only stand
    still until it is cut: it comes after this one.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._runner: web.AppRunner | None = None
        self._running: dict[asyncio.Task[Any] | None, web.Request] = {}
        self._idle = asyncio.Event()
        self._ending = False

    def watch(self, runner: web.AppRunner) -> None:
        """See the requests of a runner that is not set up yet."""
        self._runner = runner
        self._idle.set()
        runner.app.middlewares.insert(0, self._see)

    async def end(self) -> None:
        """Take no new connection, let requests finish in time, and cut off those that do not."""
        if self._runner is None:
            return
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


class RegistryWorker(GunicornWebWorker):
    """aiohttp's worker, which lets uploads finish."""

    app: Server
    _ending: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop when the requests under way are done; until then the arbiter hears that the worker lives."""
        if self._ending is None:
            self._ending = self.loop.create_task(self._end())

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop likewise: an interrupted terminal sends this to the workers as well as to the arbiter."""
        self.handle_exit(sig, frame)

    async def _end(self) -> None:
        await self.app.transfers.end()
        self.alive = False
        self._notify_waiter_done()


class ArbiterLogger(Logger):
    """gunicorn's messages, in the log like all others."""

    def setup(self, cfg: Any) -> None:
        """Take no handlers of its own: records go up to the root logger."""
        self.error_log = logging.getLogger("gunicorn")
        # Booting, exiting: of interest to who looks for a fault.
        self.error_log.setLevel(max(logging.getLogger().level, logging.WARNING))


def _raise_open_files(connections: int) -> None:
    """Let a worker open as many files as its connections take: each has a socket, and maybe a blob."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning("fewer files may be open than connections need", may=hard, needs=wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _forget_worker(_: Arbiter, worker: Worker) -> None:
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _tls_of(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return make_tls_context(settings.tls_certificate, settings.tls_key)


def make_tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the settings that Python recommends for servers, with a certificate.

    Raises:
        OSError: it cannot be used, in words for the operator.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise OSError(f"tls_certificate: {certificate} is not a certificate in PEM") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a passphrase of ours the library would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise OSError(f"tls_key: {key} does not belong to the certificate in {certificate}") from error
        raise OSError(f"tls_key: {key} is not a private key in PEM without a passphrase") from error
    return context


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost may stand for both: clients try IPv4 last, but never leave it out.
        family, kind, protocol, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(_BACKLOG)
            stack.pop_all()
            return listener
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"cannot listen on {_join(host, port)}: {reason}") from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
