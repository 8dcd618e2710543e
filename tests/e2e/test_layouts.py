"""Layouts that are exported, as other clients read them, and those of other clients, imported."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import clients
from .images import Image, Index, small_image, small_index
from .seed import ALICE
from .server import ADMIN, Server
from .showcase import app_image, signature
from .wire import Wire

pytestmark = pytest.mark.e2e

ALL: dict[str, Image | Index] = {"image": small_image("layout"), "index": small_index("layout")}


@pytest.fixture(scope="module", params=[None], ids=["node"])
def server(server: Server) -> Server:
    """The server with an image and an index, while it runs."""
    with Wire(server.host, "library/layout", ADMIN) as wire:
        for tag, content in ALL.items():
            wire.push(tag, content)
    return server


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A client's home, with a short name: podman refuses a long one."""
    home = tmp_path_factory.mktemp("h")
    yield home
    shutil.rmtree(home, ignore_errors=True)


def export(server: Server, reference: str, dest: Path, *words: str) -> Path:
    assert "exported" in server.longshore("export", reference, dest, "--data", server.data, *words)
    return dest


def import_(server: Server, src: Path, reference: str) -> str:
    return server.longshore("import", src, reference, "--data", server.data)


def require_there(server: Server, repository: str, tag: str, content: Image | Index) -> None:
    with Wire(server.host, repository, ADMIN) as wire:
        assert wire.manifest(tag) == content.manifest.data
        for each in (content, *content.children):
            assert wire.manifest(each.manifest.digest) == each.manifest.data
            for blob in each.blobs:
                assert wire.blob(blob.digest) == blob.data


@pytest.mark.parametrize("tag", ALL)
@pytest.mark.parametrize(("kind", "name"), [("oci", "layout"), ("oci-archive", "layout.tar")])
def test_skopeo(server: Server, home: Path, tmp_path: Path, tag: str, kind: str, name: str) -> None:
    skopeo = clients.skopeo(home)
    skopeo.login(server.host, ADMIN)
    keep = ("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")
    layout = export(server, f"layout:{tag}", tmp_path / name)
    there = f"library/{kind}-{tag}"
    skopeo(*keep, f"{kind}:{layout}:{tag}", f"docker://{server.host}/{there}:copied")
    require_there(server, there, "copied", ALL[tag])
    other = tmp_path / f"other-{name}"
    skopeo(*keep, f"docker://{server.host}/{there}:copied", f"{kind}:{other}:v1")
    assert f"{there}-back:v1" in import_(server, other, f"{there}-back")
    require_there(server, f"{there}-back", "v1", ALL[tag])


@pytest.mark.parametrize("tag", ALL)
def test_crane(server: Server, home: Path, tmp_path: Path, tag: str) -> None:
    crane = clients.crane(home)
    crane.login(server.host, ADMIN)
    layout = export(server, f"layout:{tag}", tmp_path / "layout")
    crane("push", layout, f"{server.host}/library/crane-{tag}:pushed")
    require_there(server, f"library/crane-{tag}", "pushed", ALL[tag])
    crane("pull", "--format", "oci", f"{server.host}/library/crane-{tag}:pushed", tmp_path / "pulled")
    import_(server, tmp_path / "pulled", f"crane-{tag}-back:v1")
    require_there(server, f"library/crane-{tag}-back", "v1", ALL[tag])


def test_oras_takes_what_refers_to_it_along(server: Server, home: Path, tmp_path: Path) -> None:
    content = app_image("layout")
    signed = signature(content)
    with Wire(server.host, "library/signed", ADMIN) as wire:
        wire.push("v1", content)
        wire.push(signed.manifest.digest, signed)
    oras = clients.oras(home)
    oras.login(server.host, ADMIN)
    layout = export(server, "signed:v1", tmp_path / "layout", "--referrers")
    assert signed.manifest.digest in oras("discover", "--oci-layout", f"{layout}:v1", "--format", "json")
    oras(
        "copy",
        "--recursive",
        "--from-oci-layout",
        "--to-plain-http",
        f"{layout}:v1",
        f"{server.host}/library/oras:v1",
    )
    require_there(server, "library/oras", "v1", content)
    require_there(server, "library/oras", signed.manifest.digest, signed)
    other = tmp_path / "other"
    oras(
        "copy",
        "--recursive",
        "--from-plain-http",
        "--to-oci-layout",
        f"{server.host}/library/oras:v1",
        f"{other}:v1",
    )
    import_(server, other, "oras-back:v2")
    require_there(server, "library/oras-back", "v2", content)
    require_there(server, "library/oras-back", signed.manifest.digest, signed)


def test_podman(server: Server, home: Path, tmp_path: Path) -> None:
    podman = clients.podman(home)
    content = ALL["image"]
    layout = export(server, "layout:image", tmp_path / "layout")
    image_id = podman("pull", "--quiet", f"oci:{layout}:image").strip()
    archive = export(server, "layout:image", tmp_path / "layout.tar")
    assert image_id in podman("load", "--input", archive) or podman("images", "--quiet", "--no-trunc")
    podman("tag", image_id, "localhost/app:saved")
    saved = tmp_path / "saved.tar"
    podman("save", "--format", "oci-archive", "--output", saved, "localhost/app:saved")
    assert "library/podman:saved" in import_(server, saved, "podman")
    with Wire(server.host, "library/podman", ADMIN) as wire:
        # It compresses layers anew, and keeps the configuration.
        assert content.blobs[0].digest.encode() in wire.manifest("saved")


def test_a_whole_repository_and_refusals(server: Server, tmp_path: Path) -> None:
    layout = export(server, "library/layout", tmp_path / "layout")
    said = import_(server, layout, "again")
    assert "library/again:image" in said
    assert "library/again:index" in said
    words = ("--data", server.data)
    assert "is not empty" in server.longshore.refused("export", "layout:image", layout, *words)
    assert "no tar archive" in server.longshore.refused("import", layout / "index.json", "x", *words)
    unknown = server.longshore.refused("export", f"{ALICE.name}/none:v1", tmp_path / "none.tar", *words)
    assert "Traceback" not in unknown
    assert not (tmp_path / "none.tar.partial").exists()
