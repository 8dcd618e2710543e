"""Backups of running servers, restored into an empty place of the same kind and of the other."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from tests.postgres import PostgresServer, running_postgres
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

from . import clients
from .clients import Account
from .cluster import KEYS_SECRET
from .images import Image, gzip_layer, image, noise, small_image, small_index, tar
from .process import running, wait_until
from .server import ADMIN, Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ALICE: Final = Account("alice", "wonderland rabbit hole")
PUSHERS: Final = 3


@dataclass(frozen=True)
class Places:
    """The servers that a registry can be on."""

    postgres: PostgresServer
    s3: S3Server
    numbers: Iterator[int] = field(default_factory=count)

    def server(self, kind: str, folder: Path) -> Server:
        """A server in an empty place of a kind."""
        folder.mkdir()
        settings = {
            "LONGSHORE_WORKERS": "1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if kind == "team":
            settings |= {
                "LONGSHORE_S3_ENDPOINT": self.s3.endpoint,
                "LONGSHORE_S3_REGION": REGION,
                "LONGSHORE_S3_REDIRECT": "false",
                "LONGSHORE_STORAGE": f"s3://{BUCKET}/place-{next(self.numbers)}",
                "LONGSHORE_DATABASE": self.postgres.create(),
                "LONGSHORE_KEYS_SECRET": KEYS_SECRET,
            }
        return Server(folder, settings)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    with running_postgres() as postgres, running(S3Server("minio", folder)) as s3:
        yield Places(postgres, s3)


@pytest.fixture
def server(places: Places, tmp_path: Path) -> Server:
    """A server on one directory; it does not run yet."""
    return places.server("node", tmp_path / "node")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "backup.key"
    path.write_text(noise("key", 32).hex())
    return path


def back_up(server: Server, dest: str | Path, *words: str | Path) -> str:
    return server.longshore("backup", dest, "--data", server.data, *words)


def restore(server: Server, src: str | Path, *words: str | Path) -> str:
    return server.longshore("restore", src, "--data", server.data, *words)


# -- a storm of pushes -----------------------------------------------------------------------------------


class Storm:
    """People who push to a server until the storm is over; `acknowledged` is what they were told is there."""

    def __init__(self, host: str) -> None:
        self.acknowledged: dict[tuple[str, str], str] = {}
        self._host = host
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._shared = gzip_layer(tar({"shared": noise("shared", 200_000)}))

    @contextmanager
    def raging(self) -> Iterator[None]:
        """Push while the block runs."""
        threads = [threading.Thread(target=self._push, args=(number,)) for number in range(PUSHERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert not self._failures, self._failures

    def _push(self, pusher: int) -> None:
        try:
            with Wire(self._host, f"storm/number-{pusher}", ADMIN) as wire:
                for number in count():
                    if self._over.is_set():
                        return
                    own = gzip_layer(tar({"own": noise(f"{pusher} {number}", 50_000)}))
                    content = image([self._shared, own])
                    for tag in (f"v{number}", "latest"):
                        wire.push(tag, content)
                        self.acknowledged[wire.repository, tag] = content.manifest.digest
        except BaseException as error:  # noqa: BLE001 - told in the thread of the test
            self._failures.append(error)


def tags_of(server: Server) -> Mapping[tuple[str, str], str]:
    """Every tag of the storm's repositories, with what it means."""
    found = {}
    for number in range(PUSHERS):
        with Wire(server.host, f"storm/number-{number}", ADMIN) as wire:
            answer = wire.request("GET", f"/v2/{wire.repository}/tags/list").expect(200, 404)
            for tag in json.loads(answer.body).get("tags", []):
                found[wire.repository, tag] = wire.manifest_digest(tag)
    return found


@pytest.mark.parametrize("kind", ["node", "team"])
def test_a_backup_amid_pushes_is_whole(
    kind: str, places: Places, key: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = places.server(kind, tmp_path / "source")
    dest = tmp_path / "backup" if kind == "node" else f"s3://{BUCKET}/backup-{next(places.numbers)}"
    sealed = ("--key-file", key) if kind == "node" else ("--endpoint", places.s3.endpoint)
    with running(source):
        storm = Storm(source.host)
        with storm.raging():
            wait_until(lambda: len(storm.acknowledged) > 10, "some images are there")
            back_up(source, dest, *sealed)
            before = dict(storm.acknowledged)
            said = back_up(source, dest, *sealed, "--keep", "1")
            after = len(storm.acknowledged)
        assert after > len(before), "nothing was pushed while the backup was taken"
    assert "removed 1 snapshots" in said
    assert "are whole" in back_up(source, dest, *sealed, "--verify")
    for other in ("node", "team"):
        there = places.server(other, tmp_path / f"there-{other}")
        assert "stop the server" not in restore(there, dest, *sealed)
        with running(there):
            require_whole(there, before, tmp_path_factory.mktemp("c"))


def require_whole(there: Server, before: Mapping[tuple[str, str], str], home: Path) -> None:
    """Require that every tag pulls with a real client, those that were acknowledged among them."""
    there.longshore("check", "--data", there.data)
    found = tags_of(there)
    assert found.keys() >= before.keys()
    fixed = {name: digest for name, digest in before.items() if name[1] != "latest"}
    assert fixed.items() <= found.items()
    crane = clients.crane(home)
    crane.login(there.host, ADMIN)
    for repository, tag in found:
        crane("validate", "--remote", f"{there.host}/{repository}:{tag}")


# -- what people notice ----------------------------------------------------------------------------------


def test_people_go_on_after_a_restore(server: Server, places: Places, key: Path, tmp_path: Path) -> None:
    content, many = small_image("app"), small_index("many")
    dest = tmp_path / "backup"
    with running(server):
        server.add_user(*vars(ALICE).values())
        with Wire(server.host, "alice/app", ALICE) as wire:
            wire.push("v1", content)
            wire.push("many", many)
        login = log_in(server, ALICE)
        back_up(server, dest, "--key-file", key)
        with Wire(server.host, "alice/app", ALICE) as wire:
            wire.push("lost", small_image("lost"))
    (snapshot,) = (dest / "snapshots").iterdir()
    modes = {path.stat().st_mode & 0o777 for path in dest.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert not [path for path in dest.rglob("*") if path.is_file() and b"alice" in path.read_bytes()]
    new = places.server("node", tmp_path / "new")
    assert "is sealed: say --key-file" in new.longshore.refused("restore", dest, "--data", new.data)
    said = restore(new, dest, "--key-file", key, "--snapshot", snapshot.name)
    assert f"the registry is as it was at {snapshot.name}" in said
    assert "give it an empty one" in new.longshore.refused(
        "restore", dest, "--data", new.data, "--key-file", key
    )
    with running(new):
        assert "stop the server first" in new.longshore.refused("restore", dest, "--data", new.data)
        # Signing keys are other ones, and who has logged in before still is.
        assert refresh(new, login)
        with Wire(new.host, "alice/app", ALICE) as wire:
            assert wire.manifest("v1") == content.manifest.data
            assert wire.manifest("many") == many.manifest.data
            assert not wire.has_manifest("lost")
            wire.push("after", small_image("after"))


def log_in(server: Server, account: Account) -> str:
    """Log in as `docker login` does, and return what it keeps."""
    form = {"grant_type": "password", "username": account.name, "password": account.password}
    return str(ask_for_token(server, {**form, "access_type": "offline"})["refresh_token"])


def refresh(server: Server, login: str) -> str:
    """Ask for a token with what a client kept."""
    return str(ask_for_token(server, {"grant_type": "refresh_token", "refresh_token": login})["access_token"])


def ask_for_token(server: Server, form: Mapping[str, str]) -> Mapping[str, object]:
    connection = HTTPConnection(server.host, timeout=60)
    body = urlencode({**form, "service": "longshore", "client_id": "test"})
    connection.request("POST", "/token", body, {"Content-Type": "application/x-www-form-urlencoded"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status == 200, content
    found: Mapping[str, object] = json.loads(content)
    return found


# -- cut off ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dest:
    """A place for backups, and how much is there."""

    words: tuple[str, ...]
    objects: Callable[[], int]


@pytest.fixture(params=["files", "s3"])
def dest(request: pytest.FixtureRequest, places: Places, tmp_path: Path) -> Dest:
    if request.param == "files":
        folder = tmp_path / "backup"
        return Dest((str(folder),), lambda: sum(1 for _ in folder.glob("blobs/*/*/*")))
    prefix = f"backup-{next(places.numbers)}"
    client = places.s3.client()
    listed = partial(client.list_objects_v2, Bucket=BUCKET, Prefix=f"{prefix}/blobs/")
    words = (f"s3://{BUCKET}/{prefix}", "--endpoint", places.s3.endpoint)
    return Dest(words, lambda: int(listed()["KeyCount"]))


def test_a_backup_that_is_killed_goes_on(server: Server, dest: Dest, places: Places, tmp_path: Path) -> None:
    images = {f"v{n}": image([gzip_layer(tar({"x": noise(f"cut {n}", 3_000_000)}), 0)]) for n in range(12)}
    command: tuple[str | Path, ...] = ("backup", *dest.words, "--data", server.data)
    with running(server):
        with Wire(server.host, "library/cut", ADMIN) as wire:
            for tag, each in images.items():
                wire.push(tag, each)
        with server.longshore.running(*command) as process:
            wait_until(lambda: dest.objects() >= 3 or process.poll() is not None, "some blobs are there")
        before = dest.objects()
        assert 3 <= before < 24
        assert "has no snapshot" in server.longshore.refused(*command, "--verify")
        said = server.longshore(*command, "--keep", "1")
        found = re.search(r"copied (\d+) blobs .*, (\d+) were there", said)
        assert found is not None
        # Some more may have come to their end between the count and the end.
        assert int(found[1]) + int(found[2]) == 24
        assert int(found[2]) >= before
    assert "24 blobs" in server.longshore(*command, "--verify")
    assert not list((server.data / "backups").iterdir())
    require_resumed(places.server("node", tmp_path / "new"), dest, images)


def require_resumed(new: Server, dest: Dest, images: Mapping[str, Image]) -> None:
    """Restore, once cut off, and require that everything is there."""
    journal = new.data / "restore.jsonl"

    def noted() -> int:
        return len(journal.read_text().splitlines()) if journal.exists() else 0

    command: tuple[str | Path, ...] = ("restore", *dest.words, "--data", new.data)
    with new.longshore.running(*command) as process:
        wait_until(lambda: noted() >= 3 or process.poll() is not None, "some blobs are noted")
    before = noted()
    assert 3 <= before < 24
    said = new.longshore(*command)
    found = re.search(r"restored (\d+) blobs .*, (\d+) were there", said)
    assert found is not None
    assert (int(found[1]), int(found[2])) == (24 - before, before)
    assert not journal.exists()
    with running(new), Wire(new.host, "library/cut", ADMIN) as wire:
        for tag, each in images.items():
            assert wire.manifest(tag) == each.manifest.data
            for blob in each.blobs:
                assert wire.blob(blob.digest) == blob.data
