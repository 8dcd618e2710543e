"""Reading a layout from a directory or a tar archive that somebody else made.

Only names that a layout has are ever opened: `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>`. In an
archive anything but plain files and directories is refused, as are names that lead out of it. Archives are
read where they lie, and nothing is unpacked: what is compressed as a whole is refused.
"""

import asyncio
import os
import re
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from storage.digest import ALGORITHMS, Digest

_READ_SIZE: Final = 1024 * 1024

# Entries of an archive, and bytes of a header that says more than the plain one.
_MAX_ENTRIES: Final = 1_000_000
_MAX_HEADER: Final = 64 * 1024

_BLOCK: Final = tarfile.BLOCKSIZE
_PLAIN: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_COMPRESSED: Final = "it is no directory, and no tar archive that is not compressed"
_NAME: Final = re.compile(
    r"oci-layout|index\.json|"
    + "|".join(rf"blobs/{algorithm}/[0-9a-f]{{{length}}}" for algorithm, length in ALGORITHMS.items())
)
_RECORD: Final = re.compile(rb"(\d{1,6}) ([^=\n]{1,100})=")


class LayoutError(Exception):
    """What is wrong with a layout, in words for whoever named it."""


class Layout(Protocol):
    """A layout that is open for reading."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None where there is none."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a file that is there."""

    def close(self) -> None:
        """Close it."""


def open_layout(path: Path) -> Layout:
    """Open a directory or an archive.

    Raises:
        LayoutError: it is neither, or is one that is better left alone.
    """
    if path.is_dir():
        return DirectoryLayout(path)
    return TarLayout(path)


def name_of(digest: Digest) -> str:
    """Return the name of a blob's file."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


async def read_whole(layout: Layout, name: str, limit: int) -> bytes:
    """Return a file of at most `limit` bytes.

    Raises:
        LayoutError: it is longer, or is missing.
    """
    size = layout.size(name)
    if size is None:
        raise LayoutError(f"the layout lacks {name}")
    if size > limit:
        raise LayoutError(f"{name} has more than {limit} bytes")
    return b"".join([piece async for piece in layout.read(name)])


class DirectoryLayout:
    """A layout in a directory. Links in it are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        """Return the size of a plain file."""
        try:
            status = os.lstat(self._root / name)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise LayoutError(f"{name} is no plain file")
        return status.st_size

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Read the file."""
        descriptor = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while piece := await asyncio.to_thread(os.read, descriptor, _READ_SIZE):
                yield piece
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""


class TarLayout:
    """A layout in a tar archive."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        try:
            self._places = _index(self._file)
        except BaseException:
            self._file.close()
            raise

    def size(self, name: str) -> int | None:
        """Return the size of an entry."""
        found = self._places.get(name)
        return None if found is None else found[1]

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Read the entry's bytes from where they are."""
        start, size = self._places[name]
        for offset in range(start, start + size, _READ_SIZE):
            length = min(_READ_SIZE, start + size - offset)
            yield await asyncio.to_thread(_exactly, self._file, offset, length)

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def _index(file: BinaryIO) -> Mapping[str, tuple[int, int]]:
    """Return where the bytes of the layout's files are, and how many."""
    places: dict[str, tuple[int, int]] = {}
    for entry in _entries(file):
        name = _plain(entry.name)
        if entry.isdir():
            continue
        if entry.type not in _PLAIN:
            raise LayoutError(f"{name!r} in the archive is neither a file nor a directory")
        if _NAME.fullmatch(name):
            if name in places:
                raise LayoutError(f"{name} is in the archive twice")
            places[name] = (entry.offset_data, entry.size)
    return places


def _plain(name: str) -> str:
    """Return the name without what means nothing.

    Raises:
        LayoutError: it leads out of the archive.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise LayoutError(f"the name {name[:100]!r} leads out of the archive")
    return "/".join(parts)


def _entries(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the entries, each with the place of its bytes.

    The standard library would read as many bytes of a longer header as it says to have.
    """
    end, offset, more = file.seek(0, os.SEEK_END), 0, dict[str, str]()
    for _ in range(_MAX_ENTRIES):
        if offset == end and end:
            return
        if offset + _BLOCK > end:
            raise LayoutError(_COMPRESSED if offset == 0 else "the archive is cut off")
        block = _exactly(file, offset, _BLOCK)
        if not block.strip(b"\0"):
            return
        entry = _header(block)
        offset += _BLOCK
        if entry.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            more |= _longer(entry, _short(file, offset, entry.size))
        elif entry.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            entry.name, entry.size = more.get("path", entry.name), _size(more.get("size"), entry.size)
            entry.offset_data, more = offset, {}
            if offset + entry.size > end:
                raise LayoutError("the archive is cut off")
            yield entry
        offset += -(-entry.size // _BLOCK) * _BLOCK
    raise LayoutError(f"the archive has more than {_MAX_ENTRIES} entries")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise LayoutError(_COMPRESSED) from None
    if entry.size < 0:
        raise LayoutError("the archive has an entry of a negative size")
    return entry


def _short(file: BinaryIO, offset: int, size: int) -> bytes:
    if size > _MAX_HEADER:
        raise LayoutError("the archive has a header that is far too long")
    return _exactly(file, offset, size)


def _longer(entry: tarfile.TarInfo, content: bytes) -> dict[str, str]:
    """Read what a longer header says of the entry behind it."""
    if entry.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode(errors="replace")}
    found: dict[str, str] = {}
    while record := _RECORD.match(content):
        length = int(record[1])
        if not record.end() < length <= len(content):
            break
        found[record[2].decode(errors="replace")] = content[record.end() : length - 1].decode(
            errors="replace"
        )
        content = content[length:]
    if content.strip(b"\0"):
        raise LayoutError("the archive has a header that makes no sense")
    if any(key.startswith("GNU.sparse") for key in found):
        raise LayoutError("the archive has a file with holes")
    return found


def _size(said: str | None, otherwise: int) -> int:
    if said is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,18}", said):
        raise LayoutError("the archive has a size that makes no sense")
    return int(said)


def _exactly(file: BinaryIO, offset: int, size: int) -> bytes:
    data = os.pread(file.fileno(), size, offset)
    if len(data) != size:
        raise LayoutError("the archive is cut off")
    return data
