"""Servers that tests of several folders use: one for each test process, started when first asked for."""

from collections.abc import Iterator
from functools import partial

import pytest

from storage.metadata.postgresql import migrate_postgres
from tests.postgres import PostgresServer, aside, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> str:
    """The URL of a database that the migrations made; who commits makes a copy: `create("migrated")`."""
    postgres.execute("CREATE DATABASE migrated")
    dsn = postgres.dsn("migrated")
    aside(partial(migrate_postgres, dsn))
    return dsn
