"""A longshore server of the test's own."""

import http.client
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .clients import ROOT, Account, Client
from .process import Daemon, child_environment, free_port

ADMIN = Account("admin", "correct horse battery staple")
# Hashing at full cost would only slow the tests down.
CHEAP_PASSWORDS = {"LONGSHORE_PASSWORD_TIME_COST": "1", "LONGSHORE_PASSWORD_MEMORY_COST": "1024"}


class Server:
    """`longshore serve` on a loopback port, which it keeps over restarts.

    `settings` are names and values as in the environment, such as `LONGSHORE_SPARSE="all"`; `longshore` is
    its command line, for commands other than `serve`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self.environment = child_environment(
            LONGSHORE_ADMIN_PASSWORD=ADMIN.password, **CHEAP_PASSWORDS, **(settings or {})
        )
        program = (sys.executable, "-m", "registry.cli")
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        serve = (*program, "serve", *address, "--data", self.data)
        self._daemon = Daemon(serve, folder / "server.log", self.environment, cwd=ROOT)
        self.longshore = Client(Path(program[0]), self.environment, program[1:]).within(ROOT)

    @property
    def host(self) -> str:
        """Host and port, as they stand at the start of an image's name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where the server answers, without a trailing slash."""
        return f"http://{self.host}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._daemon.start()
        self._daemon.wait_ready(self._answers)

    def stop(self) -> None:
        """End it as an operator would."""
        self._daemon.stop()

    def kill(self) -> None:
        """End it as a crash would: every process at once, with nothing flushed."""
        self._daemon.kill()

    def restart(self) -> None:
        """Start it again after `kill`, or stop and start it, on the same port and data."""
        self.stop()
        self.start()

    def add_user(self, name: str, password: str) -> Account:
        """Create an account, who owns the namespace of that name."""
        self.longshore("user", "add", name, "--data", self.data, "--password-stdin", stdin=password)
        return Account(name, password)

    def blob_path(self, digest: str) -> Path:
        """The one file in which the file system store keeps the blob `digest`."""
        [path] = self.blob_files(digest.partition(":")[2])
        return path

    def blob_files(self, encoded: str = "") -> Iterator[Path]:
        """The files in the place of finished blobs, all or those of one."""
        return (path for path in (self.data / "blobs").rglob(f"{encoded}*") if path.is_file())

    def stored_bytes(self) -> int:
        """How much is on disk, finished or not."""
        return sum(_size(path) for path in self.data.rglob("*"))

    def processes(self) -> list[Path]:
        """The directories in /proc of its processes."""
        return [Path("/proc") / str(pid) for pid in self._daemon.group()]

    def remove_data(self) -> None:
        """Remove what the stopped server stored."""
        shutil.rmtree(self.data)

    def log_tail(self) -> str:
        """The end of the server's log."""
        return self._daemon.log_tail()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _size(path: Path) -> int:
    """A file's size; 0 for what is no file or went away while we looked."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
