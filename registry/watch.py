"""Watching pushes as they land: whatever process they come to, they show in the database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import structlog

from auth.identity import Identity
from registry.errors import Problem, RegistryError
from registry.rights import Seen, see
from storage.digest import Digest
from storage.metadata import pushes
from storage.metadata.engine import Metadata, MetadataFull, MetadataUnavailable
from storage.metadata.pushes import Progress

_log = structlog.stdlib.get_logger("longshore.watch")

# Seconds between two looks, and how much of the time looking may take: large repositories are looked at less.
_INTERVAL: Final = 1.0
_SHARE: Final = 0.1

# Followers of one process, and seconds after which one has to come again.
_FOLLOWERS: Final = 256
_LIFETIME: Final = 600.0

# Seconds after which a follower hears something, so that it is noticed when it is gone.
_BEAT: Final = 15.0

# Events that wait for one follower; one that is slower than that has to come again.
_WAITING: Final = 1024

# Rows of a kind in one look: more than one push makes at one moment, or no look would get past that.
_ROWS: Final = 250

# A row says when it was made, and shows when its transaction ends: later rows may show first.
_OVERLAP: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class UploadsUnderWay:
    """How many uploads are under way, and how many of their bytes are safe."""

    kind: ClassVar[str] = "uploads"
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class BlobLanded:
    """A blob that is complete."""

    kind: ClassVar[str] = "blob"
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class TagSet:
    """A tag that means something new."""

    kind: ClassVar[str] = "tag"
    name: str
    digest: Digest
    by: str | None
    at: datetime


Event = UploadsUnderWay | BlobLanded | TagSet

_Key = tuple[datetime, str, str]


class Watch:
    """The followers of one process: one look a second for each repository that somebody follows."""

    def __init__(
        self,
        metadata: Metadata,
        *,
        interval: float = _INTERVAL,
        followers: int = _FOLLOWERS,
        lifetime: float = _LIFETIME,
        waiting: int = _WAITING,
    ) -> None:
        self._metadata = metadata
        self._interval = interval
        self._limit = followers
        self._lifetime = lifetime
        self._waiting = waiting
        self._pollers: dict[int, _Poller] = {}

    @property
    def followers(self) -> int:
        """How many there are."""
        return sum(len(poller.queues) for poller in self._pollers.values())

    async def follow(self, caller: Identity, name: str) -> AsyncGenerator[Event, None]:
        """Yield what happens to a repository. The first event, uploads under way, comes at once.

        Ends when the repository is gone, when the caller may no longer see it, and after some minutes.

        Raises:
            RegistryError: NOT_HERE; TOO_MANY_REQUESTS. Before the first event, never after it.
        """
        seen = await self._metadata.lookup(see, caller, name)
        if self.followers >= self._limit:
            raise RegistryError(Problem.TOO_MANY_REQUESTS, "too many follow already", retry_after=60)
        poller = self._pollers.get(seen.id)
        if poller is None or poller.ended:
            poller = self._pollers[seen.id] = _Poller(self._metadata, seen.id, self._interval)
        queue = poller.join(self._waiting)
        try:
            async with contextlib.aclosing(self._events(queue)) as events:
                async for event in events:
                    if not await self._still_sees(caller, seen):
                        return
                    yield event
        finally:
            if poller.leave(queue) and self._pollers.get(seen.id) is poller:
                del self._pollers[seen.id]

    async def _events(self, queue: "asyncio.Queue[Event | None]") -> AsyncGenerator[Event, None]:
        until = asyncio.get_running_loop().time() + self._lifetime
        while True:
            try:
                async with asyncio.timeout_at(until):
                    event = await queue.get()
            except TimeoutError:
                return
            if event is None:
                return
            yield event

    async def _still_sees(self, caller: Identity, seen: Seen) -> bool:
        try:
            return (await self._metadata.lookup(see, caller, seen.name)).id == seen.id
        except (RegistryError, MetadataUnavailable):
            return False


class _Poller:
    """Looks at one repository for all who follow it here."""

    def __init__(self, metadata: Metadata, repository_id: int, interval: float) -> None:
        self._metadata = metadata
        self._repository_id = repository_id
        self._interval = interval
        self._news = _News(datetime.now(UTC))
        self._task = asyncio.ensure_future(self._run())
        self.queues: set[asyncio.Queue[Event | None]] = set()

    def join(self, waiting: int) -> "asyncio.Queue[Event | None]":
        """Return where a new follower hears of events."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(waiting)
        if self._news.uploads is not None:
            queue.put_nowait(self._news.uploads)
        self.queues.add(queue)
        return queue

    def leave(self, queue: "asyncio.Queue[Event | None]") -> bool:
        """Let a follower go; tell whether it was the last."""
        self.queues.discard(queue)
        if self.queues:
            return False
        self._task.cancel()
        return True

    @property
    def ended(self) -> bool:
        """Whether it looks no more."""
        return self._task.done()

    async def _run(self) -> None:
        try:
            while True:
                began = time.monotonic()
                progress = await self._look()
                if progress is None:
                    return
                self._tell(self._news.of(progress, datetime.now(UTC)))
                await asyncio.sleep(max(self._interval, (time.monotonic() - began) / _SHARE))
        except (MetadataUnavailable, MetadataFull) as error:
            _log.warning("a look at pushes failed", reason=str(error))
        finally:
            self._tell([None])

    async def _look(self) -> Progress | None:
        return await self._metadata.read(
            pushes.progress, self._repository_id, since=self._news.since, limit=_ROWS
        )

    def _tell(self, events: "Sequence[Event | None]") -> None:
        for queue in self.queues:
            for event in events:
                if queue.full():
                    # Too slow: what it missed cannot be told later, so it has to come again.
                    while not queue.empty():
                        queue.get_nowait()
                    queue.put_nowait(None)
                    break
                queue.put_nowait(event)


class _News:
    """What of a look was not told before."""

    def __init__(self, now: datetime) -> None:
        # A little before: what landed between the page and its first look is not missed.
        self.since = self._start = now - _OVERLAP
        self.uploads: UploadsUnderWay | None = None
        self._told: set[_Key] = set()
        self._told_at = now

    def of(self, progress: Progress, now: datetime) -> list[Event]:
        """Return the events that a look at `now` comes to."""
        events: list[Event] = [
            BlobLanded(blob.digest, blob.size)
            for blob in progress.blobs
            if self._is_new((blob.linked_at, blob.digest, ""))
        ]
        events += [
            TagSet(tag.name, tag.digest, tag.tagged_by, tag.tagged_at)
            for tag in progress.tags
            if self._is_new((tag.tagged_at, tag.digest, tag.name))
        ]
        uploads = UploadsUnderWay(progress.uploads, progress.size)
        if events or uploads != self.uploads or now - self._told_at > timedelta(seconds=_BEAT):
            self._told_at = now
            events.insert(0, uploads)
        self.uploads = uploads
        self._advance(progress, now)
        return events

    def _is_new(self, key: _Key) -> bool:
        new = key not in self._told
        self._told.add(key)
        return new

    def _advance(self, progress: Progress, now: datetime) -> None:
        """Look from where this look ended: at its last row where it was full, else a little before now."""
        ends = [now - _OVERLAP]
        if len(progress.blobs) == _ROWS:
            ends.append(progress.blobs[-1].linked_at)
        if len(progress.tags) == _ROWS:
            ends.append(progress.tags[-1].tagged_at)
        self.since = max(self._start, min(ends))
        self._told = {key for key in self._told if key[0] >= self.since}
