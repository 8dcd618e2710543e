"""The disk is full: writes are refused and say so, reads go on, and room is all that it takes to go on.

The data directory is a file system of its own, small and in memory.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.served import Served

from .images import Content, Image, digest_of, noise, small_image
from .server import ADMIN
from .wire import Answer, Wire

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BLOB = Content("application/octet-stream", noise("full", 4 * MIB))
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server of two workers with 32 MiB of room."""
    served = Served(tmp_path, workers="2", admin_password=ADMIN.password, auth="off")
    served.data.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "longshore-test", served.data], check=True
    )
    try:
        served.start()
        yield served
    finally:
        served.kill()
        subprocess.run(["umount", "--lazy", served.data], check=True)


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    with served.wire("team/app", None) as wire:
        yield wire


def fill(served: Served) -> Path:
    """Leave no byte of room."""
    filler = served.data / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def begun(wire: Wire) -> str:
    """Begin an upload, with some of its bytes."""
    location = wire.start_upload()
    return wire.patch_upload(location, [BLOB.data[:MIB]], 0, MIB)


def answers_507(answer: Answer) -> bool:
    assert answer.status == 507, (answer.status, answer.body)
    assert json.loads(answer.body)["errors"][0]["code"] == "DENIED"
    return True


def test_a_full_disk_refuses_writes_and_nothing_else(served: Served, wire: Wire) -> None:
    kept, later = small_image("kept"), small_image("later")
    wire.push("v1", kept)
    for blob in later.blobs:
        wire.push_blob(blob)
    location = begun(wire)
    filler = fill(served)

    refuses_writes(served, later, location)
    for _ in range(10):  # whichever worker is asked
        serves_reads(served, kept)
    assert [
        line for line in served.log_lines if "Traceback" in str(line.get("exception")) and gone(line)
    ] == []

    filler.unlink()
    goes_on(served, later)
    # Nothing is left of what was refused: files are blobs, or uploads that have a row.
    with served.wire("team/app", None) as again:
        uploads = [path.name for path in (served.data / "uploads").iterdir()]
        assert all(
            again.request("GET", f"/v2/team/app/blobs/uploads/{each}").status == 204 for each in uploads
        )
    for path in (served.data / "blobs").rglob("*"):
        assert path.is_dir() or digest_of([path.read_bytes()]).endswith(path.name.partition(".")[0])
    assert served.end() == 0


def gone(line: dict[str, object]) -> bool:
    """Whether a line tells of a failure other than that of the disk."""
    return not any(word in str(line["exception"]) for word in ("StoreFull", "MetadataFull"))


def refuses_writes(served: Served, later: Image, location: str) -> None:
    """Each kind of write, on a connection of its own: none is done by half."""
    with served.wire("team/app", None) as wire:
        chunk = {"Content-Range": f"{MIB}-{4 * MIB - 1}", "Content-Length": str(3 * MIB)}
        answers_507(wire.request("PATCH", location, body=BLOB.data[MIB:], headers=chunk))
    with served.wire("team/app", None) as wire:
        target = f"/v2/team/app/blobs/uploads/?digest={BLOB.digest}"
        answers_507(wire.request("POST", target, body=BLOB.data))
        assert wire.head_blob(BLOB.digest).status == 404
    with served.wire("team/app", None) as wire:
        headers = {"Content-Type": later.manifest.media_type}
        target = "/v2/team/app/manifests/v2"
        answers_507(wire.request("PUT", target, body=later.manifest.data, headers=headers))
        assert not wire.has_manifest("v2")
        answers_507(wire.request("DELETE", "/v2/team/app/manifests/v1"))
    body = json.dumps({"summary": "no room for this"}).encode()
    answer = served.ask("PATCH", "/api/v1/repositories/team/app", body, {"Content-Type": "application/json"})
    assert (answer.status, json.loads(answer.body)["code"]) == (507, "store-full")


def serves_reads(served: Served, kept: Image) -> None:
    """Pulls, lists and pages."""
    with served.wire("team/app", None) as wire:
        assert wire.manifest("v1") == kept.manifest.data
        for blob in kept.blobs:
            assert wire.blob(blob.digest) == blob.data
        assert json.loads(wire.request("GET", "/v2/team/app/tags/list").body)["tags"] == ["v1"]
    for path in ("/r/team/app", "/", "/api/v1/repositories/team/app", "/healthz"):
        assert served.ask("GET", path).status == 200, path


def goes_on(served: Served, later: Image) -> None:
    """What was refused is done now, by the same processes."""
    with served.wire("team/app", None) as wire:
        wire.push_manifest("v2", later.manifest)
        wire.push_blob(BLOB)
        assert wire.blob(BLOB.digest) == BLOB.data
        assert wire.manifest("v2") == later.manifest.data
