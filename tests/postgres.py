"""A PostgreSQL server of the tests' own: Debian's, on loopback, in a folder that goes when it ends."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import Connection

from storage.metadata.postgresql import make_engine

# Nothing has to survive the machine here, only the server.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
}

_BINARIES: Final = Path("/usr/lib/postgresql")


class PostgresServer:
    """A server; `port` stays the same through stops and starts."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._data = folder / "data"
        self._log = folder / "log"
        self._names = count()

    def dsn(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres:secret@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """Make a database and return its URL."""
        name = f"test_{os.getpid()}_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.dsn(name)

    def execute(self, statement: str) -> None:
        """Run a statement as the administrator."""

        async def run() -> None:
            connection = await asyncpg.connect(self.dsn("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        aside(run)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        self._control("start", "-o", f"-p {self.port} {options}", "-l", str(self._log))

    def stop(self, mode: str = "fast") -> None:
        """Stop it: "fast" as an operator does, "immediate" like a crash."""
        self._control("stop", "-m", mode)

    def make(self) -> None:
        """Make its files."""
        password = self._data.parent / "password"
        password.write_text("secret")
        shutil.chown(password, self._data.parent.stat().st_uid)
        _run("initdb", "-D", self._data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", password)

    def _control(self, *words: str) -> None:
        _run("pg_ctl", "-D", self._data, "-w", "-t", "60", *words)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server."""
    # Not pytest's folder, which the server's own account may not enter.
    folder = Path(tempfile.mkdtemp(prefix="longshore-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        server = PostgresServer(folder, _free_port())
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def on_both_databases(metafunc: pytest.Metafunc, fixture: str) -> None:
    """Run a test that uses `fixture` on SQLite, and on PostgreSQL unless it looks at SQLite alone."""
    if fixture not in metafunc.fixturenames:
        return
    kinds = [pytest.param("sqlite")]
    if metafunc.definition.get_closest_marker("sqlite") is None:
        kinds.append(pytest.param("postgresql", marks=pytest.mark.e2e))
    metafunc.parametrize(fixture, kinds, indirect=True)


def aside(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run something asynchronous to its end in a thread: an event loop may be running in this one."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(work())).result()


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """Connect, where synchronous statements can wait for the driver (in a greenlet of SQLAlchemy's)."""
    engine = make_engine(dsn, 1, 30)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _run(program: str, *words: str | Path) -> None:
    found = sorted(_BINARIES.glob(f"*/bin/{program}"))
    assert found, f"{program} is missing: tests/tools/install brings it"
    # It refuses to run as root.
    account = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*account, found[-1], *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, f"{program} failed: {words}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
