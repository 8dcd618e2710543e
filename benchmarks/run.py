"""A run: how many rounds, of which workloads, and where files go meanwhile."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.results import Row, Suite, amount


class Named(Protocol):
    """Something that can be chosen."""

    @property
    def name(self) -> str:
        """What it is called."""


N = TypeVar("N", bound=Named)


@dataclass(slots=True)
class Plan:
    """What to measure: `only` has words of which one is in "suite: workload", or is empty for all of them."""

    folder: Path
    rounds: int
    seconds: int
    only: Sequence[str] = ()
    partial: set[str] = field(default_factory=set)
    """The suites of which something was left out."""

    def wants(self, suite: Suite, workload: str) -> bool:
        """Whether to measure a workload."""
        said = f"{suite.name}: {workload}"
        wanted = not self.only or any(word in said for word in self.only)
        if not wanted:
            self.partial.add(suite.name)
        return wanted

    def chosen(self, suite: Suite, all_of_them: Sequence[N]) -> Sequence[N]:
        """Return those that are wanted."""
        return [each for each in all_of_them if self.wants(suite, each.name)]


def machine() -> str:
    """Return what numbers were measured on, as far as they depend on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {python}"


def say(suite: Suite, number: int, row: Row, server: str, value: float) -> None:
    """Tell whoever waits what was measured."""
    told = f"{suite.name:9} {number + 1}  {row.workload:44} {server:22} {amount(value):>9} {row.unit}"
    print(told, file=sys.stderr, flush=True)
