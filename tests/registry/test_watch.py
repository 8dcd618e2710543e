"""Watching pushes: what shows, to whom, and when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity
from auth.policy import Role
from registry.catalog import Catalog, RepositoryEdit
from registry.errors import Problem
from registry.watch import BlobLanded, Event, TagSet, UploadsUnderWay, Watch
from storage.digest import Digest
from storage.metadata import repositories, tags
from storage.metadata.engine import Connection, Metadata
from tests.registry.accounts import add_account
from tests.registry.content import image, name, push, push_blob, put, refused
from tests.registry.registries import Stores

APP: Final = "team/app"

# A moment: tests wait for events, not for a clock.
SOON: Final = 0.001


class Counted:
    """A database that tells how often it is looked at."""

    def __init__(self, metadata: Metadata) -> None:
        self.lookup = metadata.lookup
        self._metadata = metadata
        self.looks = 0

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        """Look."""
        self.looks += 1
        return await self._metadata.read(*args, **kwargs)


@pytest.fixture
async def reader(stores: Stores) -> Identity:
    await push_blob(stores.registry(), APP, b"{}")
    reader = await add_account(stores, "reader")
    await Catalog(stores.metadata).set_role(SYSTEM, APP, "reader", Role.READ)
    return reader


@pytest.fixture
def watch(stores: Stores) -> Watch:
    return Watch(stores.metadata, interval=SOON)


@contextlib.asynccontextmanager
async def following(watch: Watch, caller: Identity) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """Follow the repository, past the events of what came before."""
    async with asyncio.timeout(20), contextlib.aclosing(watch.follow(caller, APP)) as events:
        assert isinstance(await anext(events), UploadsUnderWay)
        yield events


async def until(events: AsyncIterator[Event], kind: type[Event], count: int = 1) -> list[Event]:
    """Return the next events of a kind."""
    found: list[Event] = []
    while len(found) < count:
        event = await anext(events)
        if isinstance(event, kind):
            found.append(event)
    return found


async def test_push_shows_as_it_lands(stores: Stores, other_stores: Stores, reader: Identity) -> None:
    watch, registry = Watch(other_stores.metadata, interval=SOON), stores.registry()
    async with following(watch, reader) as events:
        upload = await registry.start_upload(name(APP), "sha256")
        while (under_way := (await until(events, UploadsUnderWay))[0]) != UploadsUnderWay(1, 0):
            assert under_way == UploadsUnderWay(0, 0)
        await registry.cancel_upload(name(APP), upload.id)
        await push_blob(registry, APP, b"layer")
        while await until(events, BlobLanded) != [BlobLanded(Digest.of(b"layer"), 5)]:
            pass  # what landed a little before
        pushed = image(tags=["v1", "v2"], layers=[b"layer"])
        await put(registry, APP, pushed)
        told = [cast(TagSet, each) for each in await until(events, TagSet, 2)]
        assert [(tag.name, tag.digest, tag.by) for tag in told] == [
            ("v1", pushed.digest, "system"),
            ("v2", pushed.digest, "system"),
        ]


async def test_each_thing_is_told_once(stores: Stores, reader: Identity, watch: Watch) -> None:
    registry = stores.registry()
    async with following(watch, reader) as events:
        for number in range(20):
            await push_blob(registry, APP, b"%d" % number)
        await push(registry, {APP: image(tags=["end"], config=b"config")})
        seen: list[Event] = []
        while not isinstance(event := await anext(events), TagSet):
            seen.append(event)
    blobs = [event.digest for event in seen if isinstance(event, BlobLanded)]
    assert sorted(set(blobs)) == sorted(blobs)
    assert set(blobs) >= {Digest.of(b"%d" % number) for number in range(20)}


async def test_more_than_one_look_holds_is_told_over_several(
    stores: Stores, reader: Identity, watch: Watch
) -> None:
    pushed = image(layers=[])
    await push(stores.registry(), {APP: pushed})
    names = [f"t{number:03}" for number in range(600)]

    def put_tags(db: Connection) -> None:
        app, now = repositories.rights(db, APP, None).repository_id or 0, datetime.now(UTC)
        for number, each in enumerate(names):
            at = now + timedelta(microseconds=number // 100)
            tags.put(db, app, each, pushed.digest, by=None, now=at)

    async with following(watch, reader) as events:
        await stores.metadata.write(put_tags)
        told = [cast(TagSet, each).name for each in await until(events, TagSet, len(names))]
    assert sorted(told) == names


async def test_other_repositories_do_not_show(stores: Stores, reader: Identity, watch: Watch) -> None:
    registry = stores.registry()
    async with following(watch, reader) as events:
        await push(registry, {"team/other": image(tags=["other"], layers=[b"other"])})
        await push(registry, {APP: image(tags=["v1"], layers=[b"one"])})
        seen: list[Event] = []
        while not isinstance(event := await anext(events), TagSet):
            seen.append(event)
    assert event.name == "v1"
    assert BlobLanded(Digest.of(b"one"), 3) in seen
    assert BlobLanded(Digest.of(b"other"), 5) not in seen


@pytest.mark.parametrize("asked", [APP, "team/absent", "No Name"])
async def test_hidden_repository_is_followed_by_nobody(reader: Identity, watch: Watch, asked: str) -> None:
    with refused(Problem.NOT_HERE):
        await anext(watch.follow(ANONYMOUS, asked))
    assert watch.followers == 0


async def test_one_look_serves_all_and_ends_with_the_last(stores: Stores, reader: Identity) -> None:
    counted = Counted(stores.metadata)
    watch = Watch(cast(Metadata, counted), interval=3600)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(following(watch, reader))
        assert (watch.followers, counted.looks) == (5, 1)
    assert watch.followers == 0
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=20)
    assert all(task.done() for task in others)
    async with following(watch, reader):
        assert counted.looks == 2


async def test_followers_are_bounded(stores: Stores, reader: Identity) -> None:
    watch = Watch(stores.metadata, interval=SOON, followers=1)
    async with following(watch, reader):
        with refused(Problem.TOO_MANY_REQUESTS):
            await anext(watch.follow(reader, APP))
    async with following(watch, reader):
        assert watch.followers == 1


async def test_following_ends_after_its_time(stores: Stores, reader: Identity) -> None:
    watch = Watch(stores.metadata, interval=3600, lifetime=0.05)
    async with asyncio.timeout(20):  # far less than the hour after which there is more to tell
        told = [event async for event in watch.follow(reader, APP)]
    # Of the first look at most: nothing, where that took longer than the time.
    assert [type(event) for event in told] in ([UploadsUnderWay, BlobLanded], [])


async def test_following_ends_with_the_right_to_see(stores: Stores, reader: Identity, watch: Watch) -> None:
    async with following(watch, reader) as events:
        await Catalog(stores.metadata).set_role(SYSTEM, APP, "reader", None)
        await push_blob(stores.registry(), APP, b"secret")
        assert [event async for event in events] == []


async def test_following_ends_with_the_repository(stores: Stores, reader: Identity, watch: Watch) -> None:
    async with following(watch, reader) as events:
        await stores.metadata.write(repositories.remove, APP)
        assert [event async for event in events] == []


async def test_following_goes_on_under_another_name(stores: Stores, watch: Watch) -> None:
    owner = await add_account(stores, "owner")
    await push_blob(stores.registry(), "owner/app", b"{}")
    catalog = Catalog(stores.metadata)
    async with asyncio.timeout(20), contextlib.aclosing(watch.follow(owner, "owner/app")) as events:
        await anext(events)
        await catalog.rename(owner, "owner/app", "owner/new")
        await push_blob(stores.registry(), "owner/new", b"layer")
        while await until(events, BlobLanded) != [BlobLanded(Digest.of(b"layer"), 5)]:
            pass


async def test_follower_that_does_not_read_has_to_come_again(stores: Stores, reader: Identity) -> None:
    watch, registry = Watch(stores.metadata, interval=SOON, waiting=3), stores.registry()
    async with following(watch, reader) as events:
        await push(registry, {APP: [image(tags=[f"t{number}"], layers=[]) for number in range(9)]})
        assert len([event async for event in events]) < 9


async def test_public_repository_is_followed_by_everybody(
    stores: Stores, reader: Identity, watch: Watch
) -> None:
    await Catalog(stores.metadata).edit(SYSTEM, APP, RepositoryEdit(public=True))
    async with following(watch, ANONYMOUS):
        assert watch.followers == 1
