"""Garbage collection while the registry works: rows first, then bytes, a bounded number in a turn.

Nothing walks the store, and no bytes are removed that a row could name again: a location is never used twice.
A turn that ends anywhere, in a crash too, leaves to the next one what it did not do.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

import structlog

from registry.collected import Collected
from registry.grace import Grace
from storage.blobs import BlobStore, BlobStoreError
from storage.metadata import collection, leases, removed
from storage.metadata.collection import Look, Name, Place
from storage.metadata.engine import Metadata
from storage.metadata.removed import RemovedBytes

_log = structlog.stdlib.get_logger("longshore.jobs")

NAME: Final = "collect"
"""Of the lease, which also keeps how far the looks have come."""

# Rows of one look, and rows that one transaction takes: a push waits for no longer than that.
_PAGE: Final = 500
_TAKEN: Final = 200

# Looks at each kind of row in a turn, and transactions of each kind.
_LOOKS: Final = 40
_BATCHES: Final = 25

# When bytes that could not be deleted are tried again; with more failures than that the store is away.
_AGAIN: Final = timedelta(minutes=10)
_FAILURES: Final = 3

K = TypeVar("K", Place, Name)


Report = Callable[[Collected], None]


class Collector:
    """Takes what nothing needs any more.

    Args:
        metadata: where the rows are.
        store: where the bytes are.
        grace: how long what nothing needs is kept.
        report: told after each turn what it came to.
        clock: tells the time.
    """

    def __init__(
        self,
        metadata: Metadata,
        store: BlobStore,
        grace: Grace,
        report: Report = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._grace = grace
        self._report = report
        self._clock = clock

    async def __call__(self) -> None:
        """Take one turn: go on from where the last one came to."""
        kept = await self._metadata.lookup(leases.position_of, NAME)
        position, collected = _Position.read(kept), Collected()
        try:
            await self._turn(position, collected, _LOOKS, _BATCHES)
        finally:
            # Of a turn that failed as well: the store may be away for long, and the looks go on meanwhile.
            self._report(collected)
            _tell(collected)
            if position.text != kept:
                await self._metadata.write(leases.keep_position, NAME, position.text)

    async def collect_all(self, advance: Report = lambda _: None) -> Collected:
        """Take all that is due now, however much it is; `advance` is told how far it has come."""
        collected = Collected()
        await self._turn(_Position(), collected, None, None, advance)
        return collected

    async def _turn(
        self,
        position: "_Position",
        collected: Collected,
        looks: int | None,
        batches: int | None,
        advance: Report = lambda _: None,
    ) -> None:
        turn = _Turn(self._metadata, self._store, self._grace, self._clock(), batches, advance, collected)
        if self._grace.untagged is not None:
            before = turn.now - self._grace.untagged
            look = partial(collection.loose_manifests, before=before, limit=_PAGE)
            position.manifests = await turn.go_on(look, position.manifests, looks, turn.take_manifests)
        look = partial(collection.loose_links, before=turn.now - self._grace.blobs, limit=_PAGE)
        position.links = await turn.go_on(look, position.links, looks, turn.take_links)
        names = partial(collection.unlinked_blobs, limit=_PAGE)
        position.blobs = await turn.go_on(names, position.blobs, looks, turn.note_unused)
        await turn.take_unused()
        await turn.delete_due()
        collected.waiting = await self._metadata.read(removed.waiting)


def _tell(collected: Collected) -> None:
    """Log what was done; nothing is not worth a line."""
    if any((collected.manifests, collected.links, collected.blobs, collected.deleted, collected.failed)):
        _log.info(
            "collected",
            manifests=collected.manifests,
            links=collected.links,
            blobs=collected.blobs,
            deleted=collected.deleted,
            freed=collected.freed,
            failed=collected.failed,
            waiting=collected.waiting.size,
        )


@dataclass(slots=True)
class _Position:
    """The last row of each kind that was looked at; None is before the first."""

    manifests: Place | None = None
    links: Place | None = None
    blobs: Name | None = None

    @classmethod
    def read(cls, text: str | None) -> "_Position":
        """Read what `text` wrote."""
        kept: dict[str, Any] = json.loads(text or "{}")
        manifests, links, blobs = (kept.get(name) for name in ("manifests", "links", "blobs"))
        return cls(
            None if manifests is None else Place(*manifests),
            None if links is None else Place(*links),
            None if blobs is None else Name(*blobs),
        )

    @property
    def text(self) -> str:
        """The position, for the row of the lease."""
        return json.dumps({"manifests": self.manifests, "links": self.links, "blobs": self.blobs})


@dataclass(slots=True)
class _Turn:
    """One turn under way."""

    metadata: Metadata
    store: BlobStore
    grace: Grace
    now: datetime
    batches: int | None
    advance: Report
    collected: Collected

    @property
    def due_at(self) -> datetime:
        """When what is taken now is gone for good."""
        return self.now + self.grace.quarantine

    async def go_on(
        self,
        look: Callable[..., Look[K]],
        after: K | None,
        looks: int | None,
        take: Callable[[Sequence[K]], Awaitable[None]],
    ) -> K | None:
        """Look at page after page and take what is found; return the last row looked at, None at the end."""
        while looks is None or looks > 0:
            seen = await self.metadata.read(look, after)
            for start in range(0, len(seen.found), _TAKEN):
                await take(seen.found[start : start + _TAKEN])
                self.advance(self.collected)
            after = seen.last
            if after is None:
                break
            looks = None if looks is None else looks - 1
        return after

    async def take_manifests(self, places: Sequence[Place]) -> None:
        """Take manifests that nothing keeps."""
        before = self.now - (self.grace.untagged or timedelta())
        taken = await self.metadata.write(
            collection.remove_manifests, places, before=before, now=self.now, due_at=self.due_at
        )
        self.collected.manifests += taken.count

    async def take_links(self, places: Sequence[Place]) -> None:
        """Take links that no manifest needs."""
        before = self.now - self.grace.blobs
        self.collected.links += await self.metadata.write(collection.remove_links, places, before=before)

    async def note_unused(self, names: Sequence[Name]) -> None:
        """Let the time of unlinked blobs begin."""
        await self.metadata.write(collection.note_unused, names, now=self.now)

    async def take_unused(self) -> None:
        """Take blobs that have been unused for long enough."""
        take = partial(
            collection.remove_unused,
            before=self.now - self.grace.blobs,
            now=self.now,
            due_at=self.due_at,
            limit=_TAKEN,
        )
        for _ in _rounds(self.batches):
            taken = await self.metadata.write(take)
            self.collected.blobs += taken.count
            self.advance(self.collected)
            if taken.count < _TAKEN:
                return

    async def delete_due(self) -> None:
        """Delete what is due from the store, and forget it."""
        redirected = self.grace.redirected
        if not await self.metadata.read(removed.is_any_due, now=self.now, redirected=redirected):
            return
        for _ in _rounds(self.batches):
            if await self.metadata.write(removed.forget_due_manifests, now=self.now, limit=_TAKEN) < _TAKEN:
                break
        for _ in _rounds(self.batches):
            due = await self.metadata.write(
                removed.take_due, now=self.now, limit=_TAKEN, redirected=redirected
            )
            if not due:
                return
            await self._delete(due)
            self.advance(self.collected)

    async def _delete(self, due: Sequence[RemovedBytes]) -> None:
        try:
            await self.store.delete([each.location for each in due])
        except (BlobStoreError, OSError):
            # Maybe one of them keeps the others from going.
            await self._delete_each(due)
        else:
            await self._forget(due)

    async def _delete_each(self, due: Sequence[RemovedBytes]) -> None:
        failed = 0
        for each in due:
            try:
                await self.store.delete([each.location])
            except (BlobStoreError, OSError) as error:
                failed += 1
                if failed > _FAILURES:
                    raise
                _log.warning("bytes cannot be deleted", location=each.location, error=str(error))
                await self.metadata.write(removed.postpone, [each.id], due_at=self.now + _AGAIN)
                self.collected.failed += 1
            else:
                await self._forget([each])

    async def _forget(self, gone: Sequence[RemovedBytes]) -> None:
        await self.metadata.write(removed.forget, [each.id for each in gone])
        self.collected.deleted += len(gone)
        self.collected.freed += sum(each.size for each in gone)


def _rounds(batches: int | None) -> Iterable[int]:
    return count() if batches is None else range(batches)
