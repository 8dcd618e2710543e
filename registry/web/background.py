"""The numbers of work in the background: turns of jobs, and what was collected."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from registry.collected import Collected

# Every job shows from the start, so that one that never runs is seen not to.
JOBS: Final = ("collect", "sweep")


class BackgroundMetrics:
    """The numbers of this process; the one that has a job's turn counts it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turns = Counter(
            "longshore_job_turns",
            "Turns of background jobs that ended.",
            ("name", "outcome"),
            registry=registry,
        )
        self._collected = Counter(
            "longshore_gc_collected",
            "Rows that garbage collection took.",
            ("kind",),
            registry=registry,
        )
        self._deleted = Counter(
            "longshore_gc_deleted_blobs", "Blobs deleted from the store.", registry=registry
        )
        self._freed = Counter("longshore_gc_deleted_bytes", "Bytes of those blobs.", registry=registry)
        self._waiting = Gauge(
            "longshore_gc_quarantine_bytes",
            "Bytes that wait to be deleted, as of this process's last turn.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._scrubbed = Counter(
            "longshore_scrubbed_bytes", "Bytes of stored blobs that were read again.", registry=registry
        )
        self._damage = Counter(
            "longshore_blobs_found_damaged",
            "Blobs that were found damaged when read again.",
            registry=registry,
        )
        self._damaged = Gauge(
            "longshore_blobs_damaged",
            "Blobs that are damaged, and so not served.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._backup = Gauge(
            "longshore_backup_last_success_timestamp_seconds",
            "When the last backup was finished, in seconds since 1970; 0 if there was none.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        for name in JOBS:
            for outcome in ("done", "failed"):
                self._turns.labels(name, outcome)
        for kind in ("manifest", "link", "blob"):
            self._collected.labels(kind)

    def of_job(self, name: str) -> Callable[[bool], None]:
        """Return what counts a turn of the job; it is told whether the turn failed."""
        return partial(self._count_turn, name)

    def _count_turn(self, name: str, failed: bool) -> None:
        self._turns.labels(name, "failed" if failed else "done").inc()

    def count_read(self, size: int) -> None:
        """Count the bytes of a blob that was read again."""
        self._scrubbed.inc(size)

    def count_damage(self, blobs: int) -> None:
        """Count blobs that were found damaged then."""
        self._damage.inc(blobs)

    def show_damaged(self, blobs: int) -> None:
        """Show how many blobs are damaged now."""
        self._damaged.set(blobs)

    def show_backup(self, finished_at: datetime | None) -> None:
        """Show when the last backup was finished."""
        self._backup.set(0 if finished_at is None else finished_at.timestamp())

    def count_collected(self, collected: Collected) -> None:
        """Count what a turn of garbage collection came to."""
        self._collected.labels("manifest").inc(collected.manifests)
        self._collected.labels("link").inc(collected.links)
        self._collected.labels("blob").inc(collected.blobs)
        self._deleted.inc(collected.deleted)
        self._freed.inc(collected.freed)
        self._waiting.set(collected.waiting.size)
