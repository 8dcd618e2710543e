"""What a server's processes take, all of them together: processor time and memory, out of /proc."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_EVERY: Final = 0.2


def processes(pid: int) -> Iterator[int]:
    """Yield a process and those that came of it and are still there."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from processes(int(child))


def memory(pid: int) -> int:
    """Return the bytes that a process and its children hold; what they share counts once."""
    return sum(_proportional(each) for each in processes(pid))


def processor_seconds(pid: int) -> float:
    """Return the seconds of processor time that a process and its children have used so far."""
    return sum(_ticks(each) for each in processes(pid)) / _TICKS


class Watch:
    """Looks at a server while a block runs: `seconds` of processor time, `peak` and `after` in bytes.

    Of several servers it is what they took together, and what the largest of them held.
    """

    def __init__(self, *pids: int) -> None:
        self.seconds = 0.0
        self.peak = 0
        self.after = 0
        self._pids = pids
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._began = self._processor_seconds()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._processor_seconds() - self._began
        self._done.set()
        self._thread.join()
        self.after = self._memory()
        self.peak = max(self.peak, self.after)

    def _sample(self) -> None:
        while not self._done.wait(_EVERY):
            self.peak = max(self.peak, self._memory())

    def _processor_seconds(self) -> float:
        return sum(map(processor_seconds, self._pids))

    def _memory(self) -> int:
        return max(map(memory, self._pids))


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss of {pid}")


def _ticks(pid: int) -> int:
    # Past the name, which may hold blanks: utime and stime are fields 14 and 15 of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
