"""longshore's own image: built by the real engine, kept in longshore, pulled from it, and run.

The base of the build comes from longshore too. Only packages come from the index that pip asks here. BuildKit
builds it; the classic builder does in test_compose.py.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.postgres import PostgresServer
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

from . import clients
from .base_image import search_path, write_base_image
from .clients import ROOT, Client
from .cluster import KEYS_SECRET
from .engine import Engine
from .images import digest_of
from .node import Node
from .process import free_port, running
from .server import ADMIN, CHEAP_PASSWORDS, Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BASE = "library/python:3.11-slim-bookworm"
REVISION = "0123456789abcdef"
BUILD_SECONDS = 600
MEGABYTE = 10**6
SBOM = "/opt/longshore/sbom.cdx.json"


@pytest.fixture(scope="module")
def engine(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that is logged in at the server, and whose builds reach pip's index."""
    folder = tmp_path_factory.mktemp("engine")
    with running(Engine(folder, mirror=server.url, offline=False)) as engine:
        engine.docker.login(server.host, ADMIN)
        yield engine


@pytest.fixture(scope="module")
def base(server: Server, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image with Python and pip, which is in the server and nowhere else."""
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    write_base_image(archive, with_index=True)
    name = f"{server.host}/{BASE}"
    engine.docker("import", "--change", f"ENV PATH={search_path()}", archive, name)
    archive.unlink()
    engine.docker("push", name)
    engine.remove_images()
    return name


@pytest.fixture(scope="module")
def image(server: Server, engine: Engine, base: str) -> str:
    """The name of longshore's image: built, pushed, removed and pulled from the server."""
    name = f"{server.host}/library/longshore:test"
    arguments = (f"BASE={base}", f"REVISION={REVISION}")
    build = engine.docker.with_environment(DOCKER_BUILDKIT="1").patient(BUILD_SECONDS)
    build(
        *("build", "--network", "host", "--file", ROOT / "deploy" / "Dockerfile", "--tag", name),
        *(word for argument in arguments for word in ("--build-arg", argument)),
        ROOT,
    )
    engine.docker("push", name)
    engine.remove_images()
    assert engine.docker("images", "--all", "--quiet") == ""
    engine.docker("pull", name)
    return name


def node(
    engine: Engine,
    image: str,
    name: str,
    settings: Mapping[str, str] | None = None,
    *,
    network: str | None = None,
    keeps: bool = True,
) -> AbstractContextManager[Node]:
    """A node that runs from the image, with more settings than every node here has."""
    defaults = {"LONGSHORE_ADMIN_PASSWORD": ADMIN.password, "LONGSHORE_WORKERS": "2", **CHEAP_PASSWORDS}
    return running(
        Node(engine.docker, image, name, free_port(), {**defaults, **(settings or {})}, network, keeps)
    )


def test_a_node_serves_its_own_image(server: Server, engine: Engine, image: str) -> None:
    with node(engine, image, "registry") as registry:
        assert registry.get("/readyz") == 200
        engine.docker.login(registry.host, ADMIN)
        copy = f"{registry.host}/library/longshore:copy"
        engine.docker("tag", image, copy)
        wanted = image_id(engine.docker, image)
        engine.docker("push", copy)
        engine.docker("rmi", copy)
        engine.docker("pull", copy)
        assert image_id(engine.docker, copy) == wanted

        # Its data outlives it.
        registry.replace(image)
        engine.docker("rmi", copy)
        engine.docker("pull", copy)
        assert image_id(engine.docker, copy) == wanted


def test_two_nodes_are_one_registry(
    engine: Engine, image: str, postgres: PostgresServer, minio: S3Server
) -> None:
    """On PostgreSQL and MinIO nothing is kept in a node: what one was sent, the other serves."""
    settings = {
        "LONGSHORE_DATABASE": postgres.create(),
        "LONGSHORE_KEYS_SECRET": KEYS_SECRET,
        "LONGSHORE_STORAGE": f"s3://{BUCKET}/image",
        "LONGSHORE_S3_ENDPOINT": minio.endpoint,
        "LONGSHORE_S3_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with (
        node(engine, image, "left", settings, network="host", keeps=False) as left,
        node(engine, image, "right", settings, network="host", keeps=False) as right,
    ):
        wanted = image_id(engine.docker, image)
        for registry in (left, right):
            engine.docker.login(registry.host, ADMIN)
        pushed, pulled = (f"{each.host}/library/longshore:copy" for each in (left, right))
        engine.docker("tag", image, pushed)
        engine.docker("push", pushed)
        left.stop()
        engine.docker("pull", pulled)
        assert image_id(engine.docker, pulled) == wanted
        assert right.exec("ls", ".").split() == ["metrics"]
        # From the registry itself, which runs on: the engine has the layers, and would not ask for them.
        with Wire(right.host, "library/longshore", ADMIN) as wire:
            manifest = json.loads(wire.manifest("copy"))
            for descriptor in manifest["layers"]:
                assert redirected(wire, descriptor["digest"])


def test_the_health_check_fails_where_nothing_answers(engine: Engine, image: str) -> None:
    with node(engine, image, "asked", network="host") as registry:
        check = json.loads(
            engine.docker("image", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", image)
        )
        assert check[0] == "CMD"
        registry.exec(*check[1:])
        asked_elsewhere = ("exec", "--env", f"LONGSHORE_PORT={free_port()}", registry.name, *check[1:])
        assert "refused" in engine.docker.refused(*asked_elsewhere)


def test_it_runs_without_rights(engine: Engine, image: str) -> None:
    with node(engine, image, "modest", keeps=False) as registry:
        assert (
            registry.exec("python", "-c", "import os; print(os.getuid(), os.getgid())").split()
            == ["10001"] * 2
        )
        write = "open('/opt/longshore/file', 'w')"
        assert "Read-only file system" in engine.docker.refused("exec", registry.name, "python", "-c", write)
        # Every process of it ends when it is asked to, well before the engine's patience does.
        assert ended(engine.docker, registry.name) == "exited 0"


def test_it_holds_what_it_needs_and_no_more(engine: Engine, image: str, base: str) -> None:
    run = ("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python", image, "-c")
    engine.docker(
        *run, "import asyncio, boto3; boto3.client('s3', 'us-east-1'); boto3.client('sts', 'us-east-1')"
    )
    for name in ("hatchling", "pytest", "playwright"):
        assert "ModuleNotFoundError" in engine.docker.refused(*run, f"import {name}")
    folders = "import os; print(*(name for name in ('/build', '/wheels') if os.path.exists(name)))"
    assert engine.docker(*run, folders).split() == []
    size = json.loads(engine.docker("image", "inspect", "--format", "{{.Size}}", image))
    engine.docker("pull", base)
    of_base = json.loads(engine.docker("image", "inspect", "--format", "{{.Size}}", base))
    assert size - of_base < 140 * MEGABYTE


def test_it_says_what_it_is_made_of(server: Server, engine: Engine, image: str, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        return engine.docker("run", "--rm", "--network", "none", "--entrypoint", words[0], image, *words[1:])

    text = run("cat", SBOM)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said = {
        (each["purl"].partition("/")[0], each["name"], each["version"])
        for each in json.loads(text)["components"]
    }
    listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    packages = {
        ("pkg:pypi", *each.lower().replace("_", "-").split("=="))
        for each in run("python", "-c", listing).split()
    }
    status = run("cat", "/var/lib/dpkg/status")
    debian = {
        ("pkg:deb", *each)
        for each in re.findall(r"^Package: (.+)(?:\n.+)*\nVersion: (.+)$", status, re.MULTILINE)
    }
    ours = {each for each in packages if each[1] == "longshore"}
    assert len(debian) > 5
    assert len(packages) > 30
    version = run("python", "-c", "import platform; print(platform.python_version())").strip()
    assert said == (packages - ours) | debian | {("pkg:generic", "python", version)}

    # As the runbook says: attached to the image, where scanners look for it.
    (tmp_path / "sbom.cdx.json").write_text(text)
    oras = clients.oras(tmp_path).within(tmp_path)
    oras.login(server.host, ADMIN)
    kind = "application/vnd.cyclonedx+json"
    oras("attach", "--plain-http", "--artifact-type", kind, image, f"sbom.cdx.json:{kind}")
    with Wire(server.host, "library/longshore", ADMIN) as wire:
        query = urlencode({"artifactType": kind})
        target = f"/v2/library/longshore/referrers/{wire.manifest_digest('test')}?{query}"
        (referrer,) = wire.request("GET", target).expect(200).json()["manifests"]
        (layer,) = json.loads(wire.manifest(referrer["digest"]))["layers"]
        assert wire.blob(layer["digest"]) == text.encode()


def test_it_says_what_it_is(engine: Engine, image: str) -> None:
    config = json.loads(engine.docker("image", "inspect", "--format", "{{json .Config}}", image))
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "longshore"
    assert labels["org.opencontainers.image.revision"] == REVISION
    version = engine.docker("run", "--rm", image, "--version").split()[-1]
    assert labels["org.opencontainers.image.version"] == version
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert (config["Entrypoint"], config["Cmd"]) == (["longshore"], ["serve"])


def image_id(docker: Client, name: str) -> str:
    """An image's id, which is its config's digest."""
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def redirected(wire: Wire, digest: str) -> bool:
    """Whether a blob's GET is sent to the bucket, and the bytes there are the blob."""
    location = wire.request("GET", f"/v2/{wire.repository}/blobs/{digest}").expect(307).headers["Location"]
    with urlopen(location, timeout=60) as answer:
        return digest_of(iter(lambda: answer.read(1 << 20), b"")) == digest


def ended(docker: Client, name: str) -> str:
    docker("stop", "--time", "60", name)
    return docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).strip()
