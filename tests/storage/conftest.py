from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.metadata.migrate import migrate_sqlite
from tests.e2e.process import running
from tests.storage.servers import S3Server, credentials


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row, to be copied: that costs less than making one."""
    path = tmp_path_factory.mktemp("database") / "longshore.db"
    migrate_sqlite(path)
    return path


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with credentials(), running(S3Server("minio", tmp_path_factory.mktemp("minio"))) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with credentials(), running(S3Server("versitygw", tmp_path_factory.mktemp("versitygw"))) as server:
        yield server
