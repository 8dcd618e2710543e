import contextlib
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp.web_exceptions import NotAppKeyWarning

from auth.keys import KeyDirectory
from registry.config import Settings
from storage.metadata.migrate import migrate_sqlite
from tests.registry.web.live import CHEAP_PASSWORDS, Live, serve

Serving = Callable[..., AbstractAsyncContextManager[Live]]


@pytest.fixture(autouse=True)
def string_keys() -> None:
    """Allow the plain strings by which `registry.web.observe` and `access` keep notes in a request."""
    warnings.filterwarnings("ignore", category=NotAppKeyWarning)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database that the migrations made, once for all tests."""
    path = tmp_path_factory.mktemp("migrated") / "longshore.db"
    migrate_sqlite(path)
    return path.read_bytes()


@pytest.fixture
def serving(tmp_path: Path, migrated: bytes) -> Serving:
    """Run a server over the test's data directory, with the settings that are given."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    database = data / "longshore.db"
    database.touch(mode=0o600)
    database.write_bytes(migrated)

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
