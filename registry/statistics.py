"""Pulls and pushes, counted in memory and written every few seconds: a pull costs no write."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Final

import structlog

from auth.identity import Identity
from registry.names import Reference, RepositoryName
from registry.rights import see
from storage.metadata import statistics
from storage.metadata.engine import Connection, Metadata, MetadataFull, MetadataUnavailable
from storage.metadata.statistics import Count, Day, TagCount

__all__ = ["Day", "Statistics", "TagCount", "noted"]

# Seconds between two writes of what was counted.
_INTERVAL: Final = 5.0

# References counted apart at once; what goes beyond is written before its time, or is lost.
_LIMIT: Final = 50_000

# Counts in one transaction: other writers wait that long.
_BATCH: Final = 200

_log = structlog.stdlib.get_logger("longshore.statistics")

_Key = tuple[str, str, date]

_noted: Final[ContextVar["list[Callable[[], None]] | None"]] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noted() -> Iterator[Sequence[Callable[[], None]]]:
    """Collect what is counted in the block: calls that count the same once more."""
    calls: list[Callable[[], None]] = []
    token = _noted.set(calls)
    try:
        yield calls
    finally:
        _noted.reset(token)


@dataclass(slots=True)
class _Tally:
    pulls: int = 0
    checks: int = 0
    pushes: int = 0
    pulled_at: datetime | None = None

    def add(self, other: "_Tally") -> None:
        self.pulls += other.pulls
        self.checks += other.checks
        self.pushes += other.pushes
        self.pulled_at = max((each for each in (self.pulled_at, other.pulled_at) if each), default=None)


class Statistics:
    """Counts for one process. `limit` bounds the references that are counted apart between two writes."""

    def __init__(self, metadata: Metadata, *, interval: float = _INTERVAL, limit: int = _LIMIT) -> None:
        self._metadata = metadata
        self._interval = interval
        self._limit = limit
        self._counts: dict[_Key, _Tally] = {}
        self._is_full = asyncio.Event()
        self._writing = asyncio.Lock()
        self._lost = 0

    # -- counting --------------------------------------------------------------------------------------

    def note_pull(self, repository: RepositoryName, reference: Reference) -> None:
        """Count a manifest that was sent."""
        now = _now()
        self._note((repository, reference, now.date()), _Tally(pulls=1, pulled_at=now))
        self._tell(self.note_pull, repository, reference)

    def note_check(self, repository: RepositoryName, reference: Reference) -> None:
        """Count somebody who only asked what a reference means."""
        self._note((repository, reference, _now().date()), _Tally(checks=1))
        self._tell(self.note_check, repository, reference)

    def note_push(self, repository: RepositoryName, reference: Reference) -> None:
        """Count a tag that was set."""
        self._note((repository, reference, _now().date()), _Tally(pushes=1))

    def _tell(
        self,
        note: Callable[[RepositoryName, Reference], None],
        repository: RepositoryName,
        reference: Reference,
    ) -> None:
        calls = _noted.get()
        if calls is not None:
            calls.append(partial(note, repository, reference))

    def _note(self, key: _Key, tally: _Tally) -> None:
        known = self._counts.get(key)
        if known is not None:
            known.add(tally)
        elif len(self._counts) < self._limit:
            self._counts[key] = tally
        else:
            self._lost += 1
        if len(self._counts) >= self._limit:
            self._is_full.set()

    # -- writing ---------------------------------------------------------------------------------------

    async def run_forever(self) -> None:
        """Write what was counted every few seconds, until cancelled; `finish` comes after that."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._is_full.wait()
            except TimeoutError:
                pass
            # Cancelled in the middle of a write, nobody would know whether its counts were written.
            writing = asyncio.ensure_future(self._flush_if_possible())
            await asyncio.shield(writing)

    async def finish(self) -> None:
        """Write the last counts, if that can be."""
        await self._flush_if_possible()

    async def flush(self) -> None:
        """Write what was counted until now.

        Raises:
            MetadataUnavailable, MetadataFull: what was not written is kept for the next time.
        """
        async with self._writing:
            counts, self._counts = self._counts, {}
            self._is_full.clear()
            self._report_lost()
            waiting = list(counts.items())
            while waiting:
                batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
                try:
                    await self._metadata.write(statistics.add, [_count(*each) for each in batch])
                except (MetadataUnavailable, MetadataFull):
                    for key, tally in (*batch, *waiting):
                        self._note(key, tally)
                    self._is_full.clear()  # in its own time: to hurry would not help
                    raise

    async def _flush_if_possible(self) -> None:
        try:
            await self.flush()
        except (MetadataUnavailable, MetadataFull) as error:
            _log.warning("counts wait", reason=str(error))
        except Exception:  # noqa: BLE001 - counting must not end because one batch failed
            _log.exception("counts lost")

    def _report_lost(self) -> None:
        if self._lost:
            _log.warning("more references than can be counted apart", lost=self._lost)
            self._lost = 0

    # -- reading ---------------------------------------------------------------------------------------

    async def daily(
        self, caller: Identity, name: str, *, days: int = 30, tag: str | None = None
    ) -> Sequence[Day]:
        """Return the last days, the oldest first, of a repository or of one of its tags."""

        def run(db: Connection) -> Sequence[Day]:
            seen = see(db, caller, name)
            return statistics.daily(db, seen.id, last=_now().date(), days=days, tag=tag)

        return await self._metadata.read(run)

    async def by_tag(
        self, caller: Identity, name: str, *, days: int = 30, limit: int = 20
    ) -> Sequence[TagCount]:
        """Return the tags that were pulled most in the last days; "" stands for what has no tag."""

        def run(db: Connection) -> Sequence[TagCount]:
            seen = see(db, caller, name)
            return statistics.by_tag(db, seen.id, last=_now().date(), days=days, limit=limit)

        return await self._metadata.read(run)


def _count(key: _Key, tally: _Tally) -> Count:
    return Count(*key, tally.pulls, tally.checks, tally.pushes, tally.pulled_at)


def _now() -> datetime:
    return datetime.now(UTC)
