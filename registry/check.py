"""Holding rows against bytes, both ways, and rows against each other.

The store is listed first, then the rows are read in one snapshot: bytes are there before their row, so what
is listed and has none is orphaned, or belongs to an upload under way, whose row says so. What looks wrong is
looked at again by itself, as a registry that serves goes on meanwhile. Nothing is changed unless it is to be
repaired.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from registry.consistency import Consistency, Progress, Sparse
from registry.healing import Healer, Leftovers, NamedSource
from registry.pace import Pace
from registry.verification import Verifier
from storage.blobs import BlobMissing, BlobStore, KeptBytes
from storage.digest import ALGORITHMS, DEFAULT_ALGORITHM, Digest
from storage.metadata import copying, damage, removed
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Connection, Metadata
from storage.metadata.inventory import Inventory

T = TypeVar("T")

# Blobs that are read at the same time.
_AT_ONCE: Final = 4

_PAGE: Final = 500

# Findings that are listed one by one; all are counted.
_MOST_LISTED: Final = 10_000

# Bytes this young may be those of a move or a restore, whose rows come last.
YOUNG: Final = timedelta(hours=1)

ORPHANED: Final = "orphaned"


@dataclass(slots=True)
class Finding:
    """Something that is not as it should be: `subject` is a digest, a location or what a row is called."""

    kind: str
    subject: str
    detail: str = ""
    outcome: str = ""
    """What was done about it; empty where nothing was."""


@dataclass(slots=True)
class Report:
    """What a check found."""

    blobs: int = 0
    size: int = 0
    """Bytes of those blobs, as their rows say."""
    objects: int = 0
    """Blobs that the store keeps, named or not."""
    manifests: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Findings by kind."""
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    """The first of them."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not sum(self.counts.values())

    def add(self, finding: Finding) -> None:
        """Take a finding in."""
        self.counts[finding.kind] += 1
        if finding.outcome:
            self.outcomes[finding.outcome.partition(" ")[0]] += 1
        if len(self.findings) < _MOST_LISTED:
            self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to check."""

    hashing: bool = True
    """Whether bytes are read, not only counted."""
    repair: bool = False
    sources: Sequence[NamedSource] = ()
    """Where damaged blobs may be had again."""
    sparse: Sparse = "index"
    """Which manifests may name content that is not here."""
    rate: int | None = None
    """Bytes read per second at most."""
    young: timedelta = YOUNG
    """The age at which bytes without a row count as orphaned."""
    orphans_kept: timedelta = timedelta(days=7)
    """The age at which they are removed in a repair."""
    removed_kept: timedelta = timedelta(days=1)
    """For how long they still can be had then."""


class Check:
    """One check of a store and the rows that name its bytes; a registry may serve both meanwhile."""

    def __init__(self, metadata: Metadata, store: BlobStore, plan: Plan, progress: Progress) -> None:
        self._metadata = metadata
        self._store = store
        self._plan = plan
        self._progress = progress
        self._verifier = Verifier(metadata, store, Pace(plan.rate))
        self._healer = Healer(metadata, store)
        self._inventory = Inventory()
        self._report = Report()
        self._sound: list[BlobRow] = []

    async def run(self) -> Report:
        """Check everything and say what was found.

        Raises:
            StoreUnavailable, MetadataUnavailable: it could not be finished.
            RegistryError: STORE_FULL in a repair.
        """
        try:
            await self._list()
            await self._metadata.read(self._inventory.compare)
            await self._look_at_blobs()
            await self._look_at_orphans()
        finally:
            self._inventory.close()
        await self._look_at_rows()
        return self._report

    async def _list(self) -> None:
        self._report.blobs, self._report.size = await self._metadata.read(copying.total_of_blobs)
        self._progress.expect("listing", self._report.blobs)
        async for page in self._store.walk():
            self._inventory.add(page)
            self._report.objects += len(page)
            self._progress.advance(len(page))

    # -- blobs -----------------------------------------------------------------------------------------

    async def _look_at_blobs(self) -> None:
        if self._plan.hashing:
            self._progress.expect("reading", self._report.size)
            await in_parallel(self._pages(damage.page), self._read)
            await self._keep_sound()
        else:
            # Only those that the list contradicts, and some of them were pushed while it was made.
            await in_parallel(self._doubtful(), self._look)
            await in_parallel(self._pages(damage.damaged_page), self._read)

    async def _doubtful(self) -> AsyncIterator[BlobRow]:
        for digest in self._inventory.doubtful():
            blob = await self._metadata.lookup(damage.find, Digest(digest))
            if blob is not None and blob.damaged_at is None:
                yield blob

    async def _look(self, blob: BlobRow) -> None:
        found = await self._verifier.verify(blob, hashing=False)
        if found is not None:
            await self._tell(blob, found)

    async def _read(self, blob: BlobRow) -> None:
        found = await self._verifier.verify(blob)
        if found is not None:
            await self._tell(blob, found)
        elif self._plan.repair:
            self._sound.append(blob)
            if len(self._sound) >= _PAGE:
                await self._keep_sound()
        self._progress.advance(blob.size)

    async def _keep_sound(self) -> None:
        sound, self._sound = self._sound, []
        await self._metadata.write(damage.note_sound, sound, now=_now())

    async def _tell(self, blob: BlobRow, kind: str) -> None:
        finding = Finding(kind, blob.digest, blob.location)
        if self._plan.repair:
            await self._metadata.write(damage.note_damaged, blob, now=_now())
            finding.outcome = await self._heal(blob)
        self._report.add(finding)

    async def _heal(self, blob: BlobRow) -> str:
        leftovers = Leftovers(self._metadata, self._store, self._inventory)
        sources = [*await leftovers.of(blob), *self._plan.sources]
        source = await self._healer.heal(blob, sources)
        return "fenced" if source is None else f"healed from {source}"

    async def _pages(self, query: Callable[..., Sequence[BlobRow]]) -> AsyncIterator[BlobRow]:
        after = ""
        while rows := await self._metadata.read(query, after=after, limit=_PAGE):
            for row in rows:
                yield row
            after = rows[-1].digest

    # -- bytes without a row ---------------------------------------------------------------------------

    async def _look_at_orphans(self) -> None:
        for kept in self._inventory.unnamed(before=_now() - self._plan.young):
            if not await self._is_there(kept):
                continue  # it went its way since
            finding = Finding(ORPHANED, kept.location, f"{kept.size} bytes of {kept.written_at:%Y-%m-%d}")
            if self._plan.repair and kept.written_at < _now() - self._plan.orphans_kept:
                finding.outcome = await self._remove(kept)
            self._report.add(finding)

    async def _is_there(self, kept: KeptBytes) -> bool:
        try:
            await self._store.size(kept.location)
        except BlobMissing:
            return False
        return True

    async def _remove(self, kept: KeptBytes) -> str:
        first = kept.location.partition("/")[0]
        algorithm = first if first in ALGORITHMS else DEFAULT_ALGORITHM
        try:
            digest = await self._verifier.digest(kept.location, kept.size, algorithm)
        except (BlobMissing, OSError):
            return ""
        row = BlobRow(digest, kept.size, kept.location)
        removed_now = await self._metadata.write(_remove_unnamed, row, self._plan.removed_kept)
        return "removed" if removed_now else ""

    # -- rows ------------------------------------------------------------------------------------------

    async def _look_at_rows(self) -> None:
        consistency = Consistency(self._metadata, self._progress, sparse=self._plan.sparse)
        async for fault in consistency.faults():
            self._report.add(Finding(fault.kind, fault.subject, fault.detail))
        self._report.manifests = consistency.manifests


def _remove_unnamed(db: Connection, row: BlobRow, keep: timedelta) -> bool:
    if damage.is_current(db, row):
        return False
    now = _now()
    reason = removed.Reason.UNNAMED
    removed.add_bytes(db, row.digest, row.size, row.location, reason, now=now, due_at=now + keep)
    return True


async def in_parallel(items: AsyncIterator[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each item, for a few at the same time; the first failure ends it."""
    queue: asyncio.Queue[T | None] = asyncio.Queue(_AT_ONCE)

    async def take() -> None:
        while (item := await queue.get()) is not None:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(take())
            async for item in items:
                await queue.put(item)
            for _ in range(_AT_ONCE):
                await queue.put(None)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _now() -> datetime:
    return datetime.now(UTC)
