import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from storage.metadata.migrate import migrate_sqlite
from tests.storage.buckets import Bucket
from tests.storage.servers import S3Server
from tests.storage.stores import Worker, opened, place_of


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row, to be copied: that costs less than making one."""
    path = tmp_path_factory.mktemp("database") / "longshore.db"
    migrate_sqlite(path)
    return path


@pytest.fixture
def root(kind: str, tmp_path: Path, request: pytest.FixtureRequest, empty_database: Path) -> Path:
    """A directory that tells a process where the store of the test's own is."""
    shutil.copyfile(empty_database, tmp_path / "longshore.db")
    if kind != "files":
        server: S3Server = request.getfixturevalue(kind)
        server.note_place(tmp_path)
    return tmp_path


Reopen = Callable[[], Awaitable[Worker]]


@pytest.fixture
async def reopen(kind: str, root: Path) -> AsyncIterator[Reopen]:
    """Open the one store once more, as another worker does."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda: stack.enter_async_context(opened(kind, root))


@pytest.fixture
async def worker(reopen: Reopen) -> Worker:
    worker = await reopen()
    await worker.store.prepare()
    return worker


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(kind)
    return server


@pytest.fixture
def bucket(server: S3Server, root: Path) -> Bucket:
    return Bucket(server.client(), place_of(root).prefix)
