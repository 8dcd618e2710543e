"""What nothing needs goes, rows first and then bytes; what somebody needs stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import structlog
from aiohttp import ClientSession
from sqlalchemy import func, select
from structlog.testing import capture_logs

from registry.collected import Collected
from registry.errors import Problem
from registry.grace import Grace
from registry.holds import UploadHolds
from registry.jobs import collect
from registry.jobs.collect import Collector
from registry.jobs.lease import Job
from registry.local import LocalRegistry, Rules
from registry.names import Tag
from storage.blobs import BlobStore, StoreUnavailable
from storage.digest import Digest
from storage.metadata import removed, repositories, schema
from storage.metadata.engine import Connection
from storage.s3 import S3Store
from storage.s3_client import S3Place
from storage.s3_parts import MIN_PART, PartPlan
from tests.registry.content import (
    image,
    index,
    name,
    pull,
    push,
    push_blob,
    put,
    read_blob,
    refused,
)
from tests.registry.registries import Stores
from tests.registry.stores import WrappedStore
from tests.storage.servers import BUCKET, S3Server

APP: Final = name("team/app")
HOUR: Final = timedelta(hours=1)
GRACE: Final = Grace(blobs=HOUR, quarantine=2 * HOUR, untagged=3 * HOUR)
CONTENT: Final = b"content"


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that no earlier test has bound to its own configuration."""
    monkeypatch.setattr(collect, "_log", structlog.stdlib.get_logger())


class Clock:
    """A clock that is set forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Turns:
    """A collector, and what its turns came to."""

    def __init__(self, stores: Stores, store: BlobStore | None = None, grace: Grace = GRACE) -> None:
        self.clock = Clock()
        self.reports: list[Collected] = []
        store = store or stores.store
        self.collector = Collector(stores.metadata, store, grace, self.reports.append, self.clock)
        # Under the lease, whose row keeps the position.
        self._job = Job(stores.metadata, collect.NAME, 3600, self.collector)

    async def turn(self, ahead: timedelta = timedelta()) -> Collected:
        """Take a turn so much later."""
        self.clock.ahead += ahead
        assert await self._job.run_once()
        return self.reports[-1]


@pytest.fixture
def turns(stores: Stores) -> Turns:
    return Turns(stores)


async def kept_bytes(store: BlobStore) -> set[str]:
    """Return the locations of all bytes."""
    return {each.location async for page in store.walk() for each in page}


async def named_bytes(stores: Stores) -> set[str]:
    """Return the locations that rows tell of."""

    def run(db: Connection) -> set[str]:
        return set(db.execute(select(schema.blobs.c.location)).scalars())

    return await stores.metadata.read(run)


async def count(stores: Stores, *tables: str) -> Sequence[int]:
    def rows(db: Connection) -> Sequence[int]:
        named = [select(func.count()).select_from(schema.metadata.tables[table]) for table in tables]
        return [db.execute(statement).scalar_one() for statement in named]

    return await stores.metadata.read(rows)


async def test_blob_that_no_manifest_names_goes_step_by_step(
    stores: Stores, local: LocalRegistry, turns: Turns
) -> None:
    digest = await push_blob(local, APP, CONTENT)
    [location] = await named_bytes(stores)
    assert await turns.turn(HOUR - timedelta(seconds=60)) == Collected()
    assert await read_blob(local, APP, digest) == CONTENT
    taken = await turns.turn(timedelta(seconds=61))
    assert (taken.links, taken.blobs, taken.deleted) == (1, 1, 0)
    assert (taken.waiting.count, taken.waiting.size) == (1, len(CONTENT))
    with refused(Problem.BLOB_UNKNOWN):
        await local.find_blob(APP, digest)
    assert location in await kept_bytes(stores.store)
    await turns.turn(2 * HOUR - timedelta(seconds=60))
    assert location in await kept_bytes(stores.store)
    freed = await turns.turn(timedelta(seconds=61))
    assert (freed.deleted, freed.freed, freed.waiting.count) == (1, len(CONTENT), 0)
    assert location not in await kept_bytes(stores.store)
    assert await count(stores, "blobs", "blob_links", "removed_content") == [0, 0, 0]


async def test_what_tags_lead_to_stays(stores: Stores, local: LocalRegistry, turns: Turns) -> None:
    child = image(layers=[b"shared", b"layer"])
    whole = index(child, image(layers=[b"shared", b"other"]), tags=["v1"])
    about = image(layers=[b"signature"], subject=child.descriptor)
    await push(local, {"team/app": [whole, about], "team/other": image(tags=["v1"], layers=[b"shared"])})
    for _ in range(3):
        turn = await turns.turn(1000 * HOUR)
        assert (turn.manifests, turn.links, turn.blobs) == (0, 0, 0)
    assert len(await pull(local, "team/app", Tag("v1"))) == 7
    assert len(await pull(local, "team/app", about.digest)) == 3


async def test_untagged_index_goes_with_all_of_it(stores: Stores, local: LocalRegistry, turns: Turns) -> None:
    child = image(layers=[b"layer"])
    about = image(layers=[b"signature"], subject=child.descriptor)
    kept = image(tags=["kept"], layers=[b"kept"])
    await push(local, {"team/app": [index(child, tags=["v1"]), about, kept]})
    await turns.turn(1000 * HOUR)
    await local.delete_tag(APP, Tag("v1"))
    turns.clock.ahead = timedelta()
    assert (await turns.turn(2 * HOUR)).manifests == 0
    assert (await turns.turn(HOUR)).manifests == 3
    assert (await turns.turn(HOUR)).blobs == 2
    assert (await turns.turn(2 * HOUR)).deleted == 2
    assert await count(stores, "manifests", "blobs", "removed_content") == [1, 2, 0]
    assert len(await pull(local, "team/app", Tag("kept"))) == 3
    assert await kept_bytes(stores.store) >= await named_bytes(stores)


async def test_untagged_manifests_stay_where_no_time_is_set(stores: Stores, local: LocalRegistry) -> None:
    turns = Turns(stores, grace=Grace())
    loose = image(layers=[b"layer"])
    await push(local, {"team/app": loose})
    await turns.turn(99_999 * HOUR)
    assert len(await pull(local, "team/app", loose.digest)) == 3


@pytest.mark.parametrize("what", ["manifest", "repository", "blob"])
async def test_all_deletions_end_here(stores: Stores, local: LocalRegistry, turns: Turns, what: str) -> None:
    v1 = image(tags=["v1"], layers=[b"layer"])
    await push(local, {"team/app": v1})
    match what:
        case "manifest":
            await local.delete_manifest(APP, v1.digest)
        case "repository":
            await stores.metadata.write(repositories.remove, APP)
        case "blob":
            await local.delete_manifest(APP, v1.digest)
            for blob in (b"{}", b"layer"):
                await local.delete_blob(APP, Digest.of(blob))
    for _ in range(3):
        await turns.turn(2 * HOUR)
    assert await count(stores, "blobs", "blob_links", "removed_content") == [0, 0, 0]


async def test_push_that_comes_meanwhile_has_bytes_of_its_own(
    stores: Stores, local: LocalRegistry, turns: Turns
) -> None:
    await push_blob(local, APP, CONTENT)
    [old] = await named_bytes(stores)
    assert (await turns.turn(HOUR)).blobs == 1
    digest = await push_blob(local, APP, CONTENT)
    await put(local, "team/app", image(tags=["v1"], layers=[CONTENT], config=CONTENT))
    assert (await turns.turn(3 * HOUR)).deleted == 1
    assert old not in await kept_bytes(stores.store)
    assert await read_blob(local, APP, digest) == CONTENT


async def test_bounded_turns_go_on_where_they_were(
    stores: Stores, local: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name_, value in {"_PAGE": 2, "_TAKEN": 2, "_LOOKS": 2, "_BATCHES": 1}.items():
        monkeypatch.setattr(collect, name_, value)
    for number in range(7):
        await push_blob(local, APP, bytes([number]))
    turns = Turns(stores)
    first = await turns.turn(HOUR)
    assert (first.links, first.blobs) == (4, 2)
    # Another process has the next turn.
    other = Turns(stores)
    other.clock.ahead = HOUR
    await other.collector()
    assert (other.reports[-1].links, other.reports[-1].blobs) == (3, 2)
    for _ in range(5):
        await turns.turn(HOUR)
    assert await count(stores, "blobs", "blob_links", "removed_content") == [0, 0, 0]


async def test_everything_that_is_due_at_once(
    stores: Stores, local: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name_, value in {"_PAGE": 2, "_TAKEN": 2, "_LOOKS": 1, "_BATCHES": 1}.items():
        monkeypatch.setattr(collect, name_, value)
    for number in range(9):
        await push_blob(local, APP, bytes([number]))
    for number in range(5):
        await put(local, "team/app", image(layers=[bytes([number])], config=bytes([8])))
    clock = Clock()
    clock.ahead = 4 * HOUR
    collector = Collector(stores.metadata, stores.store, Grace(HOUR, timedelta(), HOUR), clock=clock)
    steps: list[int] = []
    collected = await collector.collect_all(lambda so_far: steps.append(so_far.links))
    assert (collected.manifests, collected.links, collected.blobs) == (5, 3, 3)
    assert (collected.deleted, collected.freed, collected.waiting.count) == (3, 3, 0)
    assert steps == sorted(steps)
    clock.ahead += HOUR
    rest = await collector.collect_all()
    assert (rest.links, rest.deleted) == (6, 6)


class Broken(WrappedStore):
    """A store that does not delete some bytes, or dies on the way."""

    def __init__(self, store: BlobStore, error: Exception, *, only: str = "", late: bool = False) -> None:
        super().__init__(store)
        self.error: Exception | None = error
        self.only = only
        self.late = late

    async def delete(self, locations: Sequence[str]) -> None:
        if self.late:
            await self.store.delete(locations)
        if self.error is not None and any(self.only in each for each in locations):
            raise self.error
        await self.store.delete(locations)


@pytest.mark.parametrize("late", [False, True])
async def test_store_that_is_away_is_tried_again(stores: Stores, local: LocalRegistry, late: bool) -> None:
    for number in range(9):
        await push_blob(local, APP, bytes([number]))
    broken = Broken(stores.store, StoreUnavailable("away"), late=late)
    turns = Turns(stores, broken)
    await turns.turn(HOUR)
    turns.clock.ahead += 2 * HOUR
    with pytest.raises(StoreUnavailable):
        await turns.collector()
    assert await count(stores, "removed_content") == [9]
    broken.error = None
    await turns.turn(HOUR)
    assert await count(stores, "removed_content") == [0]
    assert not {each for each in await kept_bytes(stores.store) if each in str(broken)}


async def test_bytes_that_cannot_be_deleted_keep_no_others(stores: Stores, local: LocalRegistry) -> None:
    stuck = await push_blob(local, APP, b"stuck")
    for number in range(5):
        await push_blob(local, APP, bytes([number]))
    broken = Broken(stores.store, PermissionError("no"), only=stuck.hex)
    turns = Turns(stores, broken)
    await turns.turn(HOUR)
    with capture_logs() as logs:
        tried = await turns.turn(2 * HOUR)
    assert (tried.deleted, tried.failed, tried.waiting.count) == (5, 1, 1)
    assert [entry["event"] for entry in logs] == ["bytes cannot be deleted", "collected"]
    assert (await turns.turn()).failed == 0
    broken.error = None
    assert (await turns.turn(HOUR)).deleted == 1


async def test_deletion_that_a_crash_cut_off_is_seen_through(
    stores: Stores, local: LocalRegistry, turns: Turns
) -> None:
    await push_blob(local, APP, CONTENT)
    await turns.turn(HOUR)
    due = await stores.metadata.write(removed.take_due, now=turns.clock() + 9 * HOUR, limit=9)
    await stores.store.delete([due[0].location])
    assert (await turns.turn(2 * HOUR)).deleted == 1
    assert await count(stores, "removed_content") == [0]


async def test_turn_that_did_something_is_worth_a_line(local: LocalRegistry, turns: Turns) -> None:
    await push_blob(local, APP, CONTENT)
    with capture_logs() as logs:
        await turns.turn()
        await turns.turn(HOUR)
        await turns.turn()
    [line] = logs
    assert (line["event"], line["links"], line["blobs"], line["waiting"]) == ("collected", 1, 1, len(CONTENT))


async def test_bytes_that_were_replaced_go_when_nobody_reads_them(
    stores: Stores, local: LocalRegistry, turns: Turns
) -> None:
    content = image(tags=["v1"], layers=[CONTENT])
    await push(local, {"team/app": content})
    before = await named_bytes(stores)
    await push(local, {"team/app": content})
    after = await named_bytes(stores)
    assert not before & after
    assert (await turns.turn()).deleted == 0
    assert (await turns.turn(HOUR)).deleted == 2
    assert await kept_bytes(stores.store) & (before | after) == after
    assert len(await pull(local, "team/app", Tag("v1"))) == 3


@pytest.mark.parametrize("quarantine", [timedelta(), 4 * HOUR])
async def test_bytes_stay_for_clients_that_were_sent_to_them(
    stores: Stores, local: LocalRegistry, quarantine: timedelta
) -> None:
    grace = Grace(blobs=timedelta(seconds=60), quarantine=quarantine, redirected=3 * HOUR)
    turns = Turns(stores, grace=grace)
    await push_blob(local, APP, CONTENT)
    [replaced] = await named_bytes(stores)
    await push_blob(local, APP, CONTENT)
    [unused] = await named_bytes(stores)
    assert (await turns.turn(timedelta(seconds=90))).blobs == 1
    assert (await turns.turn(3 * HOUR - timedelta(seconds=120))).deleted == 0
    assert await kept_bytes(stores.store) >= {replaced, unused}
    assert (await turns.turn(timedelta(seconds=60))).deleted == 1
    assert await kept_bytes(stores.store) & {replaced, unused} == {unused}
    assert (await turns.turn(timedelta(seconds=90))).deleted == (0 if quarantine else 1)
    assert (await turns.turn(HOUR)).deleted == (1 if quarantine else 0)


@pytest.mark.e2e
async def test_url_opens_what_was_replaced_until_its_time_is_over(stores: Stores, minio: S3Server) -> None:
    lifetime = timedelta(days=7)
    place = S3Place(BUCKET, "registry", endpoint=minio.endpoint)
    holds, plan = UploadHolds(stores.metadata), PartPlan.of(MIN_PART, growing=False)
    bucket = S3Store(place, holds, plan, url_lifetime=lifetime // timedelta(seconds=1))
    registry = LocalRegistry(stores.metadata, bucket)
    digest = await push_blob(registry, APP, CONTENT)
    link = await registry.link_blob(APP, digest)
    assert link is not None
    await push_blob(registry, APP, CONTENT)
    turns = Turns(stores, bucket, Grace(blobs=99 * lifetime, redirected=lifetime + HOUR))
    async with ClientSession() as client:
        assert (await turns.turn(lifetime + HOUR - timedelta(seconds=60))).deleted == 0
        async with client.get(link.url) as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)
        assert (await turns.turn(timedelta(seconds=90))).deleted == 1
        async with client.get(link.url) as answer:
            assert answer.status == 404
    assert await read_blob(registry, APP, digest) == CONTENT


@pytest.mark.e2e
async def test_bucket_is_collected(stores: Stores, bucket: BlobStore) -> None:
    registry = LocalRegistry(stores.metadata, bucket, Rules(grace=GRACE))
    kept = image(tags=["kept"], layers=[b"kept"], config=b"kept")
    await push(registry, {"team/app": [kept, image(tags=["v1"], layers=[b"layer"])]})
    await registry.delete_tag(APP, Tag("v1"))
    before = await named_bytes(stores)
    turns = Turns(stores, bucket)
    for _ in range(4):
        await turns.turn(3 * HOUR)
    after = await named_bytes(stores)
    assert len(before - after) == 2
    assert await kept_bytes(bucket) & before == after
    assert len(await pull(registry, "team/app", Tag("kept"))) == 2
