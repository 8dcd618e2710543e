"""Servers that tests of several folders use, one for each test process; and what holds for all modules."""

import gc
from collections.abc import Iterator
from functools import partial

import pytest

from storage.metadata.postgresql import migrate_postgres
from tests.e2e.process import running
from tests.postgres import PostgresServer, aside, running_postgres
from tests.storage.servers import S3Server, credentials


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a module leaves open is told of there, not in the tests that come after it in the same process."""
    yield
    gc.collect()
    gc.freeze()  # what stays is not looked at again and again


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


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A MinIO server; boto3 finds its credentials."""
    with credentials(), running(S3Server("minio", tmp_path_factory.mktemp("minio"))) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A versitygw server; boto3 finds its credentials."""
    with credentials(), running(S3Server("versitygw", tmp_path_factory.mktemp("versitygw"))) as server:
        yield server
