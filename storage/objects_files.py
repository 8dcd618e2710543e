"""Objects as files of a directory.

    ROOT/
    ├── <name>        written elsewhere, synced, and then renamed to this
    └── .writing/     what is being written

All is closed to other accounts of the machine.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from storage.blobs import BlobMissing
from storage.filesystem import sync_directory, translated, write_all
from storage.objects import NamedObject, ObjectsBusy

_READ_SIZE: Final = 1024 * 1024
_WRITING: Final = ".writing"
_LEFT_SECONDS: Final = 24 * 3600


class FileObjects:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writing = root / _WRITING

    def __str__(self) -> str:
        return str(self._root)

    async def prepare(self) -> None:
        """Make the directory."""
        await asyncio.to_thread(_make, self._writing)

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[bool]:
        """Hold a lock on the directory, which the kernel gives back when the process dies."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ObjectsBusy(f"another backup writes to {self._root}") from None
            yield True
        finally:
            os.close(descriptor)

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write a file, sync it, give it its name, sync the directory."""
        path = self._writing / secrets.token_hex(8)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            async for piece in data:
                await asyncio.to_thread(translated, write_all, descriptor, piece)
            await asyncio.to_thread(translated, _publish, descriptor, path, self._root / name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Read the file."""
        try:
            file = (self._root / name).open("rb", buffering=0)
        except FileNotFoundError:
            raise BlobMissing(f"there is no {name}") from None
        with file:
            while piece := await asyncio.to_thread(file.read, _READ_SIZE):
                yield piece

    async def pages(self, prefix: str) -> AsyncIterator[Sequence[NamedObject]]:
        """List one directory after the other."""
        for directory in await asyncio.to_thread(_directories, self._root / prefix, self._writing):
            if found := await asyncio.to_thread(_files, self._root, directory):
                yield found

    async def delete(self, names: Sequence[str]) -> None:
        """Remove files, and the directories that are empty then."""
        await asyncio.to_thread(_remove, self._root, names)

    async def tidy(self) -> None:
        """Remove files that nobody goes on with."""
        await asyncio.to_thread(_remove_older, self._writing, time.time() - _LEFT_SECONDS)


def _make(directory: Path) -> None:
    for each in (*reversed(directory.parents), directory):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)
            sync_directory(each.parent)


def _publish(descriptor: int, written: Path, path: Path) -> None:
    os.fsync(descriptor)
    _make(path.parent)
    written.replace(path)
    sync_directory(path.parent)


def _directories(top: Path, aside: Path) -> list[Path]:
    found = [Path(directory) for directory, _, _ in os.walk(top)]
    return sorted(each for each in found if each != aside)


def _files(root: Path, directory: Path) -> list[NamedObject]:
    with os.scandir(directory) as entries:
        files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        return sorted(
            (NamedObject(str(Path(each.path).relative_to(root)), each.stat().st_size) for each in files),
            key=lambda each: each.name,
        )


def _remove(root: Path, names: Sequence[str]) -> None:
    for name in names:
        (root / name).unlink(missing_ok=True)
    for directory in {(root / name).parent for name in names} - {root}:
        with contextlib.suppress(FileNotFoundError):
            sync_directory(directory)
        with contextlib.suppress(OSError):  # it is not empty, or gone
            directory.rmdir()


def _remove_older(directory: Path, timestamp: float) -> None:
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < timestamp:
                path.unlink()
