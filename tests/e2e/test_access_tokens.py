"""Access tokens and robots with the clients that people give them to: Docker, podman and skopeo."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import clients
from .api import Api
from .clients import Account, Client
from .engine import Engine
from .images import small_image, write_layout
from .process import running
from .server import Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ALICE = Account("alice", "wonderland rabbit hole")
ROBOT = "acme+ci"
PRIVATE = ("alice/app", "alice/lib", "acme/site")


@pytest.fixture(scope="module")
def alice(server: Server) -> Account:
    """A user with private repositories, and with the organization `acme` that has a robot."""
    server.add_user(ALICE.name, ALICE.password)
    with Api(server.host, ALICE) as api:
        api.post("/organizations", {"name": "acme"})
        api.post("/organizations/acme/robots", {"name": "ci"})
    for repository in PRIVATE:
        with Wire(server.host, repository, ALICE) as wire:
            wire.push("v1", small_image(repository))
    return ALICE


@pytest.fixture(scope="module")
def engine(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for the tests of this file."""
    with running(Engine(tmp_path_factory.mktemp("engine"), mirror=server.url)) as engine:
        yield engine


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A client's home, with a short name for podman's sake."""
    home = tmp_path_factory.mktemp("h")
    yield home
    shutil.rmtree(home, ignore_errors=True)


def make_token(server: Server, permission: str, *only: str, robot: bool = False) -> tuple[Account, Any]:
    """Make an access token: what to log in with, and what the server says of it."""
    path = "/organizations/acme/robots/ci/tokens" if robot else "/me/tokens"
    wanted = {"name": "test", "permission": permission, "repositories": list(only) or None}
    with Api(server.host, ALICE) as api:
        made = api.post(path, wanted)
    return Account(ROBOT if robot else ALICE.name, made["secret"]), made


def log_in(client: Client, server: Server, account: Account) -> None:
    assert "Login Succeeded" in client.login(server.host, account)


@pytest.fixture
def docker(engine: Engine, request: pytest.FixtureRequest) -> Client:
    """Docker's client of somebody whom no other test knows, over an engine that holds nothing."""
    engine.remove_images()
    return engine.client(f"client-of-{abs(hash(request.node.name))}")


class Images:
    """Names of images at the server, and what Docker does with them."""

    def __init__(self, docker: Client, server: Server) -> None:
        self.docker = docker
        self.host = server.host

    def pull(self, repository: str) -> None:
        """Pull what the fixture pushed."""
        self.docker("pull", f"{self.host}/{repository}:v1")

    def pull_denied(self, repository: str) -> None:
        """Fail to pull it."""
        self.docker.denied("pull", f"{self.host}/{repository}:v1")

    def push(self, source: str, target: str) -> None:
        """Push what was pulled to another place."""
        self.docker(*self._tag(source, target))

    def push_denied(self, source: str, target: str) -> None:
        """Fail to push it there."""
        self.docker.denied(*self._tag(source, target))

    def _tag(self, source: str, target: str) -> tuple[str, str]:
        name = f"{self.host}/{target}"
        self.docker("tag", f"{self.host}/{source}:v1", name)
        return "push", name


def test_docker_reads(server: Server, alice: Account, docker: Client) -> None:
    account, _ = make_token(server, "read")
    images = Images(docker, server)
    images.pull_denied("alice/app")
    log_in(docker, server, account)
    images.pull("alice/app")
    images.push_denied("alice/app", "alice/app:new")
    images.push_denied("alice/app", "alice/new:v1")


def test_docker_writes(server: Server, alice: Account, docker: Client) -> None:
    account, _ = make_token(server, "write")
    images = Images(docker, server)
    log_in(docker, server, account)
    images.pull("alice/app")
    images.push("alice/app", "alice/app:written")
    images.push("alice/app", "alice/written:v1")
    images.pull("alice/written")
    with Wire(server.host, "alice/app", account) as wire:
        digest = wire.manifest_digest("written")
        assert wire.request("DELETE", f"/v2/alice/app/manifests/{digest}").status == 401


def test_docker_with_a_token_for_one_repository(server: Server, alice: Account, docker: Client) -> None:
    account, _ = make_token(server, "write", "alice/lib")
    images = Images(docker, server)
    log_in(docker, server, account)
    images.pull("alice/lib")
    images.push("alice/lib", "alice/lib:v2")
    images.push_denied("alice/lib", "alice/new-by-lib:v1")
    images.push_denied("alice/lib", "alice/app:v2")
    images.pull_denied("alice/app")
    images.pull_denied("acme/site")


def test_docker_of_a_robot(server: Server, alice: Account, docker: Client) -> None:
    account, _ = make_token(server, "write", robot=True)
    images = Images(docker, server)
    log_in(docker, server, account)
    images.pull("acme/site")
    images.push("acme/site", "acme/built:v1")
    images.pull("acme/built")
    images.push_denied("acme/site", "alice/app:by-robot")
    images.pull_denied("alice/app")


def test_docker_is_logged_out_when_its_token_is_revoked(
    server: Server, alice: Account, docker: Client
) -> None:
    account, made = make_token(server, "read")
    images = Images(docker, server)
    log_in(docker, server, account)
    images.pull("alice/app")
    with Api(server.host, ALICE) as api:
        [used] = [each for each in api.get("/me/tokens")["items"] if each["id"] == made["id"]]
        assert used["last_used_at"] is not None
        api.request("DELETE", f"/me/tokens/{made['id']}").expect(204)
    images.pull_denied("alice/lib")
    docker.login_refused(server.host, account)


def test_docker_is_refused_with_the_token_of_somebody_else(
    server: Server, alice: Account, docker: Client
) -> None:
    robot, _ = make_token(server, "read", robot=True)
    for name in ("alice", "acme", "ci"):
        assert "unauthorized" in docker.login_refused(server.host, Account(name, robot.password))


@pytest.mark.parametrize("make", [clients.podman, clients.skopeo], ids=["podman", "skopeo"])
@pytest.mark.parametrize("robot", [False, True], ids=["person", "robot"])
def test_podman_and_skopeo(
    server: Server,
    alice: Account,
    home: Path,
    tmp_path: Path,
    make: Callable[[Path], Client],
    robot: bool,
) -> None:
    client = make(home)
    kind = "podman" if make is clients.podman else "skopeo"
    namespace = "acme" if robot else "alice"
    layout = write_layout(tmp_path / "layout", "v1", small_image(f"{kind} {namespace}"))
    name = f"{server.host}/{namespace}/by-{kind}:v1"
    push = _podman_push(client, layout, name) if kind == "podman" else _skopeo_push(layout, name)

    reader, _ = make_token(server, "read", robot=robot)
    log_in(client, server, reader)
    client.denied(*push)
    writer, _ = make_token(server, "write", robot=robot)
    log_in(client, server, writer)
    client(*push)
    with Wire(server.host, f"{namespace}/by-{kind}", reader) as wire:
        assert wire.has_manifest("v1")
    if kind == "skopeo":
        delete = ("delete", "--tls-verify=false", f"docker://{name}")
        client.denied(*delete)
        deleter, _ = make_token(server, "delete", f"{namespace}/by-{kind}", robot=robot)
        log_in(client, server, deleter)
        client(*delete)


def _podman_push(podman: Client, layout: Path, name: str) -> tuple[str, ...]:
    image_id = podman("pull", "--quiet", f"oci:{layout}:v1").strip()
    podman("tag", image_id, name)
    return "push", "--tls-verify=false", name


def _skopeo_push(layout: Path, name: str) -> tuple[str, ...]:
    return "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{name}"
