"""What the metrics say of work in the background."""

import re
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from registry.collected import Collected
from registry.web.background import JOBS, BackgroundMetrics
from storage.metadata.removed import Sizes


class Numbers:
    """The numbers, and what they say."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.counts = BackgroundMetrics(self._registry)

    def __getitem__(self, name: str) -> float:
        text = generate_latest(self._registry).decode()
        [found] = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found)


def turns(name: str, outcome: str) -> str:
    return f'longshore_job_turns_total{{name="{name}",outcome="{outcome}"}}'


def test_jobs_show_before_their_first_turn() -> None:
    numbers = Numbers()
    for name in JOBS:
        assert [numbers[turns(name, outcome)] for outcome in ("done", "failed")] == [0, 0]


def test_turns_are_counted_by_what_came_of_them() -> None:
    numbers = Numbers()
    count = numbers.counts.of_job("collect")
    for failed in (False, True, False):
        count(failed)
    assert (numbers[turns("collect", "done")], numbers[turns("collect", "failed")]) == (2, 1)
    assert numbers[turns("sweep", "done")] == 0


def test_backup_is_shown_by_when_it_was_finished() -> None:
    numbers = Numbers()
    name = "longshore_backup_last_success_timestamp_seconds"
    numbers.counts.show_backup(None)
    assert numbers[name] == 0
    numbers.counts.show_backup(datetime(2026, 11, 24, 16, 30, tzinfo=UTC))
    assert numbers[name] == 1795537800


def test_what_was_collected_is_counted() -> None:
    numbers = Numbers()
    for waiting in (Sizes(9, 900), Sizes(1, 100)):
        numbers.counts.count_collected(Collected(1, 2, 3, 4, 50, 0, waiting))
    kinds = {kind: numbers[f'longshore_gc_collected_total{{kind="{kind}"}}'] for kind in ("manifest", "link")}
    assert kinds == {"manifest": 2, "link": 4}
    assert numbers['longshore_gc_collected_total{kind="blob"}'] == 6
    assert numbers["longshore_gc_deleted_blobs_total"] == 8
    assert numbers["longshore_gc_deleted_bytes_total"] == 100
    assert numbers["longshore_gc_quarantine_bytes"] == 100
