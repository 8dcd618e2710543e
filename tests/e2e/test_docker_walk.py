"""What a person does with Docker, against an engine whose only mirror is longshore.

Each test begins with an engine that holds no image: whatever it uses, it built or pulled.
"""

import json
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Protocol

import pytest

from .base_image import search_path, write_base_image
from .clients import Account, Client
from .cluster import running_cluster, trusted_by_docker
from .engine import Engine
from .process import free_port, running, wait_until
from .server import ADMIN, Server
from .wire import CONNECTION_LOST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BASE = "python:3.8-slim"
ORIGIN = "longshore.test.origin"
GREETING = "hello from longshore"

DOCKERFILE = """\
FROM python:3.8-slim
WORKDIR /app
COPY . /app
RUN pip install --no-cache-dir -r requirements.txt
EXPOSE 80
CMD ["python", "app.py"]
"""
# The build reaches no network: the only requirement comes along in the context.
REQUIREMENTS = "--no-index\n--find-links ./wheels\ngreeting==1.0\n"
APP = """\
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from greeting import TEXT


class Greet(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(TEXT.encode())


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
HTTPServer(("", 80), Greet).serve_forever()
"""
WHEEL = {
    "greeting.py": f"TEXT = {GREETING!r}\n",
    "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
    "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "greeting-1.0.dist-info/RECORD": "",
}


@dataclass(frozen=True)
class Person:
    """Someone with an account at `host` and Docker's client, logged in."""

    host: str
    account: Account
    docker: Client

    def image(self, name: str) -> str:
        """The full name of an image in this person's own namespace."""
        return f"{self.host}/{self.account.name}/{name}"


class Site(Protocol):
    """Where longshore is: one server, or several behind a proxy."""

    @property
    def host(self) -> str:
        """Host and port, as they stand at the start of an image's name."""

    @property
    def url(self) -> str:
        """Where it answers, without a trailing slash."""

    def add_user(self, name: str, password: str) -> Account:
        """Create an account, who owns the namespace of that name."""


@pytest.fixture(scope="module", params=["alone", "team"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server on loopback; or three nodes on PostgreSQL and S3 behind nginx, whose TLS is verified."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "alone":
            yield stack.enter_context(running(Server(folder)))
            return
        cluster = stack.enter_context(running_cluster(folder, tls=True))
        assert cluster.tls is not None
        stack.enter_context(trusted_by_docker(cluster.host, cluster.tls.authority))
        yield cluster


@pytest.fixture(scope="module")
def engine(server: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose `--registry-mirror` is longshore."""
    with running(Engine(tmp_path_factory.mktemp("engine"), mirror=server.url)) as engine:
        yield engine


@pytest.fixture(scope="module")
def origin(server: Site, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A label's value by which an image is known to come from the base that the administrator pushed.

    The base is called as on Docker Hub, and nowhere but in longshore has it this label.
    """
    admin = log_in(engine, server, ADMIN)
    origin = uuid.uuid4().hex
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    write_base_image(archive)
    changes = (f"ENV PATH={search_path()}", 'CMD ["python"]', f"LABEL {ORIGIN}={origin}")
    name = f"{server.host}/library/{BASE}"
    admin.docker("import", *(word for change in changes for word in ("--change", change)), archive, name)
    archive.unlink()
    admin.docker("push", name)
    return origin


@pytest.fixture(scope="module")
def alice(server: Site, engine: Engine) -> Person:
    """A user who is logged in and owns the namespace `alice`."""
    return log_in(engine, server, server.add_user("alice", "wonderland rabbit hole"))


@pytest.fixture(scope="module")
def bob(server: Site, engine: Engine) -> Person:
    """Another user."""
    return log_in(engine, server, server.add_user("bob", "builders fix everything"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build context: the Dockerfile, an application and the package that it needs."""
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "requirements.txt").write_text(REQUIREMENTS)
    (context / "app.py").write_text(APP)
    (context / "wheels").mkdir()
    with zipfile.ZipFile(context / "wheels" / "greeting-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in WHEEL.items():
            wheel.writestr(path, text)
    return context


@pytest.fixture(scope="module")
def app(engine: Engine, origin: str, alice: Person, context: Path) -> str:
    """The name of Alice's application, a private image that she built and pushed."""
    name = alice.image("app:1")
    engine.remove_images()
    alice.docker("build", "--tag", name, context)
    alice.docker("push", name)
    return name


@pytest.fixture(autouse=True)
def clean_engine(engine: Engine, origin: str) -> None:
    """The base is in longshore, and the engine holds nothing."""
    engine.remove_images()
    assert engine.docker("images", "--all", "--quiet") == ""


@pytest.mark.parametrize("buildkit", ["0", "1"], ids=["classic", "buildkit"])
def test_build_push_remove_pull_run(
    buildkit: str, engine: Engine, origin: str, alice: Person, context: Path
) -> None:
    name = alice.image(f"built:{buildkit}")
    docker = alice.docker.with_environment(DOCKER_BUILDKIT=buildkit)
    docker("build", "--tag", name, context)
    assert label(docker, name) == origin
    built = image_id(docker, name)
    docker("push", name)

    engine.remove_images()
    docker("pull", name)
    assert image_id(docker, name) == built

    port = free_port()
    docker("run", "--detach", "--publish", f"127.0.0.1:{port}:80", name)
    assert greeting(port) == GREETING


def test_the_mirror_serves_docker_hubs_names_without_login(engine: Engine, origin: str) -> None:
    anonymous = engine.client("anonymous")
    anonymous("pull", BASE)
    assert label(anonymous, BASE) == origin


def test_a_public_repository_is_pulled_without_login(server: Site, engine: Engine, origin: str) -> None:
    anonymous = engine.client("anonymous")
    name = f"{server.host}/library/{BASE}"
    anonymous("pull", name)
    assert label(anonymous, name) == origin


def test_library_may_be_left_out(server: Site, engine: Engine, origin: str) -> None:
    name = f"{server.host}/{BASE}"
    engine.client("anonymous")("pull", name)
    assert label(engine.docker, name) == origin


def test_a_private_repository_is_refused_without_login(engine: Engine, app: str) -> None:
    engine.remove_images()
    engine.client("anonymous").denied("pull", app)
    assert engine.docker("images", "--quiet") == ""


def test_a_private_repository_is_refused_to_another_user(engine: Engine, app: str, bob: Person) -> None:
    engine.remove_images()
    bob.docker.denied("pull", app)
    assert engine.docker("images", "--quiet") == ""


def test_push_to_anothers_namespace_is_refused(alice: Person, bob: Person) -> None:
    name = alice.image("stolen:1")
    bob.docker("pull", BASE)
    bob.docker("tag", BASE, name)
    bob.docker.denied("push", name)


def test_push_without_login_is_refused(server: Site, engine: Engine, origin: str) -> None:
    anonymous = engine.client("anonymous")
    name = f"{server.host}/library/{BASE}"
    anonymous("pull", name)
    anonymous.denied("push", name)


def test_login_with_a_wrong_password_is_refused(server: Site, engine: Engine, alice: Person) -> None:
    mallory = engine.client("mallory")
    said = mallory.login_refused(server.host, Account(alice.account.name, "a guess"))
    assert "unauthorized" in said


def test_logout_ends_access(server: Site, engine: Engine, app: str, alice: Person) -> None:
    visitor = engine.client("visitor")
    visitor.login(server.host, alice.account)
    engine.remove_images()
    visitor("pull", app)
    visitor.logout(server.host)
    engine.remove_images()
    visitor.denied("pull", app)


def test_ps_stop_rm_rmi(engine: Engine, app: str, alice: Person) -> None:
    docker = alice.docker
    port = free_port()
    docker("run", "--detach", "--name", "walker", "--publish", f"127.0.0.1:{port}:80", app)
    assert greeting(port) == GREETING  # only now does it end when it is asked to
    assert docker("ps", "--format", "{{.Names}}").split() == ["walker"]
    docker("stop", "walker")
    assert docker("ps", "--format", "{{.Names}}").split() == []
    assert docker("ps", "--all", "--format", "{{.Names}} {{.Status}}").startswith("walker Exited (0)")
    docker("rm", "walker")
    assert docker("ps", "--all", "--format", "{{.Names}}").split() == []
    docker("rmi", app)
    assert docker("images", "--quiet") == ""


def test_a_volume_outlives_its_container(engine: Engine) -> None:
    docker = engine.docker
    docker("volume", "create", "notes")
    try:
        docker("run", "--rm", "--volume", "notes:/notes", BASE, "sh", "-c", "echo kept > /notes/note")
        assert docker("ps", "--all", "--quiet") == ""
        assert docker("run", "--rm", "--volume", "notes:/notes", BASE, "cat", "/notes/note") == "kept\n"
    finally:
        docker("volume", "rm", "notes")


def test_containers_talk_by_name_on_a_network(app: str, alice: Person) -> None:
    docker = alice.docker
    docker("network", "create", "street")
    try:
        docker("run", "--detach", "--name", "neighbour", "--network", "street", app)
        ask = "import urllib.request as r; print(r.urlopen('http://neighbour/', timeout=5).read().decode())"
        question = ("run", "--rm", "--network", "street", BASE, "python", "-c", ask)
        wait_until(lambda: docker.run(*question).returncode == 0, "the neighbour answers")
        assert docker(*question) == f"{GREETING}\n"
    finally:
        docker("rm", "--force", "neighbour")
        docker("network", "rm", "street")


def log_in(engine: Engine, server: Site, account: Account) -> Person:
    """`docker login`, in a client that no one else uses."""
    client = engine.client(account.name)
    assert "Login Succeeded" in client.login(server.host, account)
    return Person(server.host, account, client)


def label(docker: Client, name: str) -> str:
    """Where an image comes from, as the base says."""
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", name))
    return str(labels[ORIGIN])


def image_id(docker: Client, name: str) -> str:
    """An image's id, which is its config's digest."""
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def greeting(port: int) -> str:
    """What the application answers on a published port, once it listens."""
    answers: list[str] = []

    def answered() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            answers.append(connection.getresponse().read().decode())
        except CONNECTION_LOST:
            return False
        finally:
            connection.close()
        return True

    wait_until(answered, "the application answers")
    return answers[0]
