"""Worker processes that share one port: gunicorn starts, watches and stops them."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from prometheus_client.multiprocess import mark_process_dead

from registry.config import Settings

# A worker whose event loop stands still for this many seconds is replaced.
_STUCK_AFTER: Final = 60

# After its transfers have finished or were cut a worker still has to note how far they came, and to close
# its stores.
CLOSING_SECONDS: Final = 5

BACKLOG: Final = 2048
"""Connections that may wait to be taken."""

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
        tls_of(settings)
        self._settings = settings
        self._metrics_directory = metrics_directory
        self._sources = sources
        listener = _listen(settings.host, settings.port)
        self._address: tuple[str, int] = listener.getsockname()[:2]
        self._descriptor = listener.detach()  # gunicorn closes it
        _raise_open_files(settings.connections)
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
            "preload_app": settings.workers > 1,  # one alone would share it with nobody
            "worker_class": "registry.server.RegistryWorker",
            "timeout": _STUCK_AFTER,
            "graceful_timeout": settings.shutdown_timeout + CLOSING_SECONDS,
            "umask": 0o077,
            "proc_name": "longshore",
            "control_socket_disable": True,
            "logger_class": "registry.server.ArbiterLogger",
            "pre_fork": _set_aside,
            "child_exit": _forget_worker,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the coroutine function that a worker runs."""
        # Not at the top: the process that watches the workers is to be small.
        from registry.worker import serve  # noqa: PLC0415 - as above

        return partial(serve, self._settings, self._metrics_directory, self._sources)


class RegistryWorker(Worker):
    """A process that serves; `Server.load` says what."""

    wsgi: Any

    def init_signals(self) -> None:
        """Take what gunicorn sends; a terminal's hangup is the arbiter's to answer."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until it is told to stop."""
        self.booted = False  # serve() says when
        asyncio.run(self.wsgi(self))


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


def _set_aside(_: Arbiter, __: Worker) -> None:
    """Keep the collector from what there is: it writes to all that it looks at, which ends the sharing."""
    gc.collect()
    gc.freeze()


def _forget_worker(_: Arbiter, worker: Worker) -> None:
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return what TLS is spoken with, as the files are now; None without TLS."""
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
            listener.listen(BACKLOG)
            stack.pop_all()
            return listener
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"cannot listen on {_join(host, port)}: {reason}") from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
