import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete

from auth.identity import SYSTEM, Identity
from registry.interface import Registry
from registry.local import DEFAULT_RULES, LocalRegistry, Rules
from storage.filesystem import FileStore
from storage.metadata import documents, schema
from storage.metadata.engine import Connection
from storage.metadata.migrate import migrate_sqlite
from tests.registry.registries import REGISTRIES, Stores, opened

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
def shared_stores(data: Path) -> Iterator[Stores]:
    with opened(data) as stores:
        yield stores


@pytest.fixture
async def stores(data: Path, shared_stores: Stores) -> AsyncIterator[Stores]:
    """The stores, empty."""
    yield shared_stores
    await shared_stores.metadata.write(_empty)
    for path in (data / "uploads").iterdir():
        path.unlink()


def _empty(db: Connection) -> None:
    for table in reversed(schema.metadata.sorted_tables):
        db.execute(delete(table))
    db.execute(delete(documents.search))


@pytest.fixture
def other_stores(data: Path, stores: Stores) -> Iterator[Stores]:
    """The same stores, as another process has them open."""
    with opened(data) as others:
        yield others


@pytest.fixture
def local(stores: Stores) -> LocalRegistry:
    return stores.registry()


@pytest.fixture(params=sorted(REGISTRIES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_registry(kind: str, stores: Stores) -> AsyncIterator[OpenRegistry]:
    """Open a registry over the test's stores with other rules, or for another caller."""
    async with contextlib.AsyncExitStack() as opened:

        async def open_(*, rules: Rules = DEFAULT_RULES, caller: Identity = SYSTEM) -> Registry:
            return await opened.enter_async_context(REGISTRIES[kind](stores, rules, caller))

        yield open_


@pytest.fixture
async def registry(open_registry: OpenRegistry) -> Registry:
    """A registry that the contract is to hold for."""
    return await open_registry()
