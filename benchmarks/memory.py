"""What a node holds in memory at rest, while four large blobs are pushed to it at once, and afterwards.

    python -m benchmarks.memory

Counted is the proportional set size of all its processes: what they share counts once, and of a file's pages
that processes of others have mapped as well, only a share.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.large import MIB, Source, push_streamed
from benchmarks.peers import Kind, longshore
from benchmarks.side_by_side import ours
from benchmarks.usage import Watch, memory
from tests.e2e.process import running
from tests.postgres import running_postgres
from tests.storage.servers import S3Server

_PUSHES = 4


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes held, and how fast the pushes went together, in bytes a second."""

    at_rest: int
    peak: int
    afterwards: int
    speed: float


def measure(kind: Kind, folder: Path, size: int) -> Held:
    """Start a node, push, and return what it held."""
    folder.mkdir()
    sources = [Source.make(folder / f"source-{number}", size, str(number)) for number in range(_PUSHES)]
    with kind.running(folder / "node") as node:
        at_rest = memory(node.pid)
        with Watch(node.pid) as watch, ThreadPoolExecutor(_PUSHES) as threads:
            began = time.perf_counter()
            list(threads.map(lambda source: push_streamed(node, source), sources))
            speed = _PUSHES * size / (time.perf_counter() - began)
        return Held(at_rest, watch.peak, watch.after, speed)


@contextmanager
def team_node(folder: Path, workers: int) -> Iterator[Kind]:
    """Give a node of a team: blobs in MinIO, metadata in PostgreSQL; both run while the block does."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        (folder / "s3").mkdir()
        s3 = stack.enter_context(running(S3Server("minio", folder / "s3")))
        yield ours(s3, postgres.create(), redirect=True, LONGSHORE_WORKERS=str(workers))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the memory of a node while four blobs are pushed.")
    parser.add_argument("--size", type=int, default=1024, help="MiB of each blob")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    chosen = parser.parse_args()
    print("| node | workers | at rest | at the peak | afterwards, MiB | MiB/s |\n|---|---|---|---|---|---|")
    for workers in chosen.workers:
        for name in ("MinIO, PostgreSQL", "file system, SQLite"):
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as made, ExitStack() as stack:
                folder = Path(made)
                folder.chmod(0o755)
                is_team = name.startswith("MinIO")
                alone = longshore(LONGSHORE_WORKERS=str(workers))
                kind = stack.enter_context(team_node(folder, workers)) if is_team else alone
                held = measure(kind, folder / "pushed", chosen.size * MIB)
            cells = [f"{each / MIB:.0f}" for each in (held.at_rest, held.peak, held.afterwards, held.speed)]
            print(f"| {name} | {workers} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
