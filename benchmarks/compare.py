"""longshore beside other registries, on the same disk, in the same run.

    python -m benchmarks.compare

Every round measures each workload on one registry after the other, so that what else the machine does meets
all of them; medians of the rounds count. Only longshore has access control: each of its requests carries a
token, which it verifies.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.large import MIB, Source, pull, push_in_one_put, push_streamed
from benchmarks.peers import REPOSITORY, Kind, Peer, distribution, docker_registry, longshore, olareg
from benchmarks.small import load
from tests.e2e.images import Image, gzip_layer, image, noise, tar
from tests.e2e.wire import MANIFEST_TYPES, Wire

_MANIFEST: Final = f"/v2/{REPOSITORY}/manifests"
_TAGS: Final = 100
_STREAMS: Final = 4


@dataclass(slots=True)
class Bench:
    """What a workload may ask for: the registry, what is in it, and how long to take."""

    peer: Peer
    content: Image
    small: str
    source: Source
    seconds: int
    folder: Path
    pushes: int = 0

    def rate(self, target: str, **headers: str) -> float:
        """Return the requests a second to a path."""
        return load(f"http://{self.peer.host}{target}", {**self.peer.headers, **headers}, self.seconds).rate

    def fresh(self) -> Source:
        """Return a source that was not pushed before."""
        self.pushes += 1
        seed = int.from_bytes(hashlib.sha256(f"{self.peer.name} {self.pushes}".encode()).digest()[:8], "big")
        return Source.make(self.folder / "fresh", self.source.size, seed)


Measure = Callable[[Bench], float]


def _by_tag(bench: Bench) -> float:
    return bench.rate(f"{_MANIFEST}/tag-000", Accept=MANIFEST_TYPES)


def _by_digest(bench: Bench) -> float:
    return bench.rate(f"{_MANIFEST}/{bench.content.manifest.digest}", Accept=MANIFEST_TYPES)


def _small_blob(bench: Bench) -> float:
    return bench.rate(f"/v2/{REPOSITORY}/blobs/{bench.small}")


def _tag_list(bench: Bench) -> float:
    return bench.rate(f"/v2/{REPOSITORY}/tags/list")


def _push_put(bench: Bench) -> float:
    source = bench.fresh()
    return source.size / MIB / push_in_one_put(bench.peer, source).whole


def _push_streamed(bench: Bench) -> float:
    source = bench.fresh()
    return source.size / MIB / push_streamed(bench.peer, source).whole


def _pull_one(bench: Bench) -> float:
    return bench.source.size / MIB / pull(bench.peer, bench.source.digest, bench.source.size)


def _pull_four(bench: Bench) -> float:
    with ThreadPoolExecutor(_STREAMS) as threads:
        wait = [
            threads.submit(pull, bench.peer, bench.source.digest, bench.source.size) for _ in range(_STREAMS)
        ]
        return sum(bench.source.size / MIB / each.result() for each in wait)


WORKLOADS: Final[Mapping[str, tuple[str, Measure]]] = {
    "manifest by tag": ("requests/s", _by_tag),
    "manifest by digest": ("requests/s", _by_digest),
    "blob of 1 KB": ("requests/s", _small_blob),
    "tag list (100)": ("requests/s", _tag_list),
    "push, one PUT": ("MiB/s", _push_put),
    "push, streamed": ("MiB/s", _push_streamed),
    "pull, one stream": ("MiB/s", _pull_one),
    "pull, four streams": ("MiB/s", _pull_four),
}


def fill(peer: Peer, content: Image, small: bytes, source: Source) -> None:
    """Push what is pulled, and look whether it comes back as it was."""
    connection = HTTPConnection(peer.host, timeout=60)
    with Wire(peer.host, REPOSITORY) as wire:
        wire._authorization = peer.headers.get("Authorization")
        for number in range(_TAGS):
            wire.push(f"tag-{number:03}", content)
        location = wire.start_upload()
        wire.finish_upload(location, f"sha256:{hashlib.sha256(small).hexdigest()}", small)
        if wire.manifest("tag-000") != content.manifest.data:
            raise SystemExit(f"{peer.name} changed a manifest")
    connection.request("GET", f"/v2/{REPOSITORY}/tags/list", headers=dict(peer.headers))
    listed = json.loads(connection.getresponse().read())["tags"]
    if len(listed) != _TAGS:
        raise SystemExit(f"{peer.name} lists {len(listed)} tags")
    push_in_one_put(peer, source)
    pull(peer, source.digest, source.size, verify=True)


@dataclass(slots=True)
class Results:
    """Values by workload and registry, one for each round, and memory at its highest, in bytes."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def note(self, workload: str, peer: Peer, value: float) -> None:
        """Keep a value."""
        self.values.setdefault(workload, {}).setdefault(peer.name, []).append(value)
        self.memory[peer.name] = max(self.memory.get(peer.name, 0), peer.memory())

    def table(self) -> str:
        """Return the medians in Markdown, with the spread of the rounds in percent."""
        names = list(self.memory)
        lines = [f"| workload | unit | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
        for workload, by_peer in self.values.items():
            unit = WORKLOADS[workload][0]
            cells = [_cell(by_peer[name]) for name in names]
            lines.append(f"| {workload} | {unit} | {' | '.join(cells)} |")
        held = [f"{self.memory[name] / MIB:.0f}" for name in names]
        lines.append(f"| memory, at its highest | MiB | {' | '.join(held)} |")
        return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    middle = median(values)
    spread = (max(values) - min(values)) / 2 / middle if middle else 0.0
    return f"{middle:,.0f} ±{spread:.0%}"


def measure(
    folder: Path, kinds: Sequence[Kind], workloads: Sequence[str], size: int, rounds: int, seconds: int
) -> Results:
    """Run all rounds."""
    results = Results()
    content = image([gzip_layer(tar({"x": noise("layer", 10_000)}), 0)])
    small = noise("small", 1000)
    source = Source.make(folder / "source", size, 0)
    with ExitStack() as stack:
        benches = []
        for kind in kinds:
            peer = stack.enter_context(kind.running(folder / kind.name.split()[0]))
            fill(peer, content, small, source)
            digest = f"sha256:{hashlib.sha256(small).hexdigest()}"
            benches.append(Bench(peer, content, digest, source, seconds, folder))
        for number in range(rounds):
            for workload in workloads:
                # Whoever comes first meets a colder machine: they take turns at that as well.
                for bench in benches[number % len(benches) :] + benches[: number % len(benches)]:
                    results.note(workload, bench.peer, WORKLOADS[workload][1](bench))
    return results


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure longshore beside other registries.")
    parser.add_argument("--size", type=int, default=512, help="MiB of a large blob")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="for each small workload")
    parser.add_argument("--only", default="", help="workloads whose name has this in it")
    parser.add_argument("--peers", default="", help="registries whose name has one of these in it, by comma")
    chosen = parser.parse_args()
    kinds = [longshore(), docker_registry(), distribution(), olareg()]
    wanted = chosen.peers.split(",")
    kinds = [kind for kind in kinds if any(word in kind.name for word in wanted)]
    workloads = [name for name in WORKLOADS if chosen.only in name]
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), kinds, workloads, chosen.size * MIB, chosen.rounds, chosen.seconds)
        print(results.table())


if __name__ == "__main__":
    main()
