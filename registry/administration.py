"""What administrators look at: who takes how much, what runs, what is set, whether all is well."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from auth.identity import Identity
from registry.config import Loaded, Row, rows
from registry.guards import require_administrator
from registry.listing import Listing, decode, page
from storage.blobs import BlobStore, Space
from storage.metadata import leases, repositories, usage
from storage.metadata.engine import Connection, Metadata, MetadataFull, MetadataUnavailable
from storage.metadata.usage import NamespaceUse, Totals

__all__ = ["Administration", "Health", "Job", "NamespaceUse", "Row", "Space", "Totals"]

# Seconds that a database is given to take a write before it counts as one that cannot.
_PATIENCE: Final = 5.0

# Seconds for which what took long to add up is told again, and pages that are kept.
_FRESH: Final = 60.0
_PAGES: Final = 64


@dataclass(frozen=True, slots=True)
class Job:
    """Background work: the process that has the turn, until when, and what came of the last turn that ended.

    `began_at`, `seconds` and `failed` are of that one, None before there was any.
    """

    name: str
    holder: str
    until: datetime
    current: bool
    """Whether that is still to come: a job that nobody has had for long does not run."""
    began_at: datetime | None = None
    seconds: float | None = None
    failed: bool | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How the registry is; `database` says whether it takes writes, `seconds` how long one took."""

    database: bool
    seconds: float
    space: Space | None
    totals: Totals | None


class Administration:
    """For administrators alone."""

    def __init__(self, metadata: Metadata, store: BlobStore, loaded: Loaded) -> None:
        self._metadata = metadata
        self._store = store
        self._loaded = loaded
        self._pages: dict[tuple[str, int], tuple[float, Sequence[NamespaceUse]]] = {}
        self._totals: tuple[float, Totals] | None = None

    async def namespaces(
        self, caller: Identity, *, cursor: str | None = None, limit: int = 25
    ) -> Listing[NamespaceUse]:
        """List the namespaces by name with what they take, as it was a minute ago at most."""
        require_administrator(caller)
        last = decode(cursor, str)
        key = (last[0] if last else "", limit)
        now = time.monotonic()
        known = self._pages.get(key)
        if known is None or now - known[0] > _FRESH:
            found = await self._metadata.read(usage.by_namespace, last=key[0], limit=limit + 1)
            if len(self._pages) >= _PAGES:
                self._pages.clear()
            known = self._pages[key] = (now, found)
        return page(known[1], limit, lambda each: (each.name,))

    async def jobs(self, caller: Identity) -> Sequence[Job]:
        """List the background jobs by name."""
        require_administrator(caller)
        now = datetime.now(UTC)
        found = await self._metadata.lookup(leases.taken)
        return [
            Job(
                each.name,
                each.holder,
                each.expires_at,
                each.expires_at > now,
                each.began_at,
                each.seconds,
                each.failed,
            )
            for each in found
        ]

    async def settings(self, caller: Identity) -> Sequence[Row]:
        """List the settings in force and where each comes from, secrets masked."""
        require_administrator(caller)
        return list(rows(self._loaded))

    async def health(self, caller: Identity) -> Health:
        """Tell whether the database takes writes, how much room there is, and how much of everything."""
        require_administrator(caller)
        began = time.monotonic()
        writable = await self._is_writable()
        seconds = time.monotonic() - began
        return Health(writable, seconds, await self._store.space(), await self._count())

    async def _is_writable(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._metadata.write(_nothing)
        except (TimeoutError, MetadataUnavailable, MetadataFull):
            return False
        return True

    async def _count(self) -> Totals | None:
        now = time.monotonic()
        if self._totals is None or now - self._totals[0] > _FRESH:
            try:
                self._totals = (now, await self._metadata.read(usage.totals))
            except MetadataUnavailable:
                return None
        return self._totals[1]


def _nothing(db: Connection) -> None:
    repositories.exists(db, "library/readiness")
