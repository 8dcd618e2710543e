"""Processes that the tests start, watch and end.

A process is ended by its own process group and nothing wider, so two runs on one machine never meet.
"""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseServer
from typing import Protocol, TypeVar

# Below Linux' ephemeral range: no outgoing connection can take the port while its server restarts.
PORTS = range(20000, 32000)
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return as soon as `condition` holds; `TimeoutError` names `what` did not happen in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} seconds")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def child_environment(**settings: str) -> dict[str, str]:
    """This process's environment with `settings`, less what would configure longshore or a client."""
    configuring = ("LONGSHORE_", "DOCKER_", "OCI_", "HELM_", "COSIGN_", "CONTAINERD_", "XDG_", "REGISTRY_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(configuring)}
    return {**inherited, **settings}


class Service(Protocol):
    """Something that is started and must be stopped."""

    def start(self) -> None:
        """Start it and wait until it is ready."""

    def stop(self) -> None:
        """End it, however far it came."""


S = TypeVar("S", bound=Service)


@contextmanager
def running(service: S) -> Iterator[S]:
    """`service` while it runs; it is stopped even if it did not come up."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


class Daemon:
    """A long-running process in a process group of its own, with its output in a file."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        cwd: Path | None = None,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self.environment = dict(environment)
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The leader's process id, which is also the group's."""
        if self._process is None:
            raise RuntimeError(f"{self.argv[0]} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process; a second start appends to the same log."""
        if self._process is not None:
            raise RuntimeError(f"{self.argv[0]} is already running")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.cwd,
                start_new_session=True,
            )

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Return when `ready` holds; an early exit or a timeout shows the log's end."""

        def settled() -> bool:
            return self._exited() or ready()

        try:
            wait_until(settled, "ready", seconds)
        except TimeoutError as late:
            raise RuntimeError(f"{self.argv}: {late}\n{self.log_tail()}") from late
        if self._exited():
            raise RuntimeError(f"{self.argv} exited before it was ready\n{self.log_tail()}")

    def stop(self, grace: float = 30) -> None:
        """Ask the leader to end (SIGTERM); after `grace` seconds end the whole group."""
        if self._process is None:
            return
        os.kill(self.pid, signal.SIGTERM)
        try:
            wait_until(self._exited, f"{self.argv[0]} ends", grace)
        except TimeoutError:
            pass  # kill() does not ask
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL the whole group, as a crash or an out-of-memory kill would."""
        if self._process is None:
            return
        # The leader is not reaped yet, so its id cannot have been given to another process.
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def group(self) -> list[int]:
        """The ids of its processes."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(ProcessLookupError):
                if os.getpgid(int(entry.name)) == self.pid:
                    found.append(int(entry.name))
        return found

    def log_tail(self, lines: int = 60, width: int = 400) -> str:
        """The end of the log, without what makes its lines too long to read."""
        if not self.log.exists():
            return ""
        tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:width] for line in tail)

    def _exited(self) -> bool:
        """Whether the leader has ended, without reaping it."""
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return status is not None


def processes_naming(word: str) -> Iterator[int]:
    """The ids of running processes with `word` in their command line.

    For the grandchildren that leave their group on purpose, such as containerd's shims: `word` must be
    a path that this test run made.
    """
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if word.encode() in command:
            yield int(entry.parent.name)


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Serve in a thread until the block ends, and close the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
