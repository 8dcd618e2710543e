"""Registries to measure beside each other, each started on loopback over an empty directory.

longshore runs as its users have it: with access control, every request with a token. The others have none.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from tests.e2e.clients import ROOT, debian, go_tool
from tests.e2e.process import Daemon, child_environment, free_port
from tests.e2e.server import ADMIN
from tests.e2e.wire import Wire

REPOSITORY: Final = "library/bench"


@dataclass(frozen=True, slots=True)
class Peer:
    """A registry that runs at `host`, and the headers that a request to REPOSITORY takes."""

    name: str
    host: str
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def memory(self) -> int:
        """Return what its processes hold now, in bytes; what they share counts once."""
        return sum(_proportional(pid) for pid in _tree(self.pid))


@dataclass(frozen=True, slots=True)
class Kind:
    """How one of them is started over a folder, on a port."""

    name: str
    start: Callable[[Path, int], Sequence[str | Path]]
    environment: Mapping[str, str] = field(default_factory=dict)
    has_tokens: bool = False

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Peer]:
        """Run it until the block ends."""
        folder.mkdir(parents=True)
        port = free_port()
        argv = self.start(folder, port)
        daemon = Daemon(argv, folder / "log", child_environment(**self.environment), cwd=ROOT)
        daemon.start()
        try:
            daemon.wait_ready(lambda: _answers(port))
            host = f"127.0.0.1:{port}"
            headers = token_headers(host) if self.has_tokens else {}
            yield Peer(self.name, host, daemon.pid, headers)
        finally:
            daemon.stop()


def token_headers(host: str) -> dict[str, str]:
    """Log in and return the header that the administrator's requests to REPOSITORY carry."""
    with Wire(host, REPOSITORY, ADMIN) as wire:
        return wire.headers()


def longshore(name: str = "longshore", **settings: str) -> Kind:
    """Return longshore with settings as in the environment, such as `LONGSHORE_WORKERS="2"`."""

    def start(folder: Path, port: int) -> Sequence[str | Path]:
        return (
            *(sys.executable, "-m", "registry.cli", "serve"),
            *("--port", str(port), "--data", folder / "data"),
        )

    fixed = {
        "LONGSHORE_ADMIN_PASSWORD": ADMIN.password,
        "LONGSHORE_TOKEN_LIFETIME": "1d",  # a run takes longer than five minutes
        "LONGSHORE_LOG_LEVEL": "warning",
    }
    return Kind(name, start, {**fixed, **settings}, has_tokens=True)


def distribution(
    name: str = "distribution 3.1.2", storage: Mapping[str, object] | None = None, program: str = ""
) -> Kind:
    """Return CNCF Distribution; `storage` is that part of its configuration, by default a directory."""

    def start(folder: Path, port: int) -> Sequence[str | Path]:
        kept = storage or {"filesystem": {"rootdirectory": str(folder / "data")}}
        # JSON is YAML as well.
        configuration = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {**kept, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "not a secret here"},
        }
        (folder / "config.yml").write_text(json.dumps(configuration))
        return (program or go_tool("distribution"), "serve", folder / "config.yml")

    return Kind(name, start, {"OTEL_TRACES_EXPORTER": "none"})


def docker_registry() -> Kind:
    """Return Debian's docker-registry."""
    return distribution("docker-registry 2.8.2", program=str(debian("docker-registry")))


def olareg() -> Kind:
    """Return olareg."""

    def start(folder: Path, port: int) -> Sequence[str | Path]:
        address = ("--addr", "127.0.0.1", "--port", str(port))
        return (go_tool("olareg"), "serve", *address, "--dir", folder / "data", "--api-delete")

    return Kind("olareg 0.2.2", start)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _tree(int(child))


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss of {pid}")
