"""Worker processes that share one port: gunicorn starts, watches and stops them."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
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

# After its transfers have finished or timed out a worker still has to close its stores.
_CLOSING_SECONDS: Final = 5


class Server(BaseApplication):
    """The registry as processes. `on_ready` hears the URL that it listens on."""

    def __init__(self, settings: Settings, metrics_directory: Path, on_ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._metrics_directory = metrics_directory
        self._on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Translate the settings into gunicorn's."""
        settings, host = self._settings, self._settings.host
        options: dict[str, Any] = {
            "bind": f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": "registry.server.TLSWorker",
            "timeout": _STUCK_AFTER,
            "graceful_timeout": settings.shutdown_timeout + _CLOSING_SECONDS,
            "umask": 0o077,
            "proc_name": "longshore",
            "control_socket_disable": True,
            "logger_class": "registry.server.ArbiterLogger",
            "when_ready": self._announce,
            "child_exit": _forget_worker,
        }
        if settings.tls_certificate is not None:
            options |= {"certfile": str(settings.tls_certificate), "keyfile": str(settings.tls_key)}
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the coroutine function that makes a worker's runner, in the worker."""
        settings, metrics_directory = self._settings, self._metrics_directory

        async def make() -> web.AppRunner:
            return await make_runner(settings, metrics_directory)

        return make

    def _announce(self, arbiter: Arbiter) -> None:
        host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
        scheme = "http" if self._settings.tls_certificate is None else "https"
        self._on_ready(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")


class TLSWorker(GunicornWebWorker):
    """aiohttp's worker, with the TLS settings that Python recommends for servers."""

    @staticmethod
    def _create_ssl_context(cfg: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cfg.certfile, cfg.keyfile)
        return context


class ArbiterLogger(Logger):
    """gunicorn's messages, in the log like all others."""

    def setup(self, cfg: Any) -> None:
        """Take no handlers of its own: records go up to the root logger."""
        self.error_log = logging.getLogger("gunicorn")
        # Booting, exiting: of interest to who looks for a fault.
        self.error_log.setLevel(max(logging.getLogger().level, logging.WARNING))


def _forget_worker(_: Arbiter, worker: Worker) -> None:
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
