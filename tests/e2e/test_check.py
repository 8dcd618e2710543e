"""`longshore check` as an operator runs it, beside a server, and healing from another registry."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.damage import flip

from .images import small_image
from .process import running
from .server import ADMIN, Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path)) as server:
        yield server


def test_damage_is_found_fenced_and_healed_from_another_registry(server: Server, tmp_path: Path) -> None:
    image = small_image("healed")
    layer = image.blobs[1]
    with Wire(server.host, "library/app", ADMIN) as wire:
        wire.push("v1", image)
    check = ("check", "--data", server.data)
    said = server.longshore(*check)
    assert "found: nothing" in said
    flip(server.blob_path(layer.digest))
    found = server.longshore.run(*check, "--json")
    assert found.returncode == 1
    document = json.loads(found.stdout)
    assert document["counts"] == {"corrupt": 1}
    assert document["findings"][0]["subject"] == layer.digest
    assert not document["clean"]
    fenced = server.longshore.run(*check, "--repair")
    assert fenced.returncode == 1
    with Wire(server.host, "library/app", ADMIN) as wire:
        assert wire.head_blob(layer.digest).status == 404
    (tmp_path / "other").mkdir()
    with running(Server(tmp_path / "other")) as other:
        with Wire(other.host, "library/app", ADMIN) as wire:
            wire.push("v1", image)
        (tmp_path / "password").write_text(ADMIN.password)
        login = ("--from-user", ADMIN.name, "--from-password-file", tmp_path / "password")
        healed = server.longshore.run(*check, "--repair", "--from", other.url, *login)
    assert healed.returncode == 1
    assert f"healed from {other.url}" in healed.stdout.decode()
    with Wire(server.host, "library/app", ADMIN) as wire:
        assert wire.blob(layer.digest) == layer.data
    assert "found: nothing" in server.longshore(*check)


@pytest.mark.parametrize("key", ["", "5a" * 32], ids=["plain", "sealed"])
def test_backup_heals(server: Server, tmp_path: Path, key: str) -> None:
    image = small_image("backed up")
    layer = image.blobs[1]
    with Wire(server.host, "library/app", ADMIN) as wire:
        wire.push("v1", image)
    (tmp_path / "key").write_text(key)
    sealed = ("--key-file", tmp_path / "key") if key else ()
    server.longshore("backup", tmp_path / "backup", *sealed, "--data", server.data)
    server.blob_path(layer.digest).unlink()
    check = ("check", "--data", server.data)
    healed = server.longshore.run(*check, "--repair", "--from", tmp_path / "backup", *sealed)
    assert f"healed from {tmp_path / 'backup'}" in healed.stdout.decode()
    with Wire(server.host, "library/app", ADMIN) as wire:
        assert wire.blob(layer.digest) == layer.data
    assert "found: nothing" in server.longshore(*check)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--from", "https://example.com"), "--from is for --repair"),
        (("--repair", "--from", "nowhere"), "nowhere is neither a directory nor"),
        (("--from-user", "ann"), "--from-user and --from-password-file go together"),
        (("--rate", "fast"), "bytes per second"),
    ],
)
def test_wishes_that_make_no_sense(tmp_path: Path, words: tuple[str, ...], answer: str) -> None:
    server = Server(tmp_path)
    done = server.longshore.run("check", *words, "--data", server.data)
    assert done.returncode == 2
    assert answer in done.stderr.decode()


def test_what_cannot_be_checked_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    server = Server(tmp_path, {"LONGSHORE_DATABASE": "postgresql://nobody@127.0.0.1:1/nothing"})
    assert server.longshore.run("check", "--data", server.data).returncode == 2
