"""Numbers that the database tells are shown, also when it was away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from registry.jobs import showing
from registry.jobs.showing import show_forever
from storage.metadata import backups, damage
from storage.metadata.engine import Connection, MetadataUnavailable
from tests.registry.content import push_blob
from tests.registry.registries import Stores

T = TypeVar("T")


@contextlib.asynccontextmanager
async def shown(stores: Stores, query: Callable[[Connection], T]) -> AsyncIterator[asyncio.Queue[T]]:
    """What is shown, one after the other."""
    found = asyncio.Queue[T]()
    task = asyncio.create_task(show_forever(stores.metadata, query, found.put_nowait))
    try:
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_damaged_blobs_are_shown(stores: Stores) -> None:
    digest = await push_blob(stores.registry(), "team/app", b"shown")
    row = await stores.metadata.lookup(damage.find, digest)
    assert row is not None
    await stores.metadata.write(damage.note_damaged, row, now=datetime.now(UTC))
    async with shown(stores, damage.count) as found:
        assert await found.get() == 1


async def test_backup_is_shown_once_one_was_finished(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_INTERVAL", 0.01)
    now = datetime.now(UTC)
    async with shown(stores, backups.finished_at) as found:
        assert await found.get() is None
        await stores.metadata.write(backups.begin, "one", "/a", now=now, until=now)
        await stores.metadata.write(backups.finish, "one", now=now)
        while (finished_at := await found.get()) is None:
            pass
    assert finished_at == now


async def test_database_that_was_away_is_asked_again(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_INTERVAL", 0.01)
    asked: list[Any] = []

    def fail_once(db: Connection) -> int:
        asked.append(db)
        if len(asked) == 1:
            raise MetadataUnavailable("away")
        return len(asked)

    async with shown(stores, fail_once) as found:
        assert await found.get() == 2
