"""What is chosen of a run, and what is seen of a server while it runs."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.results import Suite
from benchmarks.run import Plan
from benchmarks.usage import Watch, memory, processes


@dataclass(frozen=True)
class Named:
    name: str


WORKLOADS = (Named("push, streamed"), Named("pull, one stream"))


@pytest.mark.parametrize(
    ("only", "names", "partial"),
    [
        ([], ["push, streamed", "pull, one stream"], set()),
        (["plain"], ["push, streamed", "pull, one stream"], set()),
        (["push", "busy"], ["push, streamed"], {"plain"}),
        (["plain: pull"], ["pull, one stream"], {"plain"}),
        (["tls"], [], {"plain"}),
    ],
)
def test_words_choose_suites_and_workloads(
    tmp_path: Path, only: list[str], names: list[str], partial: set[str]
) -> None:
    plan = Plan(tmp_path, 1, 1, only)
    suite = Suite("plain", "Side by side", "2 cores", [], 1)
    assert [each.name for each in plan.chosen(suite, WORKLOADS)] == names
    assert plan.partial == partial


def test_processor_time_and_memory_of_a_process() -> None:
    with Watch(os.getpid()) as watch:
        began = time.process_time()
        while time.process_time() - began < 0.2:
            pass
    assert watch.seconds >= 0.15  # counted in hundredths
    assert watch.peak >= watch.after > 1024 * 1024
    assert next(processes(os.getpid())) == os.getpid()
    assert memory(os.getpid()) > 1024 * 1024
