"""Taking a registry from one directory to S3 and PostgreSQL, with the real ones of both."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from tests.postgres import PostgresServer, running_postgres
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

from .clients import Account, Client
from .cluster import KEYS_SECRET
from .images import Image, gzip_layer, image, noise, small_image, tar
from .process import running, wait_until
from .seed import CONTENT, seed
from .server import ADMIN, Server
from .wire import UnexpectedAnswer, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STORAGE: Final = f"s3://{BUCKET}/moved"


@dataclass(frozen=True)
class Places:
    """The servers that a registry can move to."""

    postgres: PostgresServer
    s3: S3Server

    @property
    def settings(self) -> dict[str, str]:
        """What the new place takes besides the two addresses."""
        return {
            "LONGSHORE_S3_ENDPOINT": self.s3.endpoint,
            "LONGSHORE_S3_REGION": REGION,
            "LONGSHORE_S3_REDIRECT": "false",
            "LONGSHORE_WORKERS": "1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    with running_postgres() as postgres, running(S3Server("minio", folder)) as s3:
        yield Places(postgres, s3)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Server]:
    """A server on one directory; it runs."""
    with running(Server(tmp_path)) as server:
        yield server


@pytest.fixture
def move(old: Server, places: Places) -> Client:
    """The command that moves it; further words say where to."""
    command = replace(old.longshore, environment={**old.environment, **places.settings})
    return replace(command, options=(*command.options, "move", "--data", str(old.data)))


def new_place(folder: Path, places: Places, dsn: str) -> Server:
    folder.mkdir()
    there = {"LONGSHORE_STORAGE": STORAGE, "LONGSHORE_DATABASE": dsn, "LONGSHORE_KEYS_SECRET": KEYS_SECRET}
    return Server(folder, {**places.settings, **there})


def pull(host: str, repository: str, reference: str, wanted: Image, account: Account = ADMIN) -> None:
    with Wire(host, repository, account) as wire:
        assert wire.manifest(reference) == wanted.manifest.data
        for blob in wanted.blobs:
            assert wire.blob(blob.digest) == blob.data


def test_everything_is_there_afterwards(old: Server, move: Client, places: Places, tmp_path: Path) -> None:
    hub = seed(old)
    assert hub
    dsn = places.postgres.create()
    to = ("--to-storage", STORAGE, "--to-database", dsn)
    assert "stop the server first" in move.refused(*to)
    first = move(*to, "--prepare")
    assert re.search(r"moved \d\d+ blobs .*, 0 were there, each read back", first)
    old.stop()
    said = move(*to)
    assert re.search(r"moved 0 blobs \(0 B\), \d\d+ were there", said)
    assert "the copy equals the original, row by row" in said
    assert "secret" not in said
    new = new_place(tmp_path / "new", places, dsn)
    with running(new):
        for repository, pushed in CONTENT.items():
            for reference, content in pushed:
                if isinstance(content, Image):
                    pull(new.host, repository, reference or content.manifest.digest, content)
        # People have their passwords, and numbers that the database gives go on.
        with Wire(new.host, "alice/after", Account("alice", "wonderland rabbit hole")) as wire:
            wire.push("1", small_image("after"))
        assert new.add_user("zoe", "comes after the others").name == "zoe"
        assert "alice/app" in new.longshore("repo", "list")
    again = move.refused(*to)
    assert "accounts or repositories already" in again


def test_move_that_is_cut_off_goes_on(old: Server, move: Client, places: Places, tmp_path: Path) -> None:
    images = {f"v{n}": image([gzip_layer(tar({"x": noise(f"cut {n}", 3_000_000)}), 0)]) for n in range(12)}
    with Wire(old.host, "library/cut", ADMIN) as wire:
        for tag, each in images.items():
            wire.push(tag, each)
    old.stop()
    journal = old.data / "move.jsonl"
    to = ("--to-storage", f"s3://{BUCKET}/cut")

    def noted() -> int:
        return len(journal.read_text().splitlines()) if journal.exists() else 0

    with move.running(*to) as process:
        wait_until(lambda: noted() >= 3 or process.poll() is not None, "some blobs are noted")
    # What a crash leaves of the line that it was writing.
    with journal.open("a") as file:
        file.write('["s3://')
    before = noted() - 1
    assert 3 <= before < 24
    said = move(*to)
    found = re.search(r"moved (\d+) blobs .*, (\d+) were there", said)
    assert found is not None
    assert (int(found[1]), int(found[2])) == (24 - before, before)
    assert "moved 0 blobs (0 B), 24 were there" in move(*to)
    new = Server(tmp_path, {**places.settings, "LONGSHORE_STORAGE": f"s3://{BUCKET}/cut"})
    for blob in list(old.blob_files()):
        blob.unlink()
    with running(new):
        for tag, each in images.items():
            pull(new.host, "library/cut", tag, each)


def test_damaged_blobs_are_named_and_left_out_on_demand(
    old: Server, move: Client, places: Places, tmp_path: Path
) -> None:
    good, bad, gone = (small_image(f"damage {n}") for n in range(3))
    with Wire(old.host, "library/damage", ADMIN) as wire:
        for tag, each in {"good": good, "bad": bad, "gone": gone}.items():
            wire.push(tag, each)
    old.stop()
    path = old.blob_path(bad.blobs[1].digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[::-1])
    old.blob_path(gone.blobs[1].digest).unlink()
    dsn = places.postgres.create()
    to = ("--to-storage", f"s3://{BUCKET}/damage", "--to-database", dsn)
    said = move.refused(*to)
    assert f"{bad.blobs[1].digest}: the bytes are not what the digest says" in said
    assert f"{gone.blobs[1].digest}: the bytes are missing" in said
    assert "2 blobs are damaged" in said
    move(*to, "--skip-damaged")
    there = {"LONGSHORE_STORAGE": f"s3://{BUCKET}/damage", "LONGSHORE_DATABASE": dsn}
    new = Server(tmp_path, {**places.settings, **there})
    with running(new):
        pull(new.host, "library/damage", "good", good)
        for each in (bad, gone):
            with (
                Wire(new.host, "library/damage", ADMIN) as wire,
                pytest.raises(UnexpectedAnswer, match="404"),
            ):
                wire.blob(each.blobs[1].digest)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((), "say --to-storage, --to-database, or both"),
        (("--to-database", "postgresql://u:pw@127.0.0.1:1/db", "--prepare"), "--prepare moves blobs"),
        (("--to-database", "mysql://nowhere"), "to_database"),
    ],
)
def test_wishes_that_make_no_sense(tmp_path: Path, words: tuple[str, ...], answer: str) -> None:
    server = Server(tmp_path)
    assert answer in server.longshore.refused("move", *words, "--data", server.data)
