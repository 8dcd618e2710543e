"""The benchmarks' own clients, against a server: what they count was done."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import workloads
from benchmarks.connection import WrongAnswer
from benchmarks.heads import load_heads
from benchmarks.large import MIB, Source, pull
from benchmarks.latency import probing
from benchmarks.peers import REPOSITORY, longshore
from benchmarks.small_images import LAYERS, make_images, push_images
from benchmarks.workloads import ACCEPT, MANIFESTS, Bench
from tests.e2e.certificates import make_certificate
from tests.e2e.server import CHEAP_PASSWORDS
from tests.e2e.wire import Wire


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A server with content in it, which speaks TLS or not."""
    tls = make_certificate(tmp_path / "tls", "127.0.0.1") if request.param else None
    kept = Source.make(tmp_path / "kept", 2 * MIB, "kept")
    fresh = Source.make(tmp_path / "fresh", 2 * MIB, "fresh")
    with longshore(LONGSHORE_WORKERS="1", **CHEAP_PASSWORDS).running(tmp_path / "server", tls) as peer:
        made = Bench(peer, kept, fresh)
        made.fill()
        yield made


def tags(bench: Bench) -> list[str]:
    with Wire(bench.peer.host, REPOSITORY, connection=bench.peer.connect()) as wire:
        wire._authorization = bench.peer.headers["Authorization"]
        body = wire.request("GET", f"/v2/{REPOSITORY}/tags/list").expect(200).body
    return list(json.loads(body)["tags"])


@pytest.mark.parametrize("bench", [False, True], indirect=True, ids=["plain", "tls"])
def test_clients_do_what_they_count(bench: Bench) -> None:
    for workload in workloads.LARGE:
        measured = workload.measure(bench)
        assert measured.value > 0
        assert measured.work * 1024 in (2, 8)
    pull(bench.peer, bench.fresh, verify=True)  # the last one that was pushed
    images = make_images(3, "test")
    assert all(len(image.blobs) == LAYERS + 1 for image in images.values())
    push_images(bench.peer, images)
    assert {*images} <= {*tags(bench)}
    manifest = bench.content.manifest
    if bench.peer.authority is None:
        counted = load_heads(bench.peer, f"{MANIFESTS}/tag-000", ACCEPT, manifest.digest, 0.2)
        assert counted.count > 0
    with probing(bench.peer, f"{MANIFESTS}/tag-000", ACCEPT, manifest.data) as probe:
        pull(bench.peer, bench.kept)
        took = probe.finish()
    assert took.longest >= took.p99 >= took.p50 > 0


@pytest.mark.parametrize("bench", [False], indirect=True, ids=["plain"])
def test_clients_notice_what_is_wrong(bench: Bench) -> None:
    missing = replace(bench.kept, digest=f"sha256:{'0' * 64}")
    with pytest.raises(WrongAnswer, match="404"):
        pull(bench.peer, missing)
    other = replace(bench.kept, size=MIB)
    with pytest.raises(WrongAnswer, match="of 1048576 bytes"):
        pull(bench.peer, other)
    images = make_images(1, "twice")
    push_images(bench.peer, images)
    with pytest.raises(WrongAnswer, match="200, not 404"):
        push_images(bench.peer, images)
    stranger = replace(bench.peer, headers={})
    with pytest.raises(WrongAnswer, match="401, not 202"):
        push_images(stranger, make_images(1, "stranger"))
