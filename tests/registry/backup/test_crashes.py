"""A backup that is killed at each of its steps, and what the next one makes of what it left.

The steps are counted, not chosen: every change that it makes to the place of the backup and to the database,
with the moment before and the one behind it. A child process ends there as by `kill -9`: nothing is
cleaned up.
"""

import asyncio
import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from registry.backup.pruning import prune
from registry.backup.restoring import Restore
from registry.backup.sealing import Plain
from registry.backup.taking import Backup, Hold
from registry.backup.vault import Vault
from registry.backup.verifying import Verified, verify
from registry.move import Journal
from registry.names import Tag
from storage.filesystem import FileStore
from storage.metadata.databases import SqliteDatabase
from storage.metadata.engine import Metadata
from storage.objects import NamedObject
from storage.objects_files import FileObjects
from tests.registry.conftest import IN_MEMORY
from tests.registry.content import image, pull, push
from tests.registry.registries import Stores, opened

KILLED: Final = 77
TAGS: Final = ("v1", "v2")


class Silent:
    """Hears how far it has come, and keeps it to itself."""

    def expect(self, what: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


class Steps:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last

    def take(self) -> None:
        """Be at the next step."""
        self.count += 1
        if self.count == self._last:
            os._exit(KILLED)


class Counted:
    """Objects whose changes are steps."""

    def __init__(self, root: Path, steps: Steps) -> None:
        self._objects = FileObjects(root)
        self._steps = steps

    async def prepare(self) -> None:
        self._steps.take()
        await self._objects.prepare()

    def hold(self) -> contextlib.AbstractAsyncContextManager[bool]:
        return self._objects.hold()

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            async for piece in data:
                self._steps.take()
                yield piece
            self._steps.take()

        self._steps.take()
        await self._objects.put(name, pieces(), size)
        self._steps.take()

    def read(self, name: str) -> AsyncIterator[bytes]:
        return self._objects.read(name)

    def pages(self, prefix: str) -> AsyncIterator[Sequence[NamedObject]]:
        return self._objects.pages(prefix)

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._steps.take()
            await self._objects.delete([name])
        self._steps.take()

    async def tidy(self) -> None:
        await self._objects.tidy()


class CountedMetadata:
    """A database whose transactions are steps."""

    def __init__(self, metadata: Metadata, steps: Steps) -> None:
        self._metadata = metadata
        self._steps = steps

    async def lookup(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._metadata.lookup(query, *args, **kwargs)

    async def read(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._steps.take()
        return await self._metadata.read(query, *args, **kwargs)

    async def write(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._steps.take()
        result = await self._metadata.write(query, *args, **kwargs)
        self._steps.take()
        return result

    def version(self) -> int | None:
        return self._metadata.version()

    async def close(self) -> None:
        await self._metadata.close()


async def back_up(data: Path, dest: Path, last: int | None) -> int:
    """Take a backup and keep one, as the command does; return how many steps that took."""
    steps = Steps(last)
    async with opened(data) as stores:
        metadata = CountedMetadata(stores.metadata, steps)
        vault = Vault(Counted(dest, steps), Plain())
        workspace = data / secrets.token_hex(4)
        workspace.mkdir()
        await vault.make()
        async with vault.objects.hold() as alone:
            hold = Hold(metadata, str(dest))
            async with hold.held(alone=alone):
                await Backup(metadata, stores.store, vault, workspace, Silent()).take(hold)
                assert await hold.start_pruning()
                await prune(vault, 1, hold.require)
    return steps.count


def is_killed(data: Path, dest: Path, last: int) -> bool:
    """Take a backup in a process that ends at a step; tell whether it had that many."""
    child = os.fork()
    if not child:
        try:
            asyncio.run(back_up(data, dest, last))
        except BaseException:  # noqa: BLE001 - the parent tells
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED)
    return code == KILLED


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        yield Path(text)


async def fill(data: Path, *tags: str) -> None:
    async with opened(data) as stores:
        await stores.store.prepare()
        for tag in tags:
            content = image(tags=[tag], layers=[tag.encode(), b"shared"])
            await push(stores.registry(), {"library/app": content})


def test_whenever_it_is_killed_the_next_one_is_whole(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    SqliteDatabase(data / "longshore.db").migrate()
    asyncio.run(fill(data, TAGS[0]))
    asyncio.run(back_up(data, folder / "0", None))
    asyncio.run(fill(data, TAGS[1]))
    # From here on each backup has something to copy and something to prune.
    for last in count(1):
        dest = copied(folder / "0", folder / str(last))
        was_killed = is_killed(data, dest, last)
        asyncio.run(require_whole(dest))
        asyncio.run(back_up(data, dest, None))
        asyncio.run(require_alone(dest))
        if not was_killed:
            break
    assert last > 30
    restored = folder / "restored"
    restored.mkdir()
    SqliteDatabase(restored / "longshore.db").migrate()
    asyncio.run(require_restores(dest, restored))


def copied(source: Path, dest: Path) -> Path:
    """Copy a backup, with links for its files, which nobody changes."""
    for path in sorted(source.rglob("*")):
        there = dest / path.relative_to(source)
        if path.is_dir():
            there.mkdir(parents=True)
        else:
            there.hardlink_to(path)
    return dest


async def require_whole(dest: Path) -> Verified:
    """Require that there are snapshots, and that each could be restored."""
    vault = Vault(FileObjects(dest), Plain())
    await vault.check()
    found = await verify(vault, await vault.snapshots(), Silent())
    assert found.snapshots >= 1
    assert found.wrong == {}
    return found


async def require_alone(dest: Path) -> None:
    """Require one snapshot, and nothing that does not belong to it."""
    found = await require_whole(dest)
    vault = Vault(FileObjects(dest), Plain())
    assert found.snapshots == 1
    assert await vault.broken_snapshots() == []
    assert len(await vault.stored_blobs()) == found.blobs


async def require_restores(dest: Path, there: Path) -> None:
    vault = Vault(FileObjects(dest), Plain())
    async with opened(there) as stores:
        await stores.store.prepare()
        await restore(vault, stores, there)
        for tag in TAGS:
            await pull(stores.registry(), "library/app", Tag(tag))


async def restore(vault: Vault, stores: Stores, folder: Path) -> None:
    assert isinstance(stores.store, FileStore)
    work = Restore(vault, await vault.snapshot_at(None), stores.metadata, stores.store, folder, Silent())
    with contextlib.closing(Journal(folder / "restore.jsonl", "there")) as journal:
        await work.run(journal, skip_damaged=False)
