"""Registries to measure beside each other, each started on loopback over an empty directory.

longshore runs as its users have it: with access control, every request with a token. The others have none.
"""

import contextlib
import json
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from tests.e2e.certificates import Tls
from tests.e2e.clients import ROOT, debian, go_tool
from tests.e2e.cluster import Nginx
from tests.e2e.process import Daemon, child_environment, free_port, running
from tests.e2e.server import ADMIN
from tests.e2e.wire import Wire

REPOSITORY: Final = "library/bench"

_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """A registry that runs at `host`, and the headers that a request to REPOSITORY takes.

    `authority` is whom clients trust where it speaks TLS, `data` the folder that it was started over.
    """

    name: str
    host: str
    pid: int
    data: Path
    headers: Mapping[str, str] = field(default_factory=dict)
    authority: Path | None = None

    def url(self, target: str) -> str:
        """Return the address of a path."""
        return f"{'http' if self.authority is None else 'https'}://{self.host}{target}"

    def connect(self) -> HTTPConnection:
        """Return a connection, not open yet."""
        context = self.context()
        if context is None:
            return HTTPConnection(self.host, timeout=_SECONDS)
        return HTTPSConnection(self.host, timeout=_SECONDS, context=context)

    def context(self) -> ssl.SSLContext | None:
        """Return the client's side of TLS, where it is spoken."""
        return None if self.authority is None else ssl.create_default_context(cafile=self.authority)


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a server."""

    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one of them is started: over a folder, on a port, with TLS or without."""

    name: str
    start: Callable[[Path, int, Tls | None], Command]
    has_tokens: bool = False

    @contextlib.contextmanager
    def running(self, folder: Path, tls: Tls | None = None) -> Iterator[Peer]:
        """Run it until the block ends."""
        folder.mkdir(parents=True)
        port = free_port()
        command = self.start(folder, port, tls)
        daemon = Daemon(command.argv, folder / "log", child_environment(**command.environment), cwd=ROOT)
        daemon.start()
        try:
            authority = None if tls is None else tls.authority
            peer = Peer(self.name, f"127.0.0.1:{port}", daemon.pid, folder / "data", authority=authority)
            daemon.wait_ready(lambda: answers(peer))
            yield replace(peer, headers=token_headers(peer)) if self.has_tokens else peer
        finally:
            daemon.stop()

    @contextlib.contextmanager
    def behind_nginx(self, folder: Path, tls: Tls) -> Iterator[Peer]:
        """Run it until the block ends behind the nginx of deploy/, which speaks TLS."""
        host = f"127.0.0.1:{free_port()}"
        with self.running(folder) as peer, running(Nginx(folder / "nginx", host, [peer], tls)):
            yield replace(peer, host=host, authority=tls.authority)


def token_headers(peer: Peer) -> dict[str, str]:
    """Log in and return the header that the administrator's requests to REPOSITORY carry."""
    with Wire(peer.host, REPOSITORY, ADMIN, peer.connect()) as wire:
        return wire.headers()


def longshore(**settings: str) -> Kind:
    """Return longshore with settings as in the environment, such as `LONGSHORE_WORKERS="2"`."""

    def start(folder: Path, port: int, tls: Tls | None) -> Command:
        argv = (sys.executable, "-m", "registry.cli", "serve", "--port", str(port))
        where = {"LONGSHORE_DATA": str(folder / "data")}
        if tls is not None:
            where |= {"LONGSHORE_TLS_CERTIFICATE": str(tls.certificate), "LONGSHORE_TLS_KEY": str(tls.key)}
        fixed = {
            "LONGSHORE_ADMIN_PASSWORD": ADMIN.password,
            "LONGSHORE_TOKEN_LIFETIME": "1d",  # a run takes longer than five minutes
            "LONGSHORE_LOG_LEVEL": "warning",
            "LONGSHORE_TRUSTED_PROXIES": "127.0.0.1",
        }
        return Command(argv, {**fixed, **where, **settings})

    return Kind("longshore", start, has_tokens=True)


def distribution(
    name: str = "distribution 3.1.2", storage: Mapping[str, object] | None = None, program: str = ""
) -> Kind:
    """Return CNCF Distribution; `storage` is that part of its configuration, by default a directory."""

    def start(folder: Path, port: int, tls: Tls | None) -> Command:
        kept = storage or {"filesystem": {"rootdirectory": str(folder / "data")}}
        http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "not a secret here"}
        if tls is not None:
            http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        # JSON is YAML as well.
        configuration = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {**kept, "delete": {"enabled": True}},
            "http": http,
        }
        (folder / "config.yml").write_text(json.dumps(configuration))
        argv = (program or go_tool("distribution"), "serve", folder / "config.yml")
        return Command(argv, {"OTEL_TRACES_EXPORTER": "none"})

    return Kind(name, start)


def docker_registry() -> Kind:
    """Return Debian's docker-registry."""
    return distribution("docker-registry 2.8.2", program=str(debian("docker-registry")))


def olareg() -> Kind:
    """Return olareg."""

    def start(folder: Path, port: int, tls: Tls | None) -> Command:
        address = ("--addr", "127.0.0.1", "--port", str(port))
        secured = () if tls is None else ("--tls-cert", tls.certificate, "--tls-key", tls.key)
        data = folder / "data"
        return Command((go_tool("olareg"), "serve", *address, *secured, "--dir", data, "--api-delete"))

    return Kind("olareg 0.2.2", start)


def answers(peer: Peer) -> bool:
    """Whether it serves by now."""
    connection = peer.connect()
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
