"""deploy/compose.yaml, brought up with the one command that the runbook names, and used through its proxy.

Compose builds longshore's image by itself, here with the classic builder: BuildKit does in test_image.py. The
other images are stand-ins: see stand_ins.py.
"""

import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from . import clients
from .base_image import search_path, write_base_image
from .clients import ROOT, Account, Client, go_tool, printed
from .engine import Bridge, Engine
from .images import noise, small_image, tar
from .process import free_port, running
from .stand_ins import load, load_caddy, load_minio, load_postgres
from .wire import WIRE_SECONDS, Answer, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

UP = ("up", "--detach", "--wait")
BUILD_SECONDS = 600
NODES = ("node1", "node2")
# What the build takes, and what is started.
SOURCES = ("auth", "registry", "storage", "deploy")
# A set of capabilities with only CAP_NET_BIND_SERVICE, as /proc shows it (capabilities(7)).
BINDS_LOW_PORTS = f"{1 << 10:016x}"
NOTHING = f"{0:016x}"
CHAINS_AWAY = b"No chain/target/match by that name"
# Builds of tests ask for packages where this machine does.
OVERRIDE = "services: {node1: {build: {network: host}}}\n"


@dataclass(frozen=True)
class Team:
    """What compose.yaml describes, with `docker` in its folder."""

    docker: Client
    folder: Path
    port: int
    http_port: int

    @property
    def host(self) -> str:
        """Host and port, as they stand at the start of an image's name."""
        return f"localhost:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What stands in .env."""
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def admin(self) -> Account:
        """The first account, as make-secrets tells of it."""
        return Account("admin", self.variables["LONGSHORE_ADMIN_PASSWORD"])

    @property
    def authority(self) -> Path:
        """The certificate of the proxy's authority, which `trust` fetched."""
        return self.folder / "ca.crt"

    def compose(self, *words: str | Path) -> str:
        """Run `docker compose`."""
        while True:
            done = self.docker.run("compose", *words)
            # Another engine that starts on this machine takes the packet filter's chains away for a moment.
            if done.returncode == 0 or CHAINS_AWAY not in done.stderr:
                return printed(done)

    def trust(self) -> None:
        """Fetch what clients have to trust, as the runbook says."""
        root = "proxy:/data/caddy/pki/authorities/local/root.crt"
        self.compose("cp", root, self.authority)

    def connect(self) -> HTTPSConnection:
        """A new connection to the proxy, which has to show a certificate of its authority."""
        context = ssl.create_default_context(cafile=self.authority)
        return HTTPSConnection("localhost", self.port, timeout=WIRE_SECONDS, context=context)

    def get(self, path: str) -> Answer:
        """The proxy's answer to a GET."""
        with closing(self.connect()) as connection:
            return answer(connection, path)

    def wire(self, repository: str) -> Wire:
        """The protocol spoken through the proxy."""
        return Wire(self.host, repository, self.admin, self.connect())

    def containers(self) -> dict[str, dict[str, Any]]:
        """What compose says of each service's container."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {each["Service"]: each for each in map(json.loads, lines)}

    def inspect(self, service: str) -> Any:
        """What the engine says of a service's container."""
        (found,) = json.loads(self.docker("inspect", self.containers()[service]["ID"]))
        return found

    def status(self, service: str) -> dict[str, str]:
        """What the kernel says of a service's first process."""
        lines = self.compose("exec", "--no-tty", service, "cat", "/proc/1/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def log_tail(self) -> str:
        """The ends of the logs."""
        done = self.docker.run("compose", "logs", "--no-color", "--tail", "30")
        return (done.stdout + done.stderr).decode(errors="replace")


def answer(connection: HTTPConnection, path: str) -> Answer:
    """The answer to a GET."""
    connection.request("GET", path)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose client knows `compose`. No image has a name that it would ask Docker Hub for."""
    with running(Engine(tmp_path_factory.mktemp("engine"), "http://127.0.0.1:9", offline=False)) as engine:
        plugins = Path(engine.docker.environment["HOME"], ".docker", "cli-plugins")
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(go_tool("docker-compose"))
        yield engine


@pytest.fixture(scope="module")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of compose.yaml that name images, but for longshore's own."""
    folder = tmp_path_factory.mktemp("images")
    archive = folder / "base.tar"
    write_base_image(archive, with_index=True)
    return {
        "BASE": load(engine.docker, archive, "localhost/stand-in/python", f"ENV PATH={search_path()}"),
        "DATABASE_IMAGE": load_postgres(engine.docker, folder),
        "S3_IMAGE": load_minio(engine.docker, folder),
        "PROXY_IMAGE": load_caddy(engine.docker, folder),
    }


@pytest.fixture(scope="module")
def team(engine: Engine, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The services, up, with secrets of their own."""
    checkout = tmp_path_factory.mktemp("longshore")
    for name in SOURCES:
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns(".env", "__pycache__"))
    for name in (".dockerignore", "README.md", "openapi.yaml", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, checkout)
    folder = checkout / "deploy"
    docker = engine.docker.with_environment(DOCKER_BUILDKIT="0").within(folder).patient(BUILD_SECONDS)
    team = Team(docker, folder, free_port(), free_port())
    make_secrets = Client(folder / "make-secrets", engine.docker.environment)
    make_secrets("localhost", str(team.port))
    bridge = Bridge()  # so that no other engine has this subnet
    try:
        more = {**images, "HTTP_PORT": team.http_port, "SUBNET": bridge.subnet}
        with (folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in more.items())
        (folder / "compose.override.yaml").write_text(OVERRIDE)
        team.compose(*UP)
        team.trust()
        team.docker.login(team.host, team.admin)
        yield team
    finally:
        team.docker.run("compose", "down", "--volumes", "--timeout", "1")
        bridge.remove()


def push(team: Team, name: str) -> str:
    """Make an image of a megabyte that nobody has, push it and forget it; return its name."""
    tag = f"{team.host}/admin/{name}:1"
    team.docker("import", "-", tag, stdin=tar({name: noise(f"{name} {team.port}", 1 << 20)}))
    team.docker("push", tag)
    team.docker("rmi", tag)
    return tag


def pull(team: Team, tag: str) -> None:
    """Pull an image, of which the engine has nothing before and afterwards."""
    team.docker("pull", tag)
    team.docker("rmi", tag)


@contextmanager
def stopped(team: Team, node: str) -> Iterator[None]:
    """Without a node, which comes back as the runbook replaces one."""
    team.compose("stop", node)
    try:
        yield
    finally:
        team.compose(*UP, "--no-deps", node)


def test_one_command_brings_it_up(team: Team) -> None:
    found = team.containers()
    assert {name: each["State"] for name, each in found.items() if name != "bucket"} == dict.fromkeys(
        (*NODES, "database", "storage", "proxy"), "running"
    )
    for name in (*NODES, "database"):
        assert found[name]["Health"] == "healthy", name
    assert (found["bucket"]["State"], found["bucket"]["ExitCode"]) == ("exited", 0)
    assert team.get("/readyz").status == 200


def test_only_the_proxy_can_be_reached(team: Team) -> None:
    published = {
        name: {port for port, at in team.inspect(name)["NetworkSettings"]["Ports"].items() if at}
        for name in team.containers()
    }
    assert published.pop("proxy") == {"80/tcp", f"{team.port}/tcp"}
    assert not any(published.values())


def test_plain_http_is_sent_to_tls(team: Team) -> None:
    with closing(HTTPConnection("localhost", team.http_port, timeout=WIRE_SECONDS)) as connection:
        sent = answer(connection, "/explore?page=2").expect(301, 302, 307, 308)
    assert sent.headers["Location"] == f"https://{team.host}/explore?page=2"


def test_what_is_for_the_inside_stays_there(team: Team) -> None:
    team.get("/metrics").expect(404)
    token = team.variables["LONGSHORE_METRICS_TOKEN"]
    ask = (
        "import urllib.request as r; print(r.urlopen(r.Request('http://node2:5000/metrics', "
        f"headers={{'Authorization': 'Bearer {token}'}})).status)"
    )
    assert team.compose("exec", "--no-tty", "node1", "python", "-c", ask).strip() == "200"


def test_a_client_that_checks_the_certificate(team: Team, tmp_path: Path) -> None:
    tag, trusted = push(team, "checked"), tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(team.authority, trusted)
    skopeo = clients.skopeo(tmp_path / "home")
    words = ("--creds", f"{team.admin.name}:{team.admin.password}", f"docker://{tag}")
    assert json.loads(skopeo("inspect", "--cert-dir", trusted, *words))["Name"] == tag.removesuffix(":1")
    assert "unknown authority" in skopeo.refused("inspect", *words)


def test_either_node_is_enough(team: Team) -> None:
    """The engine pushes and pulls with one node at a time; each serves what the other was sent."""
    tags = [push(team, "both")]
    for node in NODES:
        with stopped(team, node):
            for tag in tags:
                pull(team, tag)
            tags.append(push(team, f"without-{node}"))
    for tag in tags:
        pull(team, tag)


def test_blobs_pass_through_the_nodes(team: Team) -> None:
    image = small_image(f"passed {team.port}")
    with team.wire("admin/passed") as wire:
        wire.push("1", image)
        for blob in image.blobs:
            assert wire.blob(blob.digest) == blob.data


def test_they_run_without_rights(team: Team) -> None:
    for node in NODES:
        host, status = team.inspect(node)["HostConfig"], team.status(node)
        assert host["ReadonlyRootfs"], node
        assert (status["CapEff"], status["CapBnd"]) == (NOTHING, NOTHING), node
        assert (status["Uid"].split()[0], status["NoNewPrivs"]) == ("10001", "1"), node
        written = team.docker("diff", team.containers()[node]["ID"]).split()
        assert [path for path in written if path.startswith(("/opt", "/etc"))] == [], node
    bucket = team.inspect("bucket")
    assert bucket["HostConfig"]["ReadonlyRootfs"]
    assert bucket["HostConfig"]["CapDrop"] == ["ALL"]
    assert bucket["Config"]["User"] == "10001:10001"
    assert team.status("proxy")["CapBnd"] == BINDS_LOW_PORTS


def test_the_doctor_finds_the_inside_right(team: Team) -> None:
    """From a container, "localhost" is itself: only what the node stands on can be looked at."""
    done = team.docker.run("compose", "exec", "--no-tty", "node1", "longshore", "doctor", "--json")
    found = json.loads(done.stdout)["findings"]
    for check in ("database", "database clock", "storage", "storage clock", "signing keys"):
        assert {each["result"] for each in found if each["check"] == check} == {"ok"}, (check, found)


def test_logs_hold_no_secret(team: Team) -> None:
    push(team, "logged")
    logs = team.compose("logs", "--no-color")
    for name in ("node1", "node2", "proxy", "database", "storage"):
        assert name in logs
    said = {name for name, value in team.variables.items() if secret(name) and value in logs}
    assert said == set()


def secret(name: str) -> bool:
    return name.endswith(("PASSWORD", "SECRET", "TOKEN", "SECRET_KEY"))


def test_what_was_sent_outlives_the_containers(team: Team) -> None:
    tag = push(team, "kept")
    before = {each["ID"] for each in team.containers().values()}
    team.compose("down")
    assert team.containers() == {}
    team.compose(*UP)
    assert not before & {each["ID"] for each in team.containers().values()}
    # With the credentials and the authority of before.
    pull(team, tag)
    team.get("/readyz").expect(200)


def test_nothing_is_left_that_is_not_wanted(team: Team) -> None:
    """The last one: after it there is no team."""
    team.compose("down", "--volumes")
    for words in (("ps", "--all"), ("volume", "ls")):
        assert team.docker(*words, "--quiet").split() == [], words
    networks = team.docker("network", "ls", "--format", "{{.Name}}").split()
    assert sorted(networks) == ["bridge", "host", "none"]
