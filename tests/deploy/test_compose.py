"""compose.yaml and its scripts."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import (
    DEPLOY,
    OF_BOTO3,
    OF_MINIO,
    OF_POSTGRESQL,
    OF_VERSITYGW,
    SETTINGS,
    parse,
    passed,
    run,
)
from tests.e2e.clients import go_tool
from tests.e2e.process import child_environment, serving

NODES = ("node1", "node2")
KNOWN = {
    **dict.fromkeys(NODES, SETTINGS | OF_BOTO3),
    "bucket": OF_BOTO3,
    "proxy": {"SITE", "NODES"},
    "database": OF_POSTGRESQL,
    "storage": OF_MINIO | OF_VERSITYGW,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what compose needs, with secrets of its own."""
    for name in ("compose.yaml", "make-secrets", "make-bucket", "Caddyfile"):
        shutil.copy2(DEPLOY / name, tmp_path)
    passed(tmp_path / "make-secrets", "registry.example.com", "8443")
    return tmp_path


def variables_of(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def raw() -> dict[str, Any]:
    services: dict[str, Any] = parse((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def config(folder: Path) -> subprocess.CompletedProcess[str]:
    """Have compose print what it understands."""
    return run(go_tool("docker-compose"), "config", cwd=folder, environment=child_environment())


@pytest.fixture
def services(folder: Path) -> dict[str, Any]:
    """The services as compose understands them."""
    done = config(folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = parse(done.stdout)["services"]
    return found


def test_secrets_are_made_once_and_kept_close(folder: Path) -> None:
    path = folder / ".env"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    again = run(folder / "make-secrets")
    assert again.returncode == 1
    assert ".env is there already" in again.stderr
    assert path.read_bytes() == before


def test_secrets_differ_and_are_long(folder: Path) -> None:
    first = variables_of(folder / ".env")
    (folder / ".env").unlink()
    passed(folder / "make-secrets", "registry.example.com", "8443")
    second = variables_of(folder / ".env")
    same = {name for name in first if first[name] == second[name]}
    assert same == {
        *("COMPOSE_PROJECT_NAME", "SITE", "HTTPS_PORT"),
        *("LONGSHORE_EXTERNAL_URL", "S3_ACCESS_KEY"),
    }
    assert first["LONGSHORE_EXTERNAL_URL"] == "https://registry.example.com:8443"
    assert len(first["LONGSHORE_KEYS_SECRET"]) >= 32
    assert all(len(first[name]) >= 24 for name in first if "SECRET" in name or "PASSWORD" in name)


def test_the_usual_port_is_not_named(folder: Path) -> None:
    (folder / ".env").unlink()
    passed(folder / "make-secrets")
    assert variables_of(folder / ".env")["LONGSHORE_EXTERNAL_URL"] == "https://localhost"


def test_what_has_no_default_is_made(folder: Path) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", text))
    assert {"POSTGRES_PASSWORD", "LONGSHORE_KEYS_SECRET"} <= needed
    assert needed <= set(variables_of(folder / ".env"))


def test_nothing_secret_is_written_in_it() -> None:
    for name, service in raw().items():
        for variable, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|TOKEN|ACCESS_KEY", variable):
                assert re.fullmatch(r"\$\{\w+:\?run ./make-secrets first\}", value), (name, variable)


@pytest.mark.e2e
def test_compose_understands_it(services: dict[str, Any], folder: Path) -> None:
    secrets = variables_of(folder / ".env")
    assert set(services) == set(KNOWN)
    for node in NODES:
        settings = services[node]["environment"]
        password = secrets["POSTGRES_PASSWORD"]
        assert settings["LONGSHORE_DATABASE"] == f"postgresql://longshore:{password}@database:5432/longshore"
        assert settings["AWS_SECRET_ACCESS_KEY"] == secrets["S3_SECRET_KEY"]
        assert services[node]["read_only"] is True
        assert services[node]["cap_drop"] == ["ALL"]
    node1, node2 = (services[node]["environment"] for node in NODES)
    assert node1 == node2


@pytest.mark.e2e
def test_without_secrets_it_says_what_to_do(folder: Path) -> None:
    (folder / ".env").unlink()
    done = config(folder)
    assert done.returncode != 0
    assert "run ./make-secrets first" in done.stderr


@pytest.mark.e2e
def test_each_service_is_given_what_it_knows(services: dict[str, Any]) -> None:
    unknown = {name: set(each.get("environment", {})) - KNOWN[name] for name, each in services.items()}
    assert {name: found for name, found in unknown.items() if found} == {}


@pytest.mark.e2e
def test_they_start_in_order(services: dict[str, Any]) -> None:
    def awaited(name: str) -> dict[str, str]:
        return {other: how["condition"] for other, how in services[name].get("depends_on", {}).items()}

    for node in NODES:
        assert awaited(node) == {"database": "service_healthy", "bucket": "service_completed_successfully"}
    assert awaited("proxy") == dict.fromkeys(NODES, "service_healthy")
    assert awaited("bucket") == {"storage": "service_started"}
    # Those that are waited for to be healthy say when they are: the nodes by their image's own check.
    assert "healthcheck" in services["database"]
    assert all("healthcheck" not in services[node] for node in NODES)
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.e2e
def test_only_the_proxy_can_be_reached(services: dict[str, Any]) -> None:
    assert [name for name, each in services.items() if each.get("ports")] == ["proxy"]


# -- make-bucket -----------------------------------------------------------------------------------------


class Store(ThreadingHTTPServer):
    """Answers PUT as an S3 server does that is first starting, then makes buckets."""

    def __init__(self, answers: list[tuple[int, str]]) -> None:
        self.answers = answers
        self.made: list[str] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Store

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, code = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
        if status == 200:
            self.server.made.append(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that gives these answers in turn, the last one again and again."""
    store = Store(list(request.param))
    with serving(store):
        yield store


def make_bucket(store: Store) -> tuple[int, str]:
    keys = {"AWS_ACCESS_KEY_ID": "longshore", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_MAX_ATTEMPTS": "1"}
    environment = child_environment(AWS_DEFAULT_REGION="us-east-1", **keys)
    script = DEPLOY / "make-bucket"
    done = run(sys.executable, script, store.url, "images", environment=environment)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "store",
    [
        [(200, "")],
        [(503, "XMinioServerNotInitialized"), (503, "SlowDown"), (200, "")],
    ],
    ids=["at-once", "not-ready"],
    indirect=True,
)
def test_a_bucket_is_made(store: Store) -> None:
    assert make_bucket(store) == (0, "")
    assert store.made == ["/images"]


@pytest.mark.parametrize("store", [[(409, "BucketAlreadyOwnedByYou")]], indirect=True)
def test_a_bucket_that_is_there_is_as_good(store: Store) -> None:
    assert make_bucket(store) == (0, "")


@pytest.mark.parametrize("store", [[(403, "AccessDenied")]], indirect=True)
def test_a_refusal_ends_it(store: Store) -> None:
    code, said = make_bucket(store)
    assert code == 1
    assert "AccessDenied" in said
