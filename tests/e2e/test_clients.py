"""Every other client: logs in with a user's password, pushes to a private repository and pulls back.

Digests are compared with those of the content that was pushed, as the registry reports them over a
connection of the test's own.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import clients
from .clients import Account, Client
from .containerd import Containerd
from .images import (
    Image,
    Index,
    foreign_layer,
    gzip_layer,
    image,
    noise,
    small_image,
    small_index,
    tar,
    write_layout,
    zstd_layer,
)
from .process import running
from .server import Server
from .wire import Wire

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def alice(server: Server) -> Account:
    """A user who owns the namespace `alice`."""
    return server.add_user("alice", "wonderland rabbit hole")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A client's home, removed with the copies of images in it.

    Its name is short because podman refuses a runtime folder of more than 50 characters.
    """
    home = tmp_path_factory.mktemp("h")
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd that nothing else uses."""
    with running(Containerd(tmp_path_factory.mktemp("containerd"))) as containerd:
        yield containerd


def shapes() -> dict[str, Image | Index]:
    """Content of every shape that a client copies without changing it."""
    archive = tar({"file": noise("shapes", 300_000)})
    return {
        "image": small_image("shape"),
        "index": small_index("shape"),
        "zstd": image([zstd_layer(archive)]),
        "foreign": image([gzip_layer(archive), foreign_layer(tar({"from": b"elsewhere"}))]),
        "no-layers": image([]),
        "twice-the-same-layer": image([gzip_layer(archive)] * 2),
    }


# crane follows the addresses of a foreign layer when it pulls; skopeo copies the manifest alone.
@pytest.mark.parametrize("shape", sorted(shapes().keys() - {"foreign"}))
def test_crane_keeps_what_it_pushes(
    shape: str, server: Server, alice: Account, home: Path, tmp_path: Path
) -> None:
    content = shapes()[shape]
    layout = write_layout(tmp_path / "layout", "v1", content)
    crane = clients.crane(home)
    crane.login(server.host, alice)
    name = f"{server.host}/alice/crane-{shape}:v1"
    crane("push", layout, name)
    assert crane("digest", name).strip() == content.manifest.digest
    assert crane("manifest", name).encode() == content.manifest.data
    crane("pull", "--format", "oci", name, tmp_path / "pulled")
    assert layout_digest(tmp_path / "pulled") == content.manifest.digest


def test_crane_validates_lists_appends_copies_and_deletes(
    server: Server, alice: Account, home: Path, tmp_path: Path
) -> None:
    crane = clients.crane(home)
    name, copy = f"{server.host}/alice/crane", f"{server.host}/alice/crane-copy"
    content = small_image("crane")
    layout = write_layout(tmp_path / "layout", "v1", content)
    crane.denied("push", layout, f"{name}:v1")
    crane.login(server.host, alice)
    crane("push", layout, f"{name}:v1")
    crane("validate", "--remote", f"{name}:v1")

    layer = tmp_path / "layer.tar"
    layer.write_bytes(tar({"more": b"content"}))
    crane("append", "--base", f"{name}:v1", "--new_layer", layer, "--new_tag", f"{name}:v2")
    crane("validate", "--remote", f"{name}:v2")
    assert crane("ls", name).split() == ["v1", "v2"]

    crane("cp", f"{name}:v1", f"{copy}:v1")
    assert crane("digest", f"{copy}:v1").strip() == content.manifest.digest

    crane("delete", f"{copy}@{content.manifest.digest}")
    with Wire(server.host, "alice/crane-copy", alice) as wire:
        assert not wire.has_manifest(content.manifest.digest)
        assert not wire.has_manifest("v1")
    assert crane("digest", f"{name}:v1").strip() == content.manifest.digest


@pytest.mark.parametrize("shape", shapes())
def test_skopeo_copies_between_repositories(
    shape: str, server: Server, alice: Account, home: Path, tmp_path: Path
) -> None:
    content = shapes()[shape]
    layout = write_layout(tmp_path / "layout", "v1", content)
    skopeo = clients.skopeo(home)
    here, there = (f"docker://{server.host}/alice/skopeo-{shape}-{place}:v1" for place in ("here", "there"))
    skopeo.denied("copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:v1", here)
    skopeo.login(server.host, alice)
    keep = ("--all", "--preserve-digests")
    skopeo("copy", *keep, "--dest-tls-verify=false", f"oci:{layout}:v1", here)
    skopeo("copy", *keep, "--src-tls-verify=false", "--dest-tls-verify=false", here, there)
    assert skopeo("inspect", "--raw", "--tls-verify=false", there).encode() == content.manifest.data
    with Wire(server.host, f"alice/skopeo-{shape}-there", alice) as wire:
        assert wire.manifest_digest("v1") == content.manifest.digest
        for child in content.children:
            assert wire.manifest(child.manifest.digest) == child.manifest.data

        skopeo("delete", "--tls-verify=false", there)
        assert not wire.has_manifest("v1")


def test_podman_pushes_and_pulls(server: Server, alice: Account, home: Path, tmp_path: Path) -> None:
    content = small_image("podman")
    layout = write_layout(tmp_path / "layout", "v1", content)
    podman = clients.podman(home)
    name = f"{server.host}/alice/podman:v1"
    image_id = podman("pull", "--quiet", f"oci:{layout}:v1").strip()
    podman("tag", image_id, name)
    podman.denied("push", "--tls-verify=false", name)
    assert "Login Succeeded" in podman.login(server.host, alice)
    with Wire(server.host, "alice/podman", alice) as wire:
        push_and_pull(podman, name, image_id, wire)


def test_buildah_builds_pushes_and_pulls(server: Server, alice: Account, home: Path, tmp_path: Path) -> None:
    buildah = clients.buildah(home)
    (tmp_path / "file").write_bytes(noise("buildah", 50_000))
    name = f"{server.host}/alice/buildah:v1"
    container = buildah("from", "scratch").strip()
    buildah("copy", container, tmp_path / "file", "/file")
    buildah("config", "--cmd", "/file", container)
    image_id = buildah("commit", "--quiet", "--format", "oci", "--rm", container, name).strip()
    buildah.denied("push", "--tls-verify=false", name)
    assert "Login Succeeded" in buildah.login(server.host, alice)
    with Wire(server.host, "alice/buildah", alice) as wire:
        push_and_pull(buildah, name, image_id, wire)


def push_and_pull(client: Client, name: str, image_id: str, wire: Wire) -> None:
    """Push `name`, remove it and pull it; podman and buildah share these commands."""
    client("push", "--tls-verify=false", name)
    config = json.loads(wire.manifest("v1"))["config"]["digest"]
    assert config == f"sha256:{image_id}"

    client("rmi", "--force", image_id)
    client.refused("inspect", "--type", "image", name)
    client("pull", "--tls-verify=false", name)
    assert client("images", "--quiet", "--no-trunc", name).strip() == config

    client("rmi", "--force", image_id)
    client.logout(wire.host)
    client.denied("pull", "--tls-verify=false", name)


def test_oras_pushes_attaches_discovers_and_pulls(
    server: Server, alice: Account, home: Path, tmp_path: Path
) -> None:
    oras = clients.oras(home).within(tmp_path)
    name = f"{server.host}/alice/oras"
    (tmp_path / "artifact.txt").write_bytes(noise("artifact", 5000))
    (tmp_path / "sbom.json").write_text("{}")
    oras.denied("push", "--plain-http", f"{name}:v1", "artifact.txt:text/plain")
    assert "Login Succeeded" in oras.login(server.host, alice)
    artifact = ("--artifact-type", "application/vnd.longshore.test")
    oras("push", "--plain-http", *artifact, f"{name}:v1", "artifact.txt:text/plain")
    digest = oras("resolve", "--plain-http", f"{name}:v1").strip()

    sbom = ("--artifact-type", "application/vnd.longshore.sbom")
    oras("attach", "--plain-http", *sbom, f"{name}:v1", "sbom.json:application/json")
    oras("attach", "--plain-http", *artifact, f"{name}:v1", "artifact.txt:text/plain")
    discover = ("discover", "--plain-http", "--format", "json")
    assert len(referrers(oras(*discover, f"{name}:v1"))) == 2
    found = referrers(oras(*discover, *sbom, f"{name}@{digest}"))
    assert [one["artifactType"] for one in found] == ["application/vnd.longshore.sbom"]

    oras("pull", "--plain-http", "--output", "pulled", f"{name}:v1")
    assert (tmp_path / "pulled" / "artifact.txt").read_bytes() == noise("artifact", 5000)
    oras("pull", "--plain-http", "--output", "pulled", f"{name}@{found[0]['digest']}")
    assert (tmp_path / "pulled" / "sbom.json").read_text() == "{}"


def test_helm_pushes_and_pulls_a_version_with_a_plus(
    server: Server, alice: Account, home: Path, tmp_path: Path
) -> None:
    helm = clients.helm(home).within(tmp_path)
    version = "1.2.3+build.5"
    chart = {"apiVersion": "v2", "name": "harbour", "version": version, "description": "a test"}
    (tmp_path / "harbour").mkdir()
    (tmp_path / "harbour" / "Chart.yaml").write_text(json.dumps(chart))
    helm("package", "harbour")
    package = tmp_path / f"harbour-{version}.tgz"

    charts = f"oci://{server.host}/alice/charts"
    helm.denied("push", "--plain-http", package, charts)
    helm.login(server.host, alice)
    helm("push", "--plain-http", package, charts)
    with Wire(server.host, "alice/charts/harbour", alice) as wire:
        wire.manifest("1.2.3_build.5")  # a tag has no "+"

    wanted = ("--plain-http", "--version", version, f"{charts}/harbour")
    helm("pull", *wanted, "--destination", home)
    assert (home / package.name).read_bytes() == package.read_bytes()
    assert "description: a test" in helm("show", "chart", *wanted)
    newest = ("--plain-http", "--version", ">=1.0.0", f"{charts}/harbour")
    assert f"version: {version}" in helm("show", "chart", *newest)

    helm.logout(server.host)
    helm.denied("pull", *wanted)


def test_cosign_signs_and_verifies(server: Server, alice: Account, home: Path, tmp_path: Path) -> None:
    signed, unsigned = small_image("signed"), small_image("unsigned")
    with Wire(server.host, "alice/cosign", alice) as wire:
        wire.push("signed", signed)
        wire.push("unsigned", unsigned)
    cosign = clients.cosign(home, "the key's own password")
    for owner in ("author", "stranger"):
        (tmp_path / owner).mkdir()
        cosign.within(tmp_path / owner)("generate-key-pair")
    plain = ("--allow-insecure-registry", "--allow-http-registry")
    offline = ("--use-signing-config=false", "--tlog-upload=false")
    name = f"{server.host}/alice/cosign@{signed.manifest.digest}"
    sign = ("sign", "--key", tmp_path / "author" / "cosign.key", *offline, *plain, "--yes", name)
    cosign.denied(*sign)
    cosign.login(server.host, alice)
    cosign(*sign)

    verify = ("verify", "--insecure-ignore-tlog=true", *plain)
    found = cosign(*verify, "--key", tmp_path / "author" / "cosign.pub", name)
    assert signed.manifest.digest in found
    cosign.refused(*verify, "--key", tmp_path / "stranger" / "cosign.pub", name)
    other = f"{server.host}/alice/cosign@{unsigned.manifest.digest}"
    cosign.refused(*verify, "--key", tmp_path / "author" / "cosign.pub", other)


@pytest.mark.parametrize("shape", ["image", "index", "zstd"])
def test_containerd_pulls_and_pushes(
    shape: str, server: Server, alice: Account, containerd: Containerd, home: Path
) -> None:
    content = shapes()[shape]
    with Wire(server.host, f"alice/ctr-{shape}", alice) as wire:
        wire.push("v1", content)
    ctr = clients.ctr(home, containerd.socket)
    pulled, pushed = f"{server.host}/alice/ctr-{shape}:v1", f"{server.host}/alice/ctr-{shape}-again:v2"
    pull = ("images", "pull", "--plain-http", "--snapshotter", "native", "--all-platforms")
    user = ("--user", f"{alice.name}:{alice.password}")
    ctr.denied(*pull, pulled)
    ctr.denied(*pull, "--user", f"{alice.name}:a guess", pulled)
    ctr(*pull, *user, pulled)
    ctr("images", "tag", pulled, pushed)
    ctr("images", "push", "--plain-http", *user, pushed)
    with Wire(server.host, f"alice/ctr-{shape}-again", alice) as wire:
        assert wire.manifest_digest("v2") == content.manifest.digest


def layout_digest(layout: Path) -> str:
    """The digest of the only manifest that a layout's index lists."""
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return str(entry["digest"])


def referrers(discovered: str) -> list[dict[str, str]]:
    """The referrers that `oras discover` lists."""
    answer: dict[str, list[dict[str, str]]] = json.loads(discovered)
    return answer["referrers"]
