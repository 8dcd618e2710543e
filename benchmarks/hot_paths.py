"""Where a worker's time goes on each hot path, sampled by py-spy and kept as text under benchmarks/profiles.

    python -m benchmarks.hot_paths [--only WORD] [--seconds 8]

There is one worker, so that all of it is seen. A sample is of a thread that runs, in Python or in what Python
called, the kernel included; what waits for work is left out. Root may be needed, as by anything that looks
into another process.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import workloads
from benchmarks.large import MIB, Source
from benchmarks.peers import longshore
from benchmarks.small import load
from benchmarks.usage import processes
from benchmarks.workloads import ACCEPT, MANIFESTS, Bench, Workload

PROFILES: Final = Path(__file__).parent / "profiles"

_HERTZ: Final = 200
_LARGE: Final = 1024
_LINES: Final = 30

# What every sample of a server is part of says nothing.
_EVERYWHERE: Final = (
    *("<module>", "_run_module_as_main", "_run_code", "click/", "registry/cli/", "gunicorn/"),
    *("aiohttp/worker.py", "asyncio/base_events.py", "asyncio/events.py", "threading.py"),
)

# Threads that wait for work: some of them are taken for running ones where the machine does other work too.
_WAITING: Final = (
    "EpollSelector.select (",
    "_worker (concurrent/futures/thread.py",
    "_Writer._next_group (",
)

# No two requests are the same, so that no answer comes from memory.
_EACH_ONCE: Final = """\
local count = 0
request = function()
    count = count + 1
    return wrk.format(nil, wrk.path .. "?once=" .. tostring(wrk):sub(8) .. count)
end
"""

HotPath = Callable[[Bench], object]


def _by_the_ordinary_way(bench: Bench) -> None:
    script = bench.fresh.path.with_suffix(".lua")
    script.write_text(_EACH_ONCE)
    load(bench.peer, f"{MANIFESTS}/tag-000", ACCEPT, bench.seconds, script)


def _named(name: str, among: tuple[Workload, ...]) -> HotPath:
    return next(workload.measure for workload in among if workload.name == name)


HOT_PATHS: Final[Mapping[str, HotPath]] = {
    "manifest": _named("manifest by tag", workloads.SMALL),
    "manifest-ordinary": _by_the_ordinary_way,
    "small-blob": _named("blob of 1 KB", workloads.SMALL),
    "tag-list": _named("tag list (100)", workloads.SMALL),
    "push-put": _named("push, one PUT", workloads.LARGE),
    "push-streamed": _named("push, streamed", workloads.LARGE),
    "pull": _named("pull, four streams", workloads.LARGE),
    "push-images": _named("push of 200 small images", workloads.IMAGES),
}


@contextmanager
def sampled(pid: int, raw: Path) -> Iterator[None]:
    """Sample a process while the block runs, into a file of stacks with their counts."""
    program = Path(sys.executable).with_name("py-spy")
    options = ("--nonblocking", "--threads", "--format", "raw", "--rate", str(_HERTZ), "--duration", "600")
    argv: list[str | Path] = [program, "record", "--pid", str(pid), "--output", raw, *options]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
        try:
            yield
        finally:
            spy.send_signal(signal.SIGINT)


def told(name: str, raw: str) -> str:
    """Return what samples say: which threads ran, where they were, and what that was part of."""
    threads: Counter[str] = Counter()
    at: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        # The process goes on while it is looked into: now and then what is read of it is no stack.
        if not count.isdigit() or not frames or frames[-1].startswith(_WAITING):
            continue
        threads[thread.partition(": ")[2].rstrip("0123456789_") or thread] += int(count)
        at[frames[-1]] += int(count)
        for frame in {frame for frame in frames if not any(word in frame for word in _EVERYWHERE)}:
            within[frame] += int(count)
    tables = {"threads": threads, "where it was": at, "what that was part of": within}
    parts = [f"{name}: {at.total()} samples, {_HERTZ} a second of each thread"]
    for title, counter in tables.items():
        most = sorted(counter.items(), key=lambda each: (-each[1], each[0]))[:_LINES]
        lines = [f"{count / at.total():6.1%}  {what}" for what, count in most]
        parts.append("\n".join([title, *lines]))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line, and sample."""
    parser = argparse.ArgumentParser(description="Sample where a worker's time goes.")
    parser.add_argument("--only", default="", help="paths whose name has this in it")
    parser.add_argument("--seconds", type=int, default=8, help="for each path of small requests")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        longshore(LONGSHORE_WORKERS="1").running(Path(name) / "server") as peer,
    ):
        folder = Path(name)
        kept = Source.make(folder / "kept", _LARGE * MIB, "kept")
        bench = Bench(peer, kept, Source.make(folder / "fresh", _LARGE * MIB, "fresh"), chosen.seconds)
        bench.fill()
        worker = [*processes(peer.pid)][-1]
        for path, run in HOT_PATHS.items():
            if chosen.only in path:
                with sampled(worker, folder / "raw"):
                    run(bench)
                (PROFILES / f"{path}.txt").write_text(told(path, (folder / "raw").read_text()))
                print(PROFILES / f"{path}.txt")


if __name__ == "__main__":
    main()
