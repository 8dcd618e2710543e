"""What `PostgresMetadata` promises beyond what its query functions do, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from storage.metadata import accounts, login_failures, repositories, signing_keys
from storage.metadata.databases import PostgresDatabase
from storage.metadata.engine import MetadataUnavailable
from storage.metadata.migrate import DatabaseTooNew
from storage.metadata.postgresql import PostgresMetadata, migrate_postgres
from storage.metadata.repositories import NamespaceMissing
from storage.metadata.signing_keys import StoredKey
from tests.postgres import PostgresServer, running_postgres
from tests.storage.metadata.content import NOW, add_repository

pytestmark = pytest.mark.e2e

# Long enough that only a wait which never ends would reach it: seconds.
PATIENT: Final = 60.0

Open = Callable[..., PostgresMetadata]


@pytest.fixture
def dsn(postgres: PostgresServer, migrated_postgres: str) -> str:
    """A migrated database of the test's own."""
    assert migrated_postgres
    return postgres.create("migrated")


@pytest.fixture
async def open_(dsn: str) -> AsyncIterator[Open]:
    """Open the database once more, as another node does."""
    opened: list[PostgresMetadata] = []

    def open_(dsn: str = dsn, **options: Any) -> PostgresMetadata:
        settings = {"pool_size": 8, "statement_timeout": PATIENT, "patience": PATIENT, **options}
        opened.append(PostgresMetadata(dsn, **settings))
        return opened[-1]

    yield open_
    for each in opened:
        await each.close()


@pytest.fixture
def metadata(open_: Open) -> PostgresMetadata:
    return open_()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    with running_postgres() as server:
        yield server


def names(db: Connection) -> list[str]:
    return list(db.execute(text("SELECT name FROM repositories ORDER BY id")).scalars())


# -- three ways --------------------------------------------------------------------------------------------


async def test_commit_is_seen_at_once_by_every_node(metadata: PostgresMetadata, open_: Open) -> None:
    other = open_()
    for number in range(5):
        name = f"library/app-{number}"
        await metadata.write(add_repository, name)
        assert await other.lookup(repositories.exists, name)
        assert await other.read(repositories.exists, name)


async def test_arguments_are_passed_on(metadata: PostgresMetadata) -> None:
    def echo(_: Connection, /, *args: int, **kwargs: int) -> tuple[object, object]:
        return args, kwargs

    for run in (metadata.lookup, metadata.read, metadata.write):
        assert await run(echo, 1, 2, three=3) == ((1, 2), {"three": 3})


async def test_read_is_a_snapshot_and_changes_nothing(metadata: PostgresMetadata, open_: Open) -> None:
    other, loop = open_(), asyncio.get_running_loop()
    begun, go = asyncio.Event(), asyncio.Event()

    def read_twice(db: Connection) -> tuple[list[str], list[str]]:
        before = names(db)
        loop.call_soon(begun.set)
        while not go.is_set():
            db.execute(text("SELECT pg_sleep(0.01)"))
        return before, names(db)

    reading = asyncio.create_task(metadata.read(read_twice))
    await begun.wait()
    await other.write(add_repository, "library/app")
    go.set()
    assert await reading == ([], [])
    with pytest.raises(Exception, match="read-only"):
        await open_(patience=0).read(add_repository, "library/other")


# -- failures of a query -----------------------------------------------------------------------------------


async def test_exception_comes_through_unchanged_and_undoes(metadata: PostgresMetadata) -> None:
    error = NamespaceMissing("nowhere")

    def fail(db: Connection) -> None:
        db.execute(text("UPDATE namespaces SET full_name = 'changed'"))
        raise error

    with pytest.raises(NamespaceMissing) as raised:
        await metadata.write(fail)
    assert raised.value is error
    changed = text("SELECT count(*) FROM namespaces WHERE full_name = 'changed'")
    assert await metadata.lookup(lambda db: db.execute(changed).scalar()) == 0


async def test_failed_statement_leaves_the_connections_usable(metadata: PostgresMetadata) -> None:
    for run in (metadata.lookup, metadata.read, metadata.write):
        with pytest.raises(ProgrammingError, match="nowhere"):
            await run(lambda db: db.execute(text("SELECT 1 FROM nowhere")))
        assert await run(names) == []


async def test_broken_constraint_is_told_after_a_second_look(metadata: PostgresMetadata) -> None:
    runs = []

    def break_constraint(db: Connection) -> None:
        runs.append(db)
        db.execute(text("INSERT INTO namespaces (name, created_at) VALUES ('library', 0)"))

    with pytest.raises(IntegrityError):
        await metadata.write(break_constraint)
    assert len(runs) == 2


# -- those who contend -------------------------------------------------------------------------------------


async def test_nodes_lose_no_write_of_each_other(metadata: PostgresMetadata, open_: Open) -> None:
    nodes = [metadata, open_()]
    await asyncio.gather(
        *(
            node.write(login_failures.record, ["key"], forget_before=NOW, now=NOW)
            for _ in range(50)
            for node in nodes
        )
    )
    assert await metadata.lookup(login_failures.find, ["key"]) == {"key": (100, NOW)}


async def test_what_a_write_has_read_is_still_so_when_it_commits(
    metadata: PostgresMetadata, open_: Open
) -> None:
    """Two who each let the other's row stand in the way: one after the other, only one of them adds."""

    def add_if_none(db: Connection, kid: str) -> None:
        if not signing_keys.everything(db):
            db.execute(text("SELECT pg_sleep(0.05)"))
            signing_keys.add(db, StoredKey(kid, "sealed", NOW))

    nodes = [metadata, *(open_() for _ in range(3))]
    await asyncio.gather(*(node.write(add_if_none, f"key-{n}") for n, node in enumerate(nodes)))
    assert len(await metadata.lookup(signing_keys.everything)) == 1


async def test_name_that_two_want_is_refused_to_one_in_words(metadata: PostgresMetadata, open_: Open) -> None:
    add = accounts.add
    nodes = [metadata, open_(), open_()]
    results = await asyncio.gather(
        *(node.write(add, "alice", "hash", is_admin=False, now=NOW) for node in nodes), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, Exception)]
    assert [type(each) for each in refused] == [accounts.NameTaken] * 2


async def test_contention_without_end_is_unavailable(open_: Open) -> None:
    def conflict(db: Connection) -> None:
        db.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    with pytest.raises(MetadataUnavailable):
        await open_(patience=0.05).write(conflict)


# -- askers that go away -----------------------------------------------------------------------------------


async def test_asker_that_leaves_waits_for_its_write(metadata: PostgresMetadata) -> None:
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def add_slowly(db: Connection) -> None:
        loop.call_soon(begun.set)
        db.execute(text("SELECT pg_sleep(0.05)"))
        add_repository(db, "library/app")

    leaves = asyncio.create_task(metadata.write(add_slowly))
    await begun.wait()
    leaves.cancel()
    await asyncio.wait([leaves])
    assert leaves.cancelled()
    assert await metadata.lookup(names) == ["library/app"]


# -- a server in trouble -----------------------------------------------------------------------------------


async def test_statement_that_takes_too_long_is_ended(open_: Open) -> None:
    metadata = open_(statement_timeout=0.1)
    for run in (metadata.lookup, metadata.read, metadata.write):
        with pytest.raises(MetadataUnavailable, match="statement timeout"):
            await run(lambda db: db.execute(text("SELECT pg_sleep(60)")))
        assert await run(names) == []


async def test_server_that_is_away_is_unavailable(open_: Open) -> None:
    metadata = open_("postgresql://postgres:secret@127.0.0.1:1/nothing", patience=0.05)
    for run in (metadata.lookup, metadata.read, metadata.write):
        with pytest.raises(MetadataUnavailable):
            await run(names)


async def test_wrong_password_is_told_at_once(postgres: PostgresServer, open_: Open) -> None:
    metadata = open_(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres")
    with pytest.raises(MetadataUnavailable, match="password authentication failed"):
        await metadata.lookup(names)


async def test_restart_of_the_server_is_a_pause(own_server: PostgresServer, open_: Open) -> None:
    dsn = own_server.create()
    await migrate_postgres(dsn)
    metadata = open_(dsn)
    for mode in ("fast", "immediate"):
        await metadata.write(add_repository, f"library/before-{mode}")
        await asyncio.gather(*(metadata.lookup(names) for _ in range(8)))
        await asyncio.to_thread(own_server.stop, mode)
        waiting = [
            asyncio.create_task(metadata.write(add_repository, f"library/after-{mode}")),
            asyncio.create_task(metadata.lookup(names)),
            asyncio.create_task(metadata.read(names)),
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(own_server.start)
        await asyncio.gather(*waiting)
    kinds = [f"library/{when}-{mode}" for mode in ("fast", "immediate") for when in ("before", "after")]
    assert await metadata.lookup(names) == kinds


# -- migrations --------------------------------------------------------------------------------------------


async def test_nodes_that_start_together_migrate_once(postgres: PostgresServer, open_: Open) -> None:
    dsn = postgres.create()
    await asyncio.gather(*(migrate_postgres(dsn) for _ in range(4)))
    assert await open_(dsn).lookup(repositories.exists, "library/app") is False


async def test_newer_database_is_refused_in_words(metadata: PostgresMetadata, dsn: str) -> None:
    await metadata.write(lambda db: db.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(DatabaseTooNew, match=r"revision 9999.*newer"):
        await migrate_postgres(dsn)


async def test_running_node_goes_on_over_a_column_that_a_migration_adds(metadata: PostgresMetadata) -> None:
    """Statements that were prepared before it are still good."""
    await metadata.write(add_repository, "library/app")
    before = await metadata.read(repositories.summaries)
    await metadata.write(lambda db: db.execute(text("ALTER TABLE repositories ADD COLUMN later text")))
    assert await metadata.read(repositories.summaries) == before


def test_database_is_called_without_its_password() -> None:
    database = PostgresDatabase("postgresql://longshore:geheim@db.example:5433/hub?sslmode=require")
    assert str(database) == "postgresql://db.example:5433/hub"
    assert "geheim" not in repr(database)
