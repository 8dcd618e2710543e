"""Everything that is measured: longshore beside other registries, over a large catalog, and alone.

    python -m benchmarks [--rounds 3] [--only WORDS]

What is complete is kept under benchmarks/results and shown by `python -m benchmarks.report`; the rest is
only printed.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import catalog, side_by_side, tokens
from benchmarks.results import Suite
from benchmarks.run import Plan, machine

RESULTS: Final = Path(__file__).parent / "results"

SUITES: Final[Mapping[str, tuple[str, Callable[[Plan, Suite], None]]]] = {
    "plain": ("Side by side", side_by_side.plain),
    "busy": ("Beside large transfers", side_by_side.busy),
    "tls": ("With TLS, spoken by each itself", side_by_side.native_tls),
    "nginx": ("With TLS, spoken by nginx", side_by_side.nginx),
    "objects": ("On PostgreSQL and an S3 server", side_by_side.objects),
    "tokens": ("Tokens", tokens.measure),
    "catalog": ("A million tags", catalog.measure),
}


def run(name: str, rounds: int, seconds: int, only: list[str]) -> None:
    """Run a suite; keep what came of it if it is complete."""
    title, measure = SUITES[name]
    suite = Suite(name, title, machine(), [], rounds)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        plan = Plan(Path(folder), rounds, seconds, only)
        measure(plan, suite)
    if not suite.rows:
        return
    if name not in plan.partial:
        suite.save(RESULTS)
    tables = [
        suite.table(),
        *([suite.processor_table()] if any(row.per for row in suite.rows.values()) else []),
    ]
    print("\n\n".join([f"\n## {title}", *tables]), flush=True)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure longshore, beside other registries and alone.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="for each workload of small requests")
    parser.add_argument("--only", default="", help='words by comma: a workload has one in "suite: workload"')
    chosen = parser.parse_args()
    # An interrupted run ends its servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    only = [word.strip() for word in chosen.only.split(",") if word.strip()]
    for name in SUITES:
        run(name, chosen.rounds, chosen.seconds, only)


if __name__ == "__main__":
    main()
