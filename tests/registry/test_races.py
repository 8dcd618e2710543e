"""Many clients at once, and a collector that waits for nobody: what was told as done can be pulled.

`LONGSHORE_TEST_SEED` repeats the choices of a run; a failure tells its seed.
"""

import asyncio
import contextlib
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.grace import Grace
from registry.holds import UploadHolds
from registry.jobs.collect import Collector
from storage.blobs import BlobReader, BlobStore
from storage.filesystem import FileStore
from storage.metadata.migrate import migrate_sqlite
from storage.s3 import S3Store
from storage.s3_client import S3Place
from storage.s3_parts import MIN_PART, PartPlan
from tests.postgres import PostgresServer
from tests.registry.conftest import IN_MEMORY
from tests.registry.registries import Stores, opened
from tests.registry.remains import assert_no_garbage
from tests.registry.stores import WrappedStore
from tests.registry.storm import Storm, check, years_later
from tests.storage.servers import BUCKET, S3Server


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("LONGSHORE_TEST_SEED", random.randrange(2**32)))
    sys.stdout.write(f"LONGSHORE_TEST_SEED={seed}\n")
    return seed


@pytest.fixture
def own_data() -> Iterator[Path]:
    """A data directory of the test's own: its bytes are counted."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        yield Path(text)


@contextlib.asynccontextmanager
async def nodes(data: Path, dsn: str | None, number: int) -> AsyncIterator[Sequence[Stores]]:
    """Open the same stores several times, as so many processes do."""
    async with contextlib.AsyncExitStack() as stack:
        if dsn is None:
            migrate_sqlite(data / "longshore.db")
        await FileStore(data).prepare()
        yield [await stack.enter_async_context(opened(data, dsn)) for _ in range(number)]


class Hesitant(WrappedStore):
    """A store that lets others come first between what a row says and what is done about it."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self._opened = 0

    async def delete(self, locations: Sequence[str]) -> None:
        await asyncio.sleep(0.01)
        await self.store.delete(locations)

    async def open(self, location: str) -> BlobReader:
        self._opened += 1
        await asyncio.sleep(0.05 if self._opened % 8 == 0 else 0)
        return await self.store.open(location)


def hesitant(nodes: Sequence[Stores]) -> Sequence[Stores]:
    return [replace(each, store=Hesitant(each.store)) for each in nodes]


async def weather(storm: Storm, clients: int) -> None:
    """Let the storm pass, and hold what it leaves against what it told."""
    await storm.blow(clients)
    sys.stdout.write(f"{dict(storm.done)}\n")
    node = storm.nodes[0]
    registry = node.registry()
    await Collector(node.metadata, node.store, Grace(*[timedelta()] * 3), clock=years_later).collect_all()
    for key, told in storm.told.items():
        await check(registry, key, told.content, told.referrers)
    await assert_no_garbage(node)
    # It was worth it: each of these did happen.
    for what in ("pushed", "pull", "mounted", "referred", "manifests collected", "blobs deleted"):
        assert storm.done[what] > 0, what


async def test_storm_on_sqlite(own_data: Path, seed: int) -> None:
    async with nodes(own_data, None, 2) as stores:
        storm = Storm(hesitant(stores), seed, 10_000, hurry=True)
        await weather(storm, clients=12)
    assert sum(storm.done.values()) >= 10_000


async def test_storm_on_three_nodes_with_postgresql(
    own_data: Path, seed: int, migrated_postgres: str, postgres: PostgresServer
) -> None:
    assert migrated_postgres
    async with nodes(own_data, postgres.create("migrated"), 3) as stores:
        await weather(Storm(hesitant(stores), seed, 1_000, hurry=True), clients=9)


@pytest.mark.e2e
async def test_storm_on_a_bucket(own_data: Path, seed: int, minio: S3Server) -> None:
    async with nodes(own_data, None, 2) as stores:
        place = S3Place(BUCKET, f"storm-{seed}", endpoint=minio.endpoint)
        plan = PartPlan.of(MIN_PART, growing=False)
        with_bucket = [
            replace(each, store=S3Store(place, UploadHolds(each.metadata), plan)) for each in stores
        ]
        await weather(Storm(with_bucket, seed, 1_500), clients=6)
