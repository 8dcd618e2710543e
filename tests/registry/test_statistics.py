"""Counting pulls: in memory, then in the database, each once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import pytest

from auth.identity import ANONYMOUS, SYSTEM
from registry.errors import Problem
from registry.interface import Registry
from registry.local import LocalRegistry
from registry.names import Reference, Tag
from registry.statistics import Day, Statistics, TagCount
from storage.metadata.engine import Metadata, MetadataUnavailable
from tests.registry.content import image, index, name, pull, push, refused
from tests.registry.registries import Stores

APP: Final = name("team/app")
V1: Final = Tag("v1")

IMAGE: Final = image(tags=["v1"], layers=[b"layer"])


class Stumbling:
    """A database whose next `failures` writes fail, and that tells how many there were."""

    def __init__(
        self, metadata: Metadata, failures: int = 0, error: type[Exception] = MetadataUnavailable
    ) -> None:
        self.read = metadata.read
        self._metadata = metadata
        self.failures = failures
        self.error = error
        self.batches: list[int] = []
        self.written = asyncio.Event()

    async def write(self, query: Callable[..., Any], counts: Any) -> Any:
        """Write, or fail."""
        self.batches.append(len(counts))
        if self.failures:
            self.failures -= 1
            raise self.error("not now")
        result = await self._metadata.write(query, counts)
        self.written.set()
        return result

    def statistics(self, **settings: Any) -> Statistics:
        """Return a counter over it."""
        return Statistics(cast(Metadata, self), **settings)


@pytest.fixture
async def pushed(stores: Stores) -> Stores:
    await push(stores.registry(), {"team/app": IMAGE})
    return stores


async def today(counter: Statistics) -> Day:
    return (await counter.daily(SYSTEM, APP, days=1))[-1]


async def tags(counter: Statistics) -> dict[str, tuple[int, int, int]]:
    found = await counter.by_tag(SYSTEM, APP)
    return {each.tag: (each.pulls, each.checks, each.pushes) for each in found}


# -- what counts -----------------------------------------------------------------------------------------

Ask = Callable[[Registry, Reference], Awaitable[object]]


def get(registry: Registry, reference: Reference) -> Awaitable[object]:
    return registry.get_manifest(APP, reference)


def head(registry: Registry, reference: Reference) -> Awaitable[object]:
    return registry.find_manifest(APP, reference)


CHILD: Final = image(layers=[b"child"])
PUSHED: Final = (IMAGE, index(CHILD, tags=["multi"]), image(layers=[b"loose"]))

# (asked how, for what) → what is counted besides the two pushes.
COUNTED: Final[dict[str, tuple[Ask, Reference, dict[str, tuple[int, int]]]]] = {
    "GET of a tag": (get, V1, {"v1": (1, 0)}),
    "HEAD of a tag": (head, V1, {"v1": (0, 1)}),
    "GET of its digest": (get, IMAGE.digest, {"v1": (1, 0)}),
    "HEAD of its digest": (head, IMAGE.digest, {"v1": (0, 1)}),
    "GET of a child": (get, CHILD.digest, {}),
    "HEAD of a child": (head, CHILD.digest, {}),
    "GET of what has no tag": (get, PUSHED[2].digest, {"": (1, 0)}),
}


@pytest.mark.parametrize("case", COUNTED)
async def test_what_counts(local: LocalRegistry, case: str) -> None:
    ask, reference, expected = COUNTED[case]
    await push(local, {"team/app": PUSHED})
    await local.statistics.flush()
    assert await tags(local.statistics) == {"v1": (0, 0, 1), "multi": (0, 0, 1)}
    await ask(local, reference)
    await local.statistics.flush()
    counted = await tags(local.statistics)
    assert {tag: each[:2] for tag, each in counted.items() if any(each[:2])} == expected


async def test_what_is_not_there_counts_nothing(local: LocalRegistry) -> None:
    await push(local, {"team/app": IMAGE})
    for ask in (get, head):
        with refused(Problem.MANIFEST_UNKNOWN):
            await ask(local, Tag("none"))
    await local.statistics.flush()
    assert await tags(local.statistics) == {"v1": (0, 0, 1)}


async def test_pull_of_an_index_is_one(local: LocalRegistry) -> None:
    await push(local, {"team/app": PUSHED})
    await pull(local, "team/app", Tag("multi"))
    await local.statistics.flush()
    assert (await tags(local.statistics))["multi"] == (1, 0, 1)


async def test_callers_count_together(local: LocalRegistry) -> None:
    await push(local, {"team/app": IMAGE})
    for caller in (ANONYMOUS, SYSTEM):
        await local.acting_for(caller).get_manifest(APP, V1)
    await local.statistics.flush()
    assert (await today(local.statistics)).pulls == 2


# -- when it is written ----------------------------------------------------------------------------------


async def test_pull_writes_nothing(pushed: Stores) -> None:
    stumbling = Stumbling(pushed.metadata)
    counter = stumbling.statistics()
    for _ in range(1000):
        counter.note_pull(APP, V1)
    assert stumbling.batches == []
    assert (await today(counter)).pulls == 0
    await counter.flush()
    assert stumbling.batches == [1]
    assert (await today(counter)).pulls == 1000
    await counter.flush()
    assert stumbling.batches == [1]


async def test_counts_go_in_batches(pushed: Stores) -> None:
    stumbling = Stumbling(pushed.metadata)
    counter = stumbling.statistics()
    for number in range(450):
        counter.note_check(APP, Tag(f"t{number}"))
    await counter.flush()
    assert stumbling.batches == [200, 200, 50]
    assert (await today(counter)).checks == 450


@pytest.mark.parametrize("failing", [1, 2])
async def test_what_could_not_be_written_is_kept(pushed: Stores, failing: int) -> None:
    stumbling = Stumbling(pushed.metadata, failing)
    counter = stumbling.statistics()
    for number in range(300):
        counter.note_pull(APP, Tag(f"t{number}"))
    for _ in range(failing):
        with pytest.raises(MetadataUnavailable):
            await counter.flush()
        counter.note_pull(APP, Tag("t0"))
    await counter.flush()
    assert (await today(counter)).pulls == 300 + failing


async def test_what_cannot_be_written_at_all_is_let_go(pushed: Stores) -> None:
    counter = Stumbling(pushed.metadata, 1, ValueError).statistics()
    counter.note_pull(APP, V1)
    with pytest.raises(ValueError, match="not now"):
        await counter.flush()
    counter.note_pull(APP, V1)
    await counter.flush()
    assert (await today(counter)).pulls == 1


async def test_memory_is_bounded(pushed: Stores) -> None:
    counter = Statistics(pushed.metadata, limit=2)
    for tag in ("a", "b", "c", "a"):
        counter.note_pull(APP, Tag(tag))
    await counter.flush()
    assert await tags(counter) == {"a": (2, 0, 0), "b": (1, 0, 0)}


async def test_full_memory_is_written_before_its_time(pushed: Stores) -> None:
    stumbling = Stumbling(pushed.metadata)
    counter = stumbling.statistics(interval=3600, limit=2)
    running = asyncio.ensure_future(counter.run_forever())
    for tag in ("a", "b"):
        counter.note_pull(APP, Tag(tag))
    async with asyncio.timeout(20):
        await stumbling.written.wait()
    await _end(running)
    assert await tags(counter) == {"a": (1, 0, 0), "b": (1, 0, 0)}


async def test_end_in_the_middle_of_a_write_counts_once(pushed: Stores) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Stumbling):
        async def write(self, query: Callable[..., Any], counts: Any) -> Any:
            entered.set()
            await go_on.wait()
            return await super().write(query, counts)

    counter = Slow(pushed.metadata).statistics(interval=0, limit=10)
    counter.note_pull(APP, V1)
    running = asyncio.ensure_future(counter.run_forever())
    async with asyncio.timeout(20):
        await entered.wait()
    await _end(running)
    counter.note_pull(APP, V1)
    finishing = asyncio.ensure_future(counter.finish())
    go_on.set()
    await finishing
    assert (await today(counter)).pulls == 2


async def test_failure_does_not_end_the_counting(pushed: Stores) -> None:
    stumbling = Stumbling(pushed.metadata, 2)
    counter = stumbling.statistics(interval=0)
    counter.note_pull(APP, V1)
    running = asyncio.ensure_future(counter.run_forever())
    async with asyncio.timeout(20):
        await stumbling.written.wait()
    await _end(running)
    assert stumbling.batches == [1, 1, 1]
    assert (await today(counter)).pulls == 1


async def _end(running: "asyncio.Future[None]") -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# -- reading ---------------------------------------------------------------------------------------------


async def test_statistics_are_for_who_sees_the_repository(local: LocalRegistry) -> None:
    await push(local, {"team/app": IMAGE})
    for asked in (local.statistics.daily(ANONYMOUS, APP), local.statistics.by_tag(ANONYMOUS, APP)):
        with refused(Problem.NOT_HERE):
            await asked
    assert len(await local.statistics.daily(SYSTEM, APP, days=7, tag="v1")) == 7


async def test_processes_add_up(pushed: Stores, other_stores: Stores) -> None:
    for stores in (pushed, other_stores):
        counter = Statistics(stores.metadata)
        counter.note_pull(APP, V1)
        await counter.flush()
    assert await Statistics(pushed.metadata).by_tag(SYSTEM, APP) == [TagCount("v1", 2, 0, 0)]
