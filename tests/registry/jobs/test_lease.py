"""A job is done by one process at a time, and outlives its failures."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import structlog
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from registry.jobs import lease
from registry.jobs.lease import Job
from storage.metadata import leases, schema
from storage.metadata.engine import Connection
from tests.registry.registries import Stores

HOUR: Final = 3600.0


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that no earlier test has bound to its own configuration."""
    monkeypatch.setattr(lease, "_log", structlog.stdlib.get_logger())


class Work:
    """Counts how often it is done; fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.done = 0
        self.failures = failures
        self.happened = asyncio.Event()

    async def __call__(self) -> None:
        self.done += 1
        self.happened.set()
        if self.done <= self.failures:
            raise RuntimeError("broken")


async def let_the_lease_expire(stores: Stores) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await stores.metadata.write(lambda db: db.execute(update(schema.leases).values(expires_at=past)))


async def test_one_of_two_does_it(stores: Stores, other_stores: Stores) -> None:
    work = Work()
    here, there = (Job(each.metadata, "sweep", HOUR, work) for each in (stores, other_stores))
    assert sorted(await asyncio.gather(here.run_once(), there.run_once())) == [False, True]
    assert work.done == 1


async def test_many_at_once(stores: Stores) -> None:
    work = Work()
    jobs = [Job(stores.metadata, "sweep", HOUR, work) for _ in range(20)]
    assert sum(await asyncio.gather(*(job.run_once() for job in jobs))) == 1
    assert work.done == 1


async def test_holder_keeps_its_turn(stores: Stores) -> None:
    work = Work()
    holder, other = (Job(stores.metadata, "sweep", HOUR, work) for _ in range(2))
    assert [await holder.run_once(), await other.run_once(), await holder.run_once()] == [True, False, True]
    assert work.done == 2


async def test_another_takes_over_when_the_lease_has_expired(stores: Stores) -> None:
    work = Work()
    gone, other = (Job(stores.metadata, "sweep", HOUR, work) for _ in range(2))
    assert await gone.run_once()
    assert not await other.run_once()
    await let_the_lease_expire(stores)
    assert await other.run_once()
    assert not await gone.run_once()


async def test_jobs_of_other_names_do_not_wait(stores: Stores) -> None:
    work = Work()
    for name in ("one", "two"):
        assert await Job(stores.metadata, name, HOUR, work).run_once()
    assert work.done == 2


async def test_lease_lasts_one_interval(stores: Stores) -> None:
    before = datetime.now(UTC)
    await Job(stores.metadata, "sweep", HOUR, Work()).run_once()

    def expires_at(db: Connection) -> datetime:
        found: datetime = db.execute(select(schema.leases.c.expires_at)).scalar_one()
        return found

    expiry = await stores.metadata.read(expires_at)
    assert before <= expiry - timedelta(seconds=HOUR) <= datetime.now(UTC)


async def test_failure_is_logged_and_the_next_turn_tries_again(stores: Stores) -> None:
    work = Work(failures=1)
    job = Job(stores.metadata, "sweep", HOUR, work)
    with capture_logs() as logs:
        assert await job.run_once()
    [entry] = logs
    assert (entry["event"], entry["log_level"], entry["job"]) == ("job failed", "error", "sweep")
    with capture_logs() as logs:
        assert await job.run_once()
    assert logs == []
    assert work.done == 2


async def test_what_came_of_a_turn_is_kept(stores: Stores) -> None:
    before = datetime.now(UTC)
    job = Job(stores.metadata, "sweep", HOUR, Work(failures=1))
    found: list[leases.Lease] = []
    for _ in range(2):
        with capture_logs():
            await job.run_once()
        found += await stores.metadata.read(leases.taken)
    assert [each.failed for each in found] == [True, False]
    assert all(each.began_at and each.began_at >= before for each in found)
    assert all(each.seconds is not None and each.seconds >= 0 for each in found)


async def test_failure_does_not_pass_the_turn_on(stores: Stores) -> None:
    failing, other = Work(failures=1), Work()
    with capture_logs():
        await Job(stores.metadata, "sweep", HOUR, failing).run_once()
    assert not await Job(stores.metadata, "sweep", HOUR, other).run_once()


async def test_it_runs_until_it_is_cancelled(stores: Stores) -> None:
    work = Work(failures=2)
    with capture_logs() as logs:
        running = asyncio.create_task(Job(stores.metadata, "sweep", 0.0, work).run_forever())
        while work.done < 5:
            work.happened.clear()
            await work.happened.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [entry["event"] for entry in logs] == ["job failed"] * 2


async def test_work_that_is_cancelled_is_no_failure(stores: Stores) -> None:
    started = asyncio.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    with capture_logs() as logs:
        running = asyncio.create_task(Job(stores.metadata, "sweep", HOUR, endless).run_once())
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert logs == []


async def test_lost_lease_row_is_taken_anew(stores: Stores) -> None:
    job = Job(stores.metadata, "sweep", HOUR, Work())
    assert await job.run_once()
    await stores.metadata.write(lambda db: db.execute(delete(schema.leases)))
    assert await job.run_once()


async def test_turns_are_told_of_where_they_are_taken(stores: Stores, other_stores: Stores) -> None:
    here: list[bool] = []
    there: list[bool] = []
    work = Work(failures=1)
    job = Job(stores.metadata, "sweep", HOUR, work, here.append)
    other = Job(other_stores.metadata, "sweep", HOUR, work, there.append)
    for _ in range(3):
        await job.run_once()
        await other.run_once()
    assert (here, there) == ([True, False, False], [])
