"""A gigabyte to and from an S3 server: longshore beside CNCF Distribution, on one MinIO.

    python -m benchmarks.object_storage

Each round pushes a new blob to each registry and pulls it again; they take turns, and medians count.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.large import MIB, Source, pull, push_streamed
from benchmarks.peers import Kind, Peer, distribution, longshore
from tests.e2e.process import running
from tests.postgres import running_postgres
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server


@dataclass(slots=True)
class Row:
    """What was measured of one registry: seconds, a value for each round."""

    push: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    redirected: list[float] = field(default_factory=list)
    streamed: list[float] = field(default_factory=list)
    memory: int = 0


def ours(s3: S3Server, database: str, *, redirect: bool) -> Kind:
    """Return longshore on the bucket."""
    return longshore(
        LONGSHORE_STORAGE=f"s3://{BUCKET}/longshore",
        LONGSHORE_S3_ENDPOINT=s3.endpoint,
        LONGSHORE_S3_REGION=REGION,
        LONGSHORE_S3_REDIRECT=str(redirect).lower(),
        LONGSHORE_DATABASE=database,
        LONGSHORE_KEYS_SECRET="nothing secret in a benchmark, only long",
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
    )


def theirs(s3: S3Server, *, redirect: bool) -> Kind:
    """Return CNCF Distribution on the bucket."""
    storage = {
        "s3": {
            "accesskey": ACCESS_KEY,
            "secretkey": SECRET_KEY,
            "region": REGION,
            "regionendpoint": s3.endpoint,
            "forcepathstyle": True,
            "secure": False,
            "bucket": BUCKET,
            "rootdirectory": "/distribution",
        },
        "redirect": {"disable": not redirect},
    }
    return distribution(storage=storage)


def measure(folder: Path, size: int, rounds: int) -> Mapping[str, Row]:
    """Run all rounds and return what came of them, by the registry's name."""
    rows: dict[str, Row] = {}
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        (folder / "s3").mkdir()
        s3 = stack.enter_context(running(S3Server("minio", folder / "s3")))
        database = postgres.create()
        pairs: list[tuple[Peer, Peer]] = []
        for number, kinds in enumerate(
            [
                (ours(s3, database, redirect=True), ours(s3, database, redirect=False)),
                (theirs(s3, redirect=True), theirs(s3, redirect=False)),
            ]
        ):
            redirecting, streaming = kinds
            one = stack.enter_context(redirecting.running(folder / f"{number}-redirect"))
            other = stack.enter_context(streaming.running(folder / f"{number}-stream"))
            pairs.append((one, other))
            rows[one.name] = Row()
        for number in range(rounds + 1):
            source = Source.make(folder / "source", size, number)
            for sending, passing in pairs:
                row = rows[sending.name] if number else Row()  # the first round only warms up
                pushed = push_streamed(passing, source)
                row.push.append(pushed.whole)
                row.end.append(pushed.end)
                row.redirected.append(pull(sending, source.digest, source.size, verify=not number))
                row.streamed.append(pull(passing, source.digest, source.size, verify=not number))
                row.memory = max(row.memory, passing.memory())
    return rows


def table(rows: Mapping[str, Row], size: int) -> str:
    """Return the table of benchmarks/README.md."""
    columns = (
        "registry",
        "push MiB/s",
        "last byte to 201, s",
        "pull, redirected",
        "pull, streamed",
        "MiB held",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, row in rows.items():
        speeds = [size / MIB / median(each) for each in (row.push, row.redirected, row.streamed)]
        push, redirected, streamed = (f"{speed:.0f}" for speed in speeds)
        cells = (name, push, f"{median(row.end):.2f}", redirected, streamed, f"{row.memory / MIB:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure a large blob on an S3 server.")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the blob")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    size = chosen.size * MIB
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        Path(folder).chmod(0o755)
        print(table(measure(Path(folder), size, chosen.rounds), size))


if __name__ == "__main__":
    main()
