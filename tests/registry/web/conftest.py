import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from auth.keys import KeyDirectory
from registry.config import Settings
from storage.metadata.migrate import migrate_sqlite
from tests.registry.web.live import CHEAP_PASSWORDS, Live, serve

# A server syncs after every step. No test here is about disks, so none has to wait for one.
IN_MEMORY: Final = Path("/dev/shm")

Serving = Callable[..., AbstractAsyncContextManager[Live]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database that the migrations made, once for all tests."""
    path = tmp_path_factory.mktemp("migrated") / "longshore.db"
    migrate_sqlite(path)
    return path.read_bytes()


@pytest.fixture
def data(migrated: bytes) -> Iterator[Path]:
    """A data directory of the test's own, with a database that has its tables."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        database = Path(text) / "longshore.db"
        database.touch(mode=0o600)
        database.write_bytes(migrated)
        yield Path(text)


@pytest.fixture
def serving(data: Path) -> Serving:
    """Run a server over the test's data directory, with the settings that are given."""

    @contextlib.asynccontextmanager
    async def run(**settings: object) -> AsyncIterator[Live]:
        values = {"data": data, "shutdown_timeout": 0, **CHEAP_PASSWORDS, **settings}
        KeyDirectory(data / "keys").ensure("ES256")
        async with serve(Settings.model_validate(values)) as live:
            yield live

    return run


@pytest.fixture
async def live(serving: Serving) -> AsyncIterator[Live]:
    """A server with access control."""
    async with serving() as running:
        yield running


@pytest.fixture
async def open_live(serving: Serving) -> AsyncIterator[Live]:
    """A server without access control: for what the protocol says of content."""
    async with serving(auth="off") as running:
        yield running
