"""What other processes do in these tests: functions that a spawned process runs."""

import asyncio
import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

from storage.filesystem import FileStore
from storage.metadata import login_failures
from storage.metadata.migrate import migrate_sqlite
from storage.metadata.sqlite import SqliteMetadata
from tests.storage.stores import opened

P = ParamSpec("P")

SPAWN: Final = multiprocessing.get_context("spawn")

NOW: Final = datetime(2026, 1, 2, tzinfo=UTC)


@contextlib.contextmanager
def spawned(
    run: Callable[Concatenate[Connection, P], None], *args: P.args, **kwargs: P.kwargs
) -> Iterator[tuple[SpawnProcess, Connection]]:
    """Run a function in another process, with one end of a pipe; end the process at the end."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=run, args=(there, *args), kwargs=kwargs)
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        process.close()
        here.close()


def run_together(count: int, run: Callable[..., None], *args: object) -> list[int | None]:
    """Run a function in several processes that start at one moment; return their exit codes."""
    together = SPAWN.Barrier(count)
    processes = [SPAWN.Process(target=run, args=(together, *args)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.close()
    return codes


def hold_until_told(pipe: Connection, kind: str, root: Path, key: str, content: bytes) -> None:
    """Hold an upload with `content` in it, say so, and let it go when told."""

    async def hold() -> None:
        async with opened(kind, root) as worker:
            async with worker.hold(key) as held:
                await held.resume()
                await held.write(content)
                await held.keep()
                pipe.send("held")
                pipe.recv()
            pipe.send("let go")

    asyncio.run(hold())


def hold_file(pipe: Connection, root: Path, key: str, content: bytes) -> None:
    """Hold an upload in a store of files with `content` in it, say so, and wait to be killed."""

    async def hold() -> None:
        async with FileStore(root).hold(key) as staged:
            await staged.resume(0, None)
            await staged.write(content)
            await staged.sync()
            pipe.send("held")
            pipe.recv()

    asyncio.run(hold())


def write_past_limit(pipe: Connection, root: Path, key: str, content: bytes, limit: int) -> None:
    """Write more than a file may have; then drop it and write what fits."""

    async def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        store = FileStore(root)
        async with store.hold(key) as staged:
            await staged.resume(0, None)
            try:
                await staged.write(content)
                await staged.sync()
            except OSError as error:
                pipe.send((error.errno, os.stat(root / "uploads" / key).st_size))  # noqa: PTH116
            await staged.resume(0, None)
            await staged.write(content[:limit])
            await staged.sync()

    asyncio.run(write())


def count(together: Barrier, path: Path, key: str, times: int) -> None:
    """Count up, a transaction each time, while others do the same."""

    async def run() -> None:
        metadata = SqliteMetadata(path)
        together.wait()
        for _ in range(times):
            await metadata.write(login_failures.record, [key], forget_before=NOW, now=NOW)
        await metadata.close()

    asyncio.run(run())


def migrate(together: Barrier, path: Path) -> None:
    """Migrate while others do the same."""
    together.wait()
    migrate_sqlite(path)
