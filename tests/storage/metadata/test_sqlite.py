import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from storage.metadata import login_failures, repositories
from storage.metadata.engine import MetadataFull, MetadataReadOnly, insert
from storage.metadata.repositories import NamespaceMissing
from storage.metadata.schema import leases
from storage.metadata.sqlite import SqliteMetadata, driver_of
from tests.storage.metadata.content import NOW, add_repository
from tests.storage.processes import NOW as NOW_OF_OTHERS
from tests.storage.processes import count, run_together

GROUP: Final = 64

NAMES: Final = "SELECT name FROM repositories ORDER BY id"


def add(db: Connection, name: str) -> int:
    return add_repository(db, name)


def names(db: Connection) -> list[str]:
    return list(db.execute(text(NAMES)).scalars())


def fail(db: Connection, name: str, error: Exception) -> None:
    add_repository(db, name)
    raise error


def names_outside(path: Path) -> list[str]:
    """Return what another process would see."""
    outside = sqlite3.connect(path)
    try:
        return [name for (name,) in outside.execute(NAMES)]
    finally:
        outside.close()


@asynccontextmanager
async def writer_kept_waiting(metadata: SqliteMetadata) -> AsyncIterator[None]:
    """Keep the writer at work, so that what is submitted meanwhile waits together."""
    at_work, go = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        at_work.set()
        go.wait()

    waiting = asyncio.create_task(metadata.write(wait))
    await asyncio.to_thread(at_work.wait)
    try:
        yield
        await let_tasks_begin()
    finally:
        go.set()
    await waiting


async def let_tasks_begin() -> None:
    await asyncio.sleep(0)


# What is written is seen


async def test_write_returns_the_value(metadata: SqliteMetadata) -> None:
    assert await metadata.write(add, "library/app") == 1
    assert await metadata.write(names) == ["library/app"]


async def test_commit_is_seen_at_once(metadata: SqliteMetadata, path: Path) -> None:
    for number in range(20):
        name = f"library/app-{number}"
        await metadata.write(add, name)
        assert await metadata.lookup(repositories.exists, name)
        assert await metadata.read(repositories.exists, name)
        assert name in names_outside(path)


async def test_lookup_sees_what_another_process_committed(metadata: SqliteMetadata, path: Path) -> None:
    assert await metadata.lookup(login_failures.find, ["key"]) == {}
    assert await asyncio.to_thread(run_together, 1, count, path, "key", 1) == [0]
    assert "key" in await metadata.lookup(login_failures.find, ["key"])


async def test_arguments_are_passed_on(metadata: SqliteMetadata) -> None:
    def echo(_: Connection, /, *args: int, **kwargs: int) -> tuple[object, object]:
        return args, kwargs

    for run in (metadata.lookup, metadata.read, metadata.write):
        assert await run(echo, 1, 2, three=3) == ((1, 2), {"three": 3})


async def test_readers_see_the_old_state_while_a_write_is_under_way(metadata: SqliteMetadata) -> None:
    added, go = threading.Event(), threading.Event()

    def add_slowly(db: Connection) -> None:
        add(db, "library/app")
        added.set()
        go.wait()

    writing = asyncio.create_task(metadata.write(add_slowly))
    await asyncio.to_thread(added.wait)
    seen = await metadata.lookup(names), await metadata.read(names)
    go.set()
    await writing
    assert seen == ([], [])
    assert (await metadata.lookup(names), await metadata.read(names)) == (["library/app"], ["library/app"])


async def test_read_is_a_snapshot(metadata: SqliteMetadata) -> None:
    begun, go = threading.Event(), threading.Event()

    def read_twice(db: Connection) -> tuple[list[str], list[str]]:
        before = names(db)
        begun.set()
        go.wait()
        return before, names(db)

    reading = asyncio.create_task(metadata.read(read_twice))
    await asyncio.to_thread(begun.wait)
    await metadata.write(add, "library/app")
    go.set()
    assert await reading == ([], [])
    assert await metadata.read(names) == ["library/app"]


async def test_several_reads_run_at_the_same_time(metadata: SqliteMetadata) -> None:
    together = threading.Barrier(3, timeout=60)

    def meet(db: Connection) -> list[str]:
        together.wait()
        return names(db)

    assert await asyncio.gather(*(metadata.read(meet) for _ in range(3))) == [[], [], []]


# Failures


async def test_exception_comes_through_unchanged(metadata: SqliteMetadata) -> None:
    error = NamespaceMissing("nowhere")
    for run in (metadata.lookup, metadata.read, metadata.write):
        with pytest.raises(NamespaceMissing) as raised:
            await run(throw, error)
        assert raised.value is error
        assert await run(names) == []


def throw(_: Connection, error: Exception) -> None:
    raise error


async def test_failed_statement_leaves_the_connection_usable(metadata: SqliteMetadata) -> None:
    for run in (metadata.lookup, metadata.read, metadata.write):
        with pytest.raises(OperationalError, match="no such table"):
            await run(lambda db: db.execute(text("SELECT 1 FROM nowhere")))
        assert await run(names) == []


async def test_failed_write_is_rolled_back(metadata: SqliteMetadata) -> None:
    with pytest.raises(ValueError, match="no"):
        await metadata.write(fail, "library/app", ValueError("no"))
    assert await metadata.lookup(names) == []


async def test_failed_write_leaves_the_others_of_its_group_alone(
    metadata: SqliteMetadata, path: Path
) -> None:
    errors = {number: ValueError(number) for number in (0, 7, 8, 29)}

    def write(db: Connection, number: int) -> int:
        if number in errors:
            fail(db, f"library/app-{number}", errors[number])
        add(db, f"library/app-{number}")
        return number

    async with writer_kept_waiting(metadata):
        writes = [asyncio.create_task(metadata.write(write, number)) for number in range(30)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert results == [errors.get(number, number) for number in range(30)]
    good = [number for number in range(30) if number not in errors]
    assert names_outside(path) == [f"library/app-{number}" for number in good]


async def test_broken_constraint_leaves_the_others_of_its_group_alone(metadata: SqliteMetadata) -> None:
    def break_constraint(db: Connection) -> None:
        add(db, "library/broken")
        db.execute(text("INSERT INTO namespaces (name, created_at) VALUES ('library', 0)"))

    async with writer_kept_waiting(metadata):
        writes = [
            asyncio.create_task(metadata.write(add, "library/one")),
            asyncio.create_task(metadata.write(break_constraint)),
            asyncio.create_task(metadata.write(add, "library/two")),
        ]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [int, IntegrityError, int]
    assert await metadata.lookup(names) == ["library/one", "library/two"]


def fill_disk(db: Connection) -> None:
    """Let the database grow by no page, then ask for many."""
    pages = db.execute(text("PRAGMA page_count")).scalar_one()
    db.execute(text(f"PRAGMA max_page_count = {pages}"))
    try:
        columns = "id, repository, algorithm, offset, started_at, touched_at"
        db.execute(text(f"INSERT INTO uploads ({columns}) VALUES ('x', zeroblob(1000000), '', 0, 0, 0)"))
    finally:
        db.execute(text("PRAGMA max_page_count = 1000000"))


async def full_disk_in_a_group(metadata: SqliteMetadata) -> list[object]:
    async with writer_kept_waiting(metadata):
        writes: list[asyncio.Task[object]] = [
            asyncio.create_task(metadata.write(add, "library/one")),
            asyncio.create_task(metadata.write(fill_disk)),
            asyncio.create_task(metadata.write(add, "library/two")),
        ]
    return list(await asyncio.gather(*writes, return_exceptions=True))


async def test_nothing_of_a_group_is_called_done_when_the_disk_is_full(metadata: SqliteMetadata) -> None:
    results = await full_disk_in_a_group(metadata)
    assert [type(result) for result in results] == [MetadataFull] * 3
    assert await metadata.lookup(names) == []
    await metadata.write(add, "library/later")
    assert await metadata.lookup(names) == ["library/later"]


async def test_full_disk_is_named(metadata: SqliteMetadata) -> None:
    assert "database or disk is full" in str(await full_disk_in_a_group(metadata))


async def test_read_only_file_system_is_named_and_reads_go_on(metadata: SqliteMetadata) -> None:
    await metadata.write(add, "library/one")

    def take_no_writes(db: Connection) -> None:
        db.exec_driver_sql("PRAGMA query_only=ON")  # the error is the one that a read-only file brings about

    await metadata.write(take_no_writes)
    with pytest.raises(MetadataReadOnly):
        await metadata.write(add, "library/two")
    assert await metadata.lookup(names) == ["library/one"]


# Groups


async def test_waiting_writes_share_transactions_of_bounded_size(
    metadata: SqliteMetadata, path: Path
) -> None:
    def write(db: Connection, number: int) -> int:
        add(db, f"library/app-{number}")
        return len(names_outside(path))

    async with writer_kept_waiting(metadata):
        writes = [asyncio.create_task(metadata.write(write, number)) for number in range(2 * GROUP + 1)]
    assert await asyncio.gather(*writes) == [0] * GROUP + [GROUP] * GROUP + [2 * GROUP]


async def test_writes_happen_in_the_order_of_asking(metadata: SqliteMetadata) -> None:
    wanted = [f"library/app-{number}" for number in range(3 * GROUP)]
    await asyncio.gather(*(metadata.write(add, name) for name in wanted))
    assert await metadata.read(names) == wanted


async def test_write_sees_the_one_before_it_in_the_group(metadata: SqliteMetadata) -> None:
    async with writer_kept_waiting(metadata):
        writes = [asyncio.create_task(metadata.write(add, "library/app")) for _ in range(3)]
    assert await asyncio.gather(*writes) == [1, 1, 1]


# Askers that go away


async def test_write_whose_asker_left_before_its_turn_does_not_happen(metadata: SqliteMetadata) -> None:
    async with writer_kept_waiting(metadata):
        gone = asyncio.create_task(metadata.write(add, "library/gone"))
        stays = asyncio.create_task(metadata.write(add, "library/stays"))
        await let_tasks_begin()
        gone.cancel()
    await stays
    assert gone.cancelled()
    assert await metadata.lookup(names) == ["library/stays"]


async def test_asker_that_leaves_while_its_write_runs_waits_for_it(metadata: SqliteMetadata) -> None:
    begun, go = threading.Event(), threading.Event()

    def add_two_slowly(db: Connection) -> None:
        add(db, "library/one")
        begun.set()
        go.wait()
        add(db, "library/two")

    leaves = asyncio.create_task(metadata.write(add_two_slowly))
    await asyncio.to_thread(begun.wait)
    leaves.cancel()
    await let_tasks_begin()
    assert not leaves.done()
    go.set()
    await asyncio.wait([leaves])
    assert leaves.cancelled()
    await metadata.write(add, "library/three")
    assert await metadata.lookup(names) == ["library/one", "library/two", "library/three"]


# Several processes


async def test_processes_lose_no_write_of_each_other(metadata: SqliteMetadata, path: Path) -> None:
    assert await asyncio.to_thread(run_together, 3, count, path, "key", 100) == [0, 0, 0]
    assert await metadata.lookup(login_failures.find, ["key"]) == {"key": (300, NOW_OF_OTHERS)}


async def test_two_open_databases_lose_no_write_of_each_other(metadata: SqliteMetadata, path: Path) -> None:
    other = SqliteMetadata(path)
    try:
        await asyncio.gather(
            *(
                database.write(login_failures.record, ["key"], forget_before=NOW, now=NOW)
                for _ in range(100)
                for database in (metadata, other)
            )
        )
    finally:
        await other.close()
    assert await metadata.lookup(login_failures.find, ["key"]) == {"key": (200, NOW)}


# Closing


async def test_close_finishes_what_was_asked_for(path: Path) -> None:
    metadata = SqliteMetadata(path)
    async with writer_kept_waiting(metadata):
        writes = [asyncio.create_task(metadata.write(add, f"library/app-{n}")) for n in range(2 * GROUP)]
        await let_tasks_begin()
        closing = asyncio.create_task(metadata.close())
        await let_tasks_begin()
    await closing
    assert len(names_outside(path)) == 2 * GROUP
    assert await asyncio.gather(*writes) == list(range(1, 2 * GROUP + 1))


def test_close_lets_go_of_every_file_and_thread(path: Path) -> None:
    before = set(threading.enumerate())
    metadata = SqliteMetadata(path)
    asyncio.run(metadata.write(add, "library/app"))
    asyncio.run(metadata.read(names))
    asyncio.run(metadata.close())
    assert set(threading.enumerate()) <= before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_write_after_close_is_refused(path: Path) -> None:
    metadata = SqliteMetadata(path)
    await metadata.close()
    late = asyncio.create_task(metadata.write(add, "library/app"))
    await asyncio.wait([late], timeout=0.1)
    refused = late.done()
    late.cancel()
    assert refused


# The file


@pytest.mark.parametrize("way", ["lookup", "read", "write"])
async def test_every_connection_is_durable(metadata: SqliteMetadata, way: str) -> None:
    def settings(db: Connection) -> list[object]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [db.execute(text(f"PRAGMA {pragma}")).scalar() for pragma in pragmas]

    ways = {"lookup": metadata.lookup, "read": metadata.read, "write": metadata.write}
    assert await ways[way](settings) == ["wal", 2, 1, 30_000]


async def test_lookup_alone_leaves_no_transaction_open(metadata: SqliteMetadata) -> None:
    def open_after_a_statement(db: Connection) -> bool:
        names(db)
        return driver_of(db).in_transaction

    assert not await metadata.lookup(open_after_a_statement)
    assert await metadata.read(open_after_a_statement)
    assert await metadata.write(open_after_a_statement)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_other_accounts_of_the_machine_cannot_read_it(tmp_path: Path) -> None:
    metadata = SqliteMetadata(tmp_path / "new.db")
    await metadata.write(lambda db: db.execute(text("CREATE TABLE t (x)")))
    modes = modes_in(tmp_path)
    await metadata.close()
    assert modes == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}


def sizes_under(root: Path) -> dict[str, int]:
    return {str(file.relative_to(root)): file.stat().st_size for file in root.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["plain", "with space", "a#b", "höhe", "a?b", "a%41b"])
async def test_database_lies_where_it_was_told(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    metadata = SqliteMetadata(directory / "new.db")
    await metadata.write(lambda db: db.execute(text("CREATE TABLE t (x)")))
    await metadata.close()
    assert sizes_under(tmp_path).keys() == {f"{name}/new.db"}
    assert sizes_under(tmp_path)[f"{name}/new.db"] > 0


# Statements


def test_insert_knows_conflicts(db: Connection) -> None:
    row = {"name": "job", "holder": "one", "expires_at": NOW}
    for holder, kept in (("one", "one"), ("two", "one")):
        new = insert(db, leases).values(**{**row, "holder": holder})
        db.execute(new.on_conflict_do_nothing())
        assert db.execute(leases.select()).one().holder == kept
    new = insert(db, leases).values(**{**row, "holder": "two"})
    db.execute(new.on_conflict_do_update(index_elements=["name"], set_={"holder": "two"}))
    assert db.execute(leases.select()).one().holder == "two"
