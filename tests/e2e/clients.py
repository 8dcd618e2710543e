"""Command-line clients, each with a home, credentials and a store of its own.

A missing client fails the test that needs it: nothing here skips.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from .process import child_environment

ROOT = Path(__file__).parents[2]
GO_TOOLS = ROOT / ".cache" / "tools" / "bin"
CLIENT_SECONDS = 120
# How clients put a 401.
DENIED = re.compile(
    "unauthorized|denied|authentication required|authorization failed|credential not found", re.IGNORECASE
)


@dataclass(frozen=True)
class Account:
    """A name and the password that goes with it."""

    name: str
    password: str


class CommandFailed(AssertionError):
    """A command ended otherwise than the test expects; the message holds all that it printed."""


def debian(name: str) -> Path:
    """Debian's executable `name`, even where another of that name is first on PATH."""
    for folder in ("/usr/bin", "/usr/sbin"):
        if (path := Path(folder) / name).exists():
            return path
    pytest.fail(f"{name} is missing: run tests/tools/install", pytrace=False)


def go_tool(name: str) -> Path:
    """The executable `name` that tests/tools/install built."""
    path = GO_TOOLS / name
    if not path.exists():
        pytest.fail(f"{path} is missing: run tests/tools/install", pytrace=False)
    return path


@dataclass(frozen=True)
class Client:
    """A command-line client: call it with its words, get what it printed.

    `options` follow the executable on every call; `login_words` are the ones that log in at a host, in
    which the host, the name and "--password-stdin" are filled in.
    """

    executable: Path
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    login_words: tuple[str, ...] = ()
    logout_words: tuple[str, ...] = ()
    working_directory: Path | None = None
    seconds: float = CLIENT_SECONDS

    def __call__(self, *words: str | Path, stdin: str | bytes = b"") -> str:
        """Run it and return its standard output; `CommandFailed` unless it exits with 0."""
        return printed(self.run(*words, stdin=stdin))

    def refused(self, *words: str | Path, stdin: str | bytes = b"") -> str:
        """Run what must fail and return all that it printed; `CommandFailed` if it exits with 0."""
        done = self.run(*words, stdin=stdin)
        if done.returncode == 0:
            raise CommandFailed(describe(done, "was expected to fail"))
        return (done.stdout + done.stderr).decode(errors="replace")

    def denied(self, *words: str | Path) -> None:
        """Run what the registry must refuse for want of rights, and require that it says so."""
        said = self.refused(*words)
        if not DENIED.search(said):
            raise CommandFailed(f"failed for another reason than a want of rights:\n{said}")

    def run(self, *words: str | Path, stdin: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, whatever the end."""
        return subprocess.run(
            self._argv(words),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=dict(self.environment),
            cwd=self.working_directory,
            timeout=self.seconds,
            check=False,
        )

    @contextmanager
    def running(self, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run it beside the test, with all that it prints in one pipe; end it when the test goes on."""
        process = subprocess.Popen(
            self._argv(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(self.environment)
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def login(self, host: str, account: Account) -> str:
        """Log in at `host` as a person would, with the password on standard input."""
        return self(*self._login(host, account), stdin=account.password)

    def login_refused(self, host: str, account: Account) -> str:
        """Log in with what must be refused."""
        return self.refused(*self._login(host, account), stdin=account.password)

    def logout(self, host: str) -> str:
        """Forget the credentials for `host`."""
        return self(*self.logout_words, host)

    def with_environment(self, **settings: str) -> "Client":
        """The same client with more environment."""
        return replace(self, environment={**self.environment, **settings})

    def patient(self, seconds: float) -> "Client":
        """The same client, for what takes longer."""
        return replace(self, seconds=seconds)

    def within(self, directory: Path) -> "Client":
        """The same client, run in `directory`."""
        return replace(self, working_directory=directory)

    def _argv(self, words: Sequence[str | Path]) -> list[str]:
        return [str(word) for word in (self.executable, *self.options, *words)]

    def _login(self, host: str, account: Account) -> tuple[str, ...]:
        return (*self.login_words, "--username", account.name, "--password-stdin", host)


def printed(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a command printed to its standard output; `CommandFailed` unless it exited with 0."""
    if done.returncode != 0:
        raise CommandFailed(describe(done, "failed"))
    return done.stdout.decode(errors="replace")


def describe(done: subprocess.CompletedProcess[bytes], verdict: str) -> str:
    """A command, what became of it and what it printed."""
    output = (done.stdout + done.stderr).decode(errors="replace")
    return f"{verdict} (exit code {done.returncode}): {' '.join(done.args)}\n{output}"


def home_environment(home: Path) -> dict[str, str]:
    """An environment in which a client finds nothing of the person who runs the tests."""
    home.mkdir(parents=True, exist_ok=True)
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return child_environment(HOME=str(home), XDG_RUNTIME_DIR=str(runtime))


def docker(home: Path, socket: Path) -> Client:
    """Docker's own client, talking to the engine at `socket`."""
    return Client(
        debian("docker"),
        {**home_environment(home), "DOCKER_HOST": f"unix://{socket}"},
        login_words=("login",),
        logout_words=("logout",),
    )


def crane(home: Path) -> Client:
    """go-containerregistry's client; knows loopback addresses as plain HTTP."""
    return Client(
        go_tool("crane"),
        home_environment(home),
        login_words=("auth", "login"),
        logout_words=("auth", "logout"),
    )


def oras(home: Path) -> Client:
    """The client for artifacts; its commands need "--plain-http"."""
    return Client(
        go_tool("oras"),
        home_environment(home),
        login_words=("login", "--plain-http"),
        logout_words=("logout",),
    )


def helm(home: Path) -> Client:
    """The client for charts; its registry commands need "--plain-http"."""
    return Client(
        go_tool("helm"),
        home_environment(home),
        login_words=("registry", "login", "--plain-http"),
        logout_words=("registry", "logout"),
    )


def cosign(home: Path, key_password: str) -> Client:
    """The client for signatures; `key_password` locks the private key that it makes."""
    return Client(
        go_tool("cosign"),
        {**home_environment(home), "COSIGN_PASSWORD": key_password},
        login_words=("login",),
    )


def skopeo(home: Path) -> Client:
    """The client that copies; its commands need "--tls-verify=false" or "--dest-tls-verify=false"."""
    return Client(
        debian("skopeo"),
        home_environment(home),
        options=("--insecure-policy",),
        login_words=("login", "--tls-verify=false"),
        logout_words=("logout",),
    )


def podman(home: Path) -> Client:
    """Podman over a store in `home`; the vfs driver needs no rights that a container lacks."""
    return Client(
        debian("podman"),
        home_environment(home),
        options=(*_storage(home), "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        login_words=("login", "--tls-verify=false"),
        logout_words=("logout",),
    )


def buildah(home: Path) -> Client:
    """Buildah over a store in `home`."""
    return Client(
        debian("buildah"),
        home_environment(home),
        options=_storage(home),
        login_words=("login", "--tls-verify=false"),
        logout_words=("logout",),
    )


def ctr(home: Path, socket: Path) -> Client:
    """containerd's own client; it has no login: its commands take "--user"."""
    return Client(
        debian("ctr"),
        home_environment(home),
        options=("--address", str(socket), "--namespace", "longshore"),
    )


def _storage(home: Path) -> tuple[str, ...]:
    return (
        "--root",
        str(home / "storage"),
        "--runroot",
        str(home / "run" / "s"),
        "--storage-driver",
        "vfs",
    )
