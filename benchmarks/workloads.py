"""The workloads that registries are measured with, one after the other."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.connection import WrongAnswer
from benchmarks.heads import load_heads
from benchmarks.large import MIB, Source, pull, push_in_one_put, push_streamed
from benchmarks.latency import probing
from benchmarks.peers import REPOSITORY, Peer
from benchmarks.results import Measured, Row
from benchmarks.small import load
from benchmarks.small_images import make_images, push_images
from tests.e2e.images import Image, gzip_layer, image, noise, tar
from tests.e2e.wire import MANIFEST_TYPES, Wire

MANIFESTS: Final = f"/v2/{REPOSITORY}/manifests"
ACCEPT: Final = {"Accept": MANIFEST_TYPES}

_GIB: Final = 1024 * MIB
_TAGS: Final = 100
_STREAMS: Final = 4
_PULLS: Final = 4
_SMALL: Final = noise("small", 1000)
_SMALL_TARGET: Final = f"/v2/{REPOSITORY}/blobs/sha256:{hashlib.sha256(_SMALL).hexdigest()}"


@dataclass(slots=True)
class Bench:
    """What a workload may ask for: the registry, what is in it, and how long to take.

    `kept` is a large blob that is there, `fresh` the file that others are pushed from. `through` is the same
    registry where it sends bytes itself, if there is one that sends clients elsewhere for them.
    """

    peer: Peer
    kept: Source
    fresh: Source
    seconds: int = 3
    through: Peer | None = None
    content: Image = field(default_factory=lambda: image([gzip_layer(tar({"x": noise("layer", 10_000)}), 0)]))
    pushes: int = 0

    @property
    def pids(self) -> Sequence[int]:
        """The processes that serve."""
        return [self.peer.pid] if self.through is None else [self.peer.pid, self.through.pid]

    def fill(self) -> None:
        """Push what is pulled, and look whether it comes back as it was."""
        with Wire(self.peer.host, REPOSITORY, connection=self.peer.connect()) as wire:
            wire._authorization = self.peer.headers.get("Authorization")
            for number in range(_TAGS):
                wire.push(f"tag-{number:03}", self.content)
            location = wire.start_upload()
            wire.finish_upload(location, _SMALL_TARGET.rpartition("/")[2], _SMALL)
            if wire.manifest("tag-000") != self.content.manifest.data:
                raise WrongAnswer(f"{self.peer.name} changed a manifest")
            listed = json.loads(wire.request("GET", f"/v2/{REPOSITORY}/tags/list").expect(200).body)["tags"]
        if len(listed) != _TAGS:
            raise WrongAnswer(f"{self.peer.name} lists {len(listed)} tags")
        push_in_one_put(self.through or self.peer, self.kept)
        pull(self.peer, self.kept, verify=True)

    def renew(self) -> Source:
        """Return a source that was not pushed before, when the disk has nothing left to write."""
        self.pushes += 1
        self.fresh = self.fresh.renewed(f"{self.peer.name} {self.pushes}")
        os.sync()  # or whoever syncs would wait for what others left behind
        return self.fresh


@dataclass(frozen=True, slots=True)
class Workload:
    """What is measured, and in what; `per` is what processor time is counted for, if it is."""

    name: str
    unit: str
    measure: Callable[[Bench], Measured]
    per: str = ""
    lower: bool = False
    also: Sequence[Row] = ()

    def row(self) -> Row:
        """Return the row of a table that it fills."""
        return Row(self.name, self.unit, self.per, self.lower)


def _by_tag(bench: Bench) -> Measured:
    return _load(bench, f"{MANIFESTS}/tag-000")


def _by_digest(bench: Bench) -> Measured:
    return _load(bench, f"{MANIFESTS}/{bench.content.manifest.digest}")


def _small_blob(bench: Bench) -> Measured:
    return _load(bench, _SMALL_TARGET)


def _tag_list(bench: Bench) -> Measured:
    return _load(bench, f"/v2/{REPOSITORY}/tags/list")


def _load(bench: Bench, target: str) -> Measured:
    done = load(bench.peer, target, ACCEPT, bench.seconds)
    return Measured(done.rate, done.count)


def _head_by_tag(bench: Bench) -> Measured:
    return _head(bench, "tag-000")


def _head_by_digest(bench: Bench) -> Measured:
    return _head(bench, bench.content.manifest.digest)


def _head(bench: Bench, reference: str) -> Measured:
    digest = bench.content.manifest.digest
    done = load_heads(bench.peer, f"{MANIFESTS}/{reference}", ACCEPT, digest, bench.seconds)
    return Measured(done.rate, done.count)


def _push_put(bench: Bench) -> Measured:
    source = bench.renew()
    return Measured(source.size / MIB / push_in_one_put(bench.peer, source).whole, source.size / _GIB)


def _push_streamed(bench: Bench) -> Measured:
    source = bench.renew()
    pushed = push_streamed(bench.through or bench.peer, source)
    return Measured(source.size / MIB / pushed.whole, source.size / _GIB, (pushed.end,))


def _pull_one(bench: Bench) -> Measured:
    return Measured(bench.kept.size / MIB / pull(bench.peer, bench.kept), bench.kept.size / _GIB)


def _pull_through(bench: Bench) -> Measured:
    peer = bench.through or bench.peer
    return Measured(bench.kept.size / MIB / pull(peer, bench.kept), bench.kept.size / _GIB)


def _pull_four(bench: Bench) -> Measured:
    with ThreadPoolExecutor(_STREAMS) as threads:
        wait = [threads.submit(pull, bench.peer, bench.kept) for _ in range(_STREAMS)]
        rate = sum(bench.kept.size / MIB / each.result() for each in wait)
    return Measured(rate, _STREAMS * bench.kept.size / _GIB)


def _push_images(count: int, bench: Bench) -> Measured:
    bench.pushes += 1
    images = make_images(count, f"image-{bench.pushes}")
    os.sync()
    pushed = push_images(bench.through or bench.peer, images)
    return Measured(count / pushed.seconds, count)


def _while_busy(bench: Bench) -> Measured:
    """Ask for a manifest while a blob is pushed and another one pulled again and again."""
    source = bench.renew()
    with (
        ThreadPoolExecutor(2) as threads,
        probing(bench.peer, f"{MANIFESTS}/tag-000", ACCEPT, bench.content.manifest.data) as probe,
    ):
        pushing = threads.submit(push_streamed, bench.peer, source)
        pulls = 0
        while pulls < _PULLS or not pushing.done():
            pull(bench.peer, bench.kept)
            pulls += 1
        took = probe.finish()
        rate = source.size / MIB / pushing.result().whole
        return Measured(took.p99 * 1000, also=(took.longest * 1000, rate))


SMALL: Final = (
    Workload("manifest by tag", "requests/s", _by_tag, "request"),
    Workload("manifest by digest", "requests/s", _by_digest, "request"),
    Workload("blob of 1 KB", "requests/s", _small_blob, "request"),
    Workload("tag list (100)", "requests/s", _tag_list, "request"),
)
HEADS: Final = (
    Workload("manifest by tag, HEAD", "requests/s", _head_by_tag, "request"),
    Workload("manifest by digest, HEAD", "requests/s", _head_by_digest, "request"),
)
LARGE: Final = (
    Workload("push, one PUT", "MiB/s", _push_put, "GiB"),
    Workload("push, streamed", "MiB/s", _push_streamed, "GiB"),
    Workload("pull, one stream", "MiB/s", _pull_one, "GiB"),
    Workload("pull, four streams", "MiB/s", _pull_four, "GiB"),
)
IMAGES: Final = (Workload("push of 200 small images", "images/s", partial(_push_images, 200), "image"),)
FEWER_IMAGES: Final = (Workload("push of 50 small images", "images/s", partial(_push_images, 50), "image"),)
BUSY: Final = (
    Workload(
        "manifest while busy, p99",
        "ms",
        _while_busy,
        lower=True,
        also=(Row("manifest while busy, slowest", "ms", lower=True), Row("push while busy", "MiB/s")),
    ),
)
OBJECTS: Final = (
    Workload("push, streamed", "MiB/s", _push_streamed, also=(Row("last byte to 201", "s", lower=True),)),
    Workload("pull, redirected", "MiB/s", _pull_one),
    Workload("pull, streamed", "MiB/s", _pull_through),
)
