import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete

from auth.identity import SYSTEM, Identity
from registry.holds import UploadHolds
from registry.interface import Registry
from registry.local import DEFAULT_RULES, LocalRegistry, Rules
from storage.blobs import BlobStore
from storage.filesystem import FileStore
from storage.metadata import documents, schema
from storage.metadata.engine import Connection
from storage.metadata.migrate import migrate_sqlite
from storage.metadata.sqlite import SqliteMetadata
from storage.s3 import S3Store
from storage.s3_client import S3Place
from storage.s3_parts import MIN_PART, PartPlan
from tests.postgres import PostgresServer, aside, on_both_databases
from tests.registry.registries import REGISTRIES, Stores, opened
from tests.storage.servers import BUCKET, S3Server

# A registry syncs after every step. No test here is about disks, so none has to wait for one.
IN_MEMORY: Final = Path("/dev/shm")

OpenRegistry = Callable[..., Awaitable[Registry]]


@pytest.fixture(scope="session")
def data() -> Iterator[Path]:
    """A data directory, for all tests: making one costs more than most of them."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        migrate_sqlite(Path(text) / "longshore.db")
        asyncio.run(FileStore(Path(text)).prepare())
        yield Path(text)


@pytest.fixture(scope="session")
def sqlite_stores(data: Path) -> Iterator[Stores]:
    stores = Stores(SqliteMetadata(data / "longshore.db"), FileStore(data))
    yield stores
    aside(stores.metadata.close)


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory of the test's own: a blob has one file here, and nothing is left of others."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
async def place(stores: Stores, root: Path) -> Stores:
    """The stores of a test, with files in a directory of its own."""
    store = FileStore(root)
    await store.prepare()
    return replace(stores, store=store)


@pytest.fixture(scope="session")
def shared_postgres(migrated_postgres: str, postgres: PostgresServer) -> str:
    """The URL of a database for all tests; each leaves it empty."""
    assert migrated_postgres
    return postgres.create("migrated")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever uses `stores` on both databases."""
    on_both_databases(metafunc, "database")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of the database under test; None is SQLite."""
    dsn: str | None = None
    if request.param == "postgresql":
        dsn = request.getfixturevalue("shared_postgres")
    return dsn


@pytest.fixture
async def stores(data: Path, database: str | None, sqlite_stores: Stores) -> AsyncIterator[Stores]:
    """The stores, empty."""
    async with contextlib.AsyncExitStack() as stack:
        # A file may stay open over all tests; connections belong to the event loop of one.
        stores = sqlite_stores
        if database is not None:
            stores = await stack.enter_async_context(opened(data, database))
        yield stores
        await stores.metadata.write(_empty)
    for path in (data / "uploads").iterdir():
        path.unlink()


def _empty(db: Connection) -> None:
    for table in reversed(schema.metadata.sorted_tables):
        db.execute(delete(table))
    db.execute(delete(documents.search))


@pytest.fixture
async def other_stores(data: Path, database: str | None, stores: Stores) -> AsyncIterator[Stores]:
    """The same stores, as another process has them open."""
    assert stores
    async with opened(data, database) as others:
        yield others


@pytest.fixture
def local(stores: Stores) -> LocalRegistry:
    return stores.registry()


# For the tests that are about the bytes of blobs.
WITH_S3: Final = [*sorted(REGISTRIES), pytest.param("s3", marks=pytest.mark.e2e)]


@pytest.fixture(params=sorted(REGISTRIES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bucket(minio: S3Server, stores: Stores) -> BlobStore:
    """A store in the bucket of all tests: it has no names that two of them would share."""
    place = S3Place(BUCKET, "registry", endpoint=minio.endpoint)
    return S3Store(place, UploadHolds(stores.metadata), PartPlan.of(MIN_PART, growing=False))


@pytest.fixture
async def open_registry(
    kind: str, stores: Stores, request: pytest.FixtureRequest
) -> AsyncIterator[OpenRegistry]:
    """Open a registry over the test's stores with other rules, or for another caller."""
    if kind == "s3":
        stores, kind = replace(stores, store=request.getfixturevalue("bucket")), "local"
    async with contextlib.AsyncExitStack() as opened:

        async def open_(*, rules: Rules = DEFAULT_RULES, caller: Identity = SYSTEM) -> Registry:
            return await opened.enter_async_context(REGISTRIES[kind](stores, rules, caller))

        yield open_


@pytest.fixture
async def registry(open_registry: OpenRegistry) -> Registry:
    """A registry that the contract is to hold for."""
    return await open_registry()
