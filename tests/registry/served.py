"""`longshore` as an operator runs it: processes, with what they print and log in separate files."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.clients import ROOT, Account
from tests.e2e.process import child_environment, wait_until
from tests.e2e.server import ADMIN, CHEAP_PASSWORDS
from tests.e2e.wire import Answer, Wire
from tests.registry.logged import Line, parse_lines

PROGRAM = (sys.executable, "-m", "registry.cli")
PATIENCE = 30


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program with these settings and none of the machine's."""
    named = {f"LONGSHORE_{name.upper()}": value for name, value in settings.items()}
    return child_environment(PYTHONUNBUFFERED="1", **{**CHEAP_PASSWORDS, **named})


def longshore(*words: str | Path, stdin: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        input=stdin,
        capture_output=True,
        env=environment(**settings),
        cwd=ROOT,
        timeout=PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Served:
    """`longshore serve` with its data in `folder`; it may be started again after it has ended."""

    def __init__(self, folder: Path, *flags: str, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.flags = flags
        self.settings = {"workers": "1", **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until every worker is ready."""
        self.launch()
        wait_until(lambda: self.has_ended or self._is_ready(), "the server is ready", PATIENCE)
        assert not self.has_ended, f"{self.printed}\n{self.log}"

    def _is_ready(self) -> bool:
        workers = self.workers
        counting = {int(path.stem.rpartition("_")[2]) for path in self.data.glob("metrics/*/counter_*.db")}
        return "\ntry:\n" in self.printed and len(workers) == self.worker_count and workers <= counting

    @property
    def worker_count(self) -> int:
        """How many workers it was told to have."""
        return int(self.settings.get("workers", "1"))

    def launch(self) -> None:
        """Start it, with empty files for what it prints and logs."""
        port = () if "--port" in self.flags else ("--port", "0")
        with self._file("printed").open("wb") as printed, self._file("log").open("wb") as log:
            self._process = subprocess.Popen(
                [*PROGRAM, "serve", *port, *self.flags, "--data", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
                env=environment(**self.settings),
                cwd=ROOT,
                start_new_session=True,
            )

    def end(self, number: int = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Send a signal to the first process and return the exit code of what ends by it."""
        self.signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code, as soon as there is one."""
        return self._running.wait(seconds)

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the first process, or to all of them as a terminal does."""
        if group:
            os.killpg(self._running.pid, number)
        else:
            os.kill(self._running.pid, number)

    def kill(self) -> None:
        """End whatever is left of it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def printed(self) -> str:
        """What it said to the operator."""
        return self._file("printed").read_text()

    @property
    def log(self) -> str:
        """What it logged."""
        return self._file("log").read_text()

    @property
    def log_lines(self) -> list[Line]:
        """The whole lines of a log in JSON."""
        return parse_lines(self.log.rpartition("\n")[0])

    @property
    def requests(self) -> list[Line]:
        """The log lines of requests."""
        return [line for line in self.log_lines if line["event"] == "request"]

    @property
    def url(self) -> str:
        """Where it says that it listens."""
        found = re.match(r"longshore listens on (\S+)\n", self.printed)
        assert found is not None, self.printed
        return found[1]

    @property
    def host(self) -> str:
        """Host and port of the URL."""
        return urlsplit(self.url).netloc

    @property
    def workers(self) -> set[int]:
        """The ids of the worker processes."""
        pid = self._running.pid
        with contextlib.suppress(OSError):  # it has just ended
            return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
        return set()

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """Send a request on a connection of its own."""
        with contextlib.closing(self.connect(tls)) as connection:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def connect(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Return a new connection."""
        if tls is not None:
            return http.client.HTTPSConnection(self.host, timeout=PATIENCE, context=tls)
        return http.client.HTTPConnection(self.host, timeout=PATIENCE)

    def wire(self, repository: str, account: Account | None = ADMIN) -> Wire:
        """Return a connection that is authorized for everything in a repository."""
        return Wire(self.host, repository, account)

    def refuses_connections(self) -> bool:
        """Tell whether nobody listens any more."""
        address = urlsplit(self.url)
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return True
        return False

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Run a command on the same data and return what it prints."""
        done = longshore(*words, "--data", self.data, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def files_holding(self, secrets: Sequence[str]) -> list[Path]:
        """Return the files of the data directory in which one of these texts stands."""
        return [
            path
            for path in self.data.rglob("*")
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
        ]

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def has_ended(self) -> bool:
        """Whether the first process has ended."""
        return self._running.poll() is not None

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.txt"


@contextlib.contextmanager
def serving(folder: Path, *flags: str, **settings: str) -> Iterator[Served]:
    """A server that runs, with the tests' administrator unless settings say otherwise."""
    folder.mkdir(exist_ok=True)
    served = Served(folder, *flags, **{"admin_password": ADMIN.password, **settings})
    try:
        served.start()
        yield served
    finally:
        served.kill()
