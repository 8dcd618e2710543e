"""Blobs are read again, those first that were verified longest ago; what is damaged is fenced and counted."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import structlog
from sqlalchemy import update
from structlog.testing import capture_logs

from registry import doubts
from registry.errors import Problem
from registry.jobs import scrub as scrubbing
from registry.jobs.scrub import Scrub
from registry.local import LocalRegistry
from storage.blobs import BlobReader
from storage.digest import Digest
from storage.metadata import damage, schema
from tests.registry.content import name, push_blob, read_blob, refused
from tests.registry.damage import flip, path_of
from tests.registry.registries import Stores
from tests.registry.stores import WrappedStore

FAST: Final = 1 << 40
DAY: Final = timedelta(days=1)


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers that no earlier test has bound to their own configuration."""
    for module in (scrubbing, doubts):
        monkeypatch.setattr(module, "_log", structlog.stdlib.get_logger())


class Reading(WrappedStore):
    """A store that knows what was read."""

    def __init__(self, stores: Stores) -> None:
        super().__init__(stores.store)
        self.opened: list[str] = []

    async def open(self, location: str) -> BlobReader:
        self.opened.append(location.partition("/")[2].partition("/")[2].partition(".")[0])
        return await super().open(location)


async def age(stores: Stores, digest: Digest, days: int) -> None:
    """Let a blob have been verified so many days ago."""
    then = datetime.now(UTC) - days * DAY
    table = schema.blobs
    await stores.metadata.write(
        lambda db: db.execute(update(table).where(table.c.digest == digest).values(verified_at=then))
    )


async def push_aged(stores: Stores, content: bytes, days: int) -> Digest:
    digest = await push_blob(stores.registry(), "team/app", content)
    await age(stores, digest, days)
    return digest


async def test_longest_ago_comes_first_and_what_was_read_lately_not_at_all(stores: Stores) -> None:
    store = Reading(stores)
    digests = [await push_aged(stores, b"%d" % days, days) for days in (10, 30, 20, 1)]
    read: list[int] = []
    await Scrub(stores.metadata, store, FAST, read.append)()
    assert store.opened == [digests[each].hex for each in (1, 2, 0)]
    assert read == [2, 2, 2]
    await Scrub(stores.metadata, store, FAST)()
    assert len(store.opened) == 3


async def test_damage_is_fenced_logged_and_counted(data: Path, stores: Stores, local: LocalRegistry) -> None:
    content = b"this will be damaged by the test of the scrub"
    digest = await push_aged(stores, content, 30)
    flip(path_of(data, digest))
    found: list[int] = []
    with capture_logs() as logs:
        await Scrub(stores.metadata, stores.store, FAST, on_damage=found.append)()
    assert found == [1]
    told = next(each for each in logs if each["event"] == "blob is damaged")
    assert (told["digest"], told["damage"], told["log_level"]) == (digest, "corrupt", "error")
    with refused(Problem.BLOB_UNKNOWN):
        await local.find_blob(name("team/app"), digest)
    # What recovers by itself is served again: a disk may have come back.
    flip(path_of(data, digest))
    await Scrub(stores.metadata, stores.store, FAST)()
    assert await read_blob(local, "team/app", digest) == content
    path_of(data, digest).unlink()


async def test_damaged_blobs_are_looked_at_in_turns(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_PAGE", 1)
    store = Reading(stores)
    digests = [await push_blob(stores.registry(), "team/app", b"gone %d" % each) for each in range(2)]
    for number, digest in enumerate(digests):
        then = datetime.now(UTC) - (9 - number) * DAY
        table = schema.blobs
        changed = update(table).where(table.c.digest == digest)
        values = {"damaged_at": then, "location": f"sha256/00/{digest.hex}.lost"}
        await stores.metadata.write(lambda db, s=changed, v=values: db.execute(s.values(**v)))  # type: ignore[misc]
    for number in range(2):
        await Scrub(stores.metadata, store, FAST)()
        rows = await stores.metadata.read(damage.least_looked_at, limit=9)
        assert [row.digest for row in rows] == [digests[1 - number], digests[number]]


async def test_pace_is_kept(stores: Stores) -> None:
    for number in range(3):
        await push_aged(stores, bytes(200_000) + b"%d" % number, 30)
    began = time.monotonic()
    await Scrub(stores.metadata, stores.store, 2_000_000)()
    assert time.monotonic() - began >= 0.3  # three times 200 kB and 64 KiB


async def test_turn_has_an_end(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Reading(stores)
    for number in range(5):
        await push_aged(stores, b"turn %d" % number, 30 + number)
    monkeypatch.setattr(scrubbing, "_TURN", 1)
    # A blob counts for 64 KiB and its own bytes: two of them are more than a turn's.
    rate = 100_000
    await Scrub(stores.metadata, store, rate)()
    assert len(store.opened) == 2
