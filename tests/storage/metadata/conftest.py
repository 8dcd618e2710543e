"""Databases for the tests of query functions: every one of them runs on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from sqlalchemy import Connection
from sqlalchemy.util import greenlet_spawn

from storage.metadata.migrate import migrate_sqlite
from storage.metadata.sqlite import SqliteMetadata, open_sqlite
from tests.postgres import aside, connected, on_both_databases


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database that the migrations made, once for all tests."""
    path = tmp_path_factory.mktemp("migrated") / "longshore.db"
    migrate_sqlite(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, migrated: bytes) -> Path:
    """A migrated database of the test's own."""
    path = tmp_path / "longshore.db"
    path.touch(mode=0o600)
    path.write_bytes(migrated)
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever uses `db` on both databases."""
    on_both_databases(metafunc, "db")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test on PostgreSQL where synchronous statements can wait for the asynchronous driver."""
    call = getattr(item, "callspec", None)
    if call is None or call.params.get("db") != "postgresql":
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    asyncio.run(greenlet_spawn(runtestprotocol, item, nextitem=nextitem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture
def db(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection in a transaction, for query functions."""
    if request.param == "postgresql":
        # One database for all tests: none of them commits.
        with connected(request.getfixturevalue("migrated_postgres")) as connection:
            yield connection
    else:
        engine = open_sqlite(request.getfixturevalue("path"), begin="BEGIN IMMEDIATE")
        with engine.connect() as connection:
            yield connection
        engine.dispose()


@pytest.fixture
def metadata(path: Path) -> Iterator[SqliteMetadata]:
    metadata = SqliteMetadata(path)
    yield metadata
    aside(metadata.close)
