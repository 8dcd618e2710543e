"""The server is killed in the middle of a push: nothing that it promised is lost, nothing half is seen."""

import itertools
import json
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .clients import Account
from .engine import Engine
from .images import (
    Content,
    Image,
    digest_of,
    noise_blocks,
    small_image,
    tar,
)
from .process import running, wait_until
from .server import Server
from .wire import CONNECTION_LOST, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB = 1 << 20
LARGE = 1024 * MIB
CHUNK = 64 * MIB
PUSHERS = 8
ROUNDS = 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill; its data are removed, for they are large."""
    with running(Server(tmp_path)) as server:
        yield server
    server.remove_data()


@pytest.fixture
def alice(server: Server) -> Account:
    """A user who owns the namespace `alice`."""
    return server.add_user("alice", "wonderland rabbit hole")


@pytest.fixture(scope="module")
def digest() -> str:
    """The digest of the large content that the tests push."""
    return digest_of(noise_blocks("large", LARGE))


def test_a_streamed_push_of_a_gibibyte_resumes_after_a_kill(
    server: Server, alice: Account, digest: str
) -> None:
    with repository(server, alice) as wire:
        location = wire.start_upload()
        send_until_killed(server, wire, location, noise_blocks("large", LARGE // 2))
    resume(server, alice, location, digest, at_least=1)


def test_a_push_in_chunks_keeps_those_that_were_acknowledged(
    server: Server, alice: Account, digest: str
) -> None:
    with repository(server, alice) as wire:
        location = wire.start_upload()
        for start in range(0, LARGE // 2, CHUNK):
            chunk = noise_blocks("large", start + CHUNK, start)
            location = wire.patch_upload(location, chunk, start, CHUNK)
        send_until_killed(server, wire, location, noise_blocks("large", LARGE // 2 + CHUNK, LARGE // 2))
    resume(server, alice, location, digest, at_least=LARGE // 2)


def repository(server: Server, account: Account) -> Wire:
    """A connection to where the large content goes."""
    return Wire(server.host, f"{account.name}/large", account)


def send_until_killed(server: Server, wire: Wire, location: str, blocks: Iterator[bytes]) -> None:
    """Stream `blocks`, leave the request open and kill the server once most of them are on disk."""
    before, sent = server.stored_bytes(), 0
    wire.begin_stream(location)
    for block in blocks:
        wire.send_streamed(block)
        sent += len(block)
    wait_until(lambda: server.stored_bytes() > before + sent // 2, "most of the push is on disk")
    server.kill()


def resume(server: Server, account: Account, location: str, digest: str, at_least: int) -> None:
    """Restart the server, finish the upload from where it stands, and pull what was pushed."""
    require_absent_on_disk(server, digest)
    server.restart()
    with repository(server, account) as wire:
        location, offset = wire.upload_offset(location)
        assert at_least <= offset < LARGE
        rest = noise_blocks("large", LARGE, offset)
        location = wire.patch_upload(location, rest, offset, LARGE - offset)

        require_absent_on_disk(server, digest)
        assert wire.head_blob(digest).status == 404
        wire.finish_upload(location, digest)
        assert wire.blob_digest(digest) == digest


def require_absent_on_disk(server: Server, digest: str) -> None:
    """Require that an unfinished blob is not where a finished one would be."""
    assert not list(server.blob_files(digest.partition(":")[2]))


def test_docker_finishes_its_push_by_itself(
    server: Server, alice: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(Engine(tmp_path_factory.mktemp("engine"), mirror=server.url)) as engine:
        push_through_a_kill(server, alice, engine)


def push_through_a_kill(server: Server, account: Account, engine: Engine) -> None:
    """Push with a kill in the middle, pull, and require the same image; Docker tries again on its own."""
    docker = engine.client(account.name)
    docker.login(server.host, account)
    name = f"{server.host}/{account.name}/large:v1"
    layer = tar({"noise": b"".join(noise_blocks("docker", 128 * MIB))})
    image_id = docker("import", "-", name, stdin=layer).strip()
    with docker.running("push", name) as pushing:
        wait_until(lambda: server.stored_bytes() > 16 * MIB, "the push is under way")
        server.kill()
        assert pushing.poll() is None
        server.restart()
        output, _ = pushing.communicate(timeout=120)
    assert pushing.returncode == 0, output.decode(errors="replace")

    engine.remove_images()
    docker("pull", name)
    assert docker("image", "inspect", "--format", "{{.Id}}", name).strip() == image_id


@dataclass
class Promises:
    """What the server answered with 201, and must therefore keep."""

    blobs: list[Content] = field(default_factory=list)
    images: list[tuple[str, Image]] = field(default_factory=list)

    def push(self, wire: Wire, tag: str, content: Image) -> None:
        """Push an image as `tag` and as "latest", and remember each answer."""
        for blob in content.blobs:
            wire.push_blob(blob)
            self.blobs.append(blob)
        wire.push_manifest(tag, content.manifest)
        self.images.append((tag, content))
        wire.push_manifest("latest", content.manifest)


def test_a_kill_in_a_storm_of_pushes_loses_nothing_that_was_promised(server: Server, alice: Account) -> None:
    promises = Promises()
    chance = random.Random("storm")
    for number in range(ROUNDS):
        storm(server, alice, promises, prefix=f"round-{number}", images=chance.randint(10, 100))
        require_files_whole(server)
        server.restart()
        with Wire(server.host, "alice/storm", alice) as wire:
            require_kept(wire, promises)


def storm(server: Server, account: Account, promises: Promises, prefix: str, images: int) -> None:
    """Push small images from all sides, and kill the server as soon as it has taken `images` of them."""
    taken = threading.Semaphore(0)

    def push_until_the_server_dies(pusher: int) -> None:
        with Wire(server.host, "alice/storm", account) as wire:
            for number in itertools.count():
                tag = f"{prefix}-{pusher}-{number}"
                try:
                    promises.push(wire, tag, small_image(tag))
                except CONNECTION_LOST:
                    return
                taken.release()

    with ThreadPoolExecutor(PUSHERS) as pool:
        pushers = [pool.submit(push_until_the_server_dies, pusher) for pusher in range(PUSHERS)]
        try:
            for _ in range(images):
                assert taken.acquire(timeout=60), "the server takes images"
        finally:
            server.kill()
    for pusher in pushers:
        pusher.result()  # raises whatever ended it other than the lost connection


def require_kept(wire: Wire, promises: Promises) -> None:
    """Require every promised blob and manifest, byte for byte, and a whole "latest" of whichever pusher."""
    require_blobs(wire, promises.blobs)
    for tag, content in promises.images:
        assert wire.manifest(tag) == content.manifest.data
        assert wire.manifest(content.manifest.digest) == content.manifest.data
    latest = wire.manifest("latest")
    assert wire.manifest_digest("latest") == digest_of([latest])
    manifest = json.loads(latest)
    for descriptor in (manifest["config"], *manifest["layers"]):
        assert wire.blob_digest(descriptor["digest"]) == descriptor["digest"]


def require_blobs(wire: Wire, blobs: Iterable[Content]) -> None:
    """Require blobs, byte for byte."""
    for blob in blobs:
        assert wire.blob_digest(blob.digest) == blob.digest


def require_files_whole(server: Server) -> None:
    """Require that every file in the place of a finished blob is one."""
    for path in server.blob_files():
        assert digest_of([path.read_bytes()]) == f"{path.parents[1].name}:{path.stem}"
