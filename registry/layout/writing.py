"""Writing a layout, into a directory or a tar archive."""

import asyncio
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol

from registry.layout.reading import LayoutError


class Writer(Protocol):
    """A layout that is being written."""

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write a file of exactly `size` bytes."""

    def finish(self) -> None:
        """Make a layout of what was written."""

    def give_up(self) -> None:
        """Drop what was written, if it is not finished."""


def write_layout(path: Path) -> Writer:
    """Begin a layout: a directory, or an archive where the name ends in `.tar`.

    Raises:
        LayoutError: there is something already.
    """
    if path.suffix == ".tar":
        return TarWriter(path)
    return DirectoryWriter(path)


class DirectoryWriter:
    """Writes a directory; without `index.json`, which comes last, it is no layout."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise LayoutError(f"{root} is not empty")
        self._root = root

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write a file."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            await _pour(data, size, file, name)

    def finish(self) -> None:
        """Do nothing: the last file made it one."""

    def give_up(self) -> None:
        """Leave it for whoever looks why."""


class TarWriter:
    """Writes an archive beside its name, which it gets in the end."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise LayoutError(f"{path} is there already")
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._file = self._partial.open("wb")

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write an entry."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o644
        self._file.write(entry.tobuf(tarfile.PAX_FORMAT))
        await _pour(data, size, self._file, name)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))

    def finish(self) -> None:
        """Write the end, and give the archive its name."""
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.close()
        self._partial.rename(self._path)

    def give_up(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


async def _pour(data: AsyncIterator[bytes], size: int, file: BinaryIO, name: str) -> None:
    left = size
    async for piece in data:
        view = memoryview(piece)
        while view:
            view = view[await asyncio.to_thread(file.write, view) :]
        left -= len(piece)
    if left:
        raise LayoutError(f"{name} has another length than was said")
