from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from storage.metadata.engine import Metadata, open_sqlite
from storage.metadata.migrate import migrate_sqlite


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


@pytest.fixture
def db(path: Path) -> Iterator[Connection]:
    """A connection in a transaction, for query functions."""
    engine = open_sqlite(path, begin="BEGIN IMMEDIATE")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def metadata(path: Path) -> Iterator[Metadata]:
    metadata = Metadata(path)
    yield metadata
    metadata.close()
