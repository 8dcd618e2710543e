"""Blobs on a file system.

    ROOT/
    ├── blobs/<algorithm>/<first two hexadecimal digits>/<hex>.<key>   committed, never changed
    └── uploads/<key>                                                  being written

Both are on one file system, so a commit is a rename; then the bytes are synced, and the directory. In this
order a journal is written once for all of them. After a loss of power a file may have its final name and lack
bytes: no row names it then. An upload is held by `flock` on its file, which the kernel gives back when a
process dies.

Two uploads of the same bytes make two files: who removes one of them, because no row names it, can never
remove what another has just written. Without a key are those that an earlier version has written.
"""

import asyncio
import contextlib
import errno
import fcntl
import functools
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar

import aiofiles

from storage.blobs import (
    BlobMissing,
    BlobReader,
    BlobStoreError,
    KeptBytes,
    Space,
    StagedBlob,
    StagedBusy,
    StagedMissing,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from storage.digest import ALGORITHMS, Digest, RunningDigest
from storage.threads import Lane, run_in

P = ParamSpec("P")
T = TypeVar("T")

_READ_SIZE: Final = 1024 * 1024

# Bytes that are handed to a thread together with the sync after them. Larger ones go at once: they are
# written while the next ones arrive.
_SMALL: Final = 64 * 1024

# A crash costs at most twice this much of an upload. More often would only wait for the disk.
_CHECKPOINT: Final = 64 * 1024 * 1024

# More threads than cores: they wait for the disk, not for the processor.
_THREADS: Final = 16


class FileStore:
    """A BlobStore in a directory."""

    chunk_min_length: int | None = None
    redirects = False

    def __init__(self, root: Path) -> None:
        self.blobs = root / "blobs"
        self._uploads = root / "uploads"
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    async def prepare(self) -> None:
        """Make all directories, closed to other accounts of the machine.

        They are made and synced before the first blob comes, so that no commit depends on a directory that
        another request has made and not yet synced.
        """
        await self.run(_make_directories, self.blobs, self._uploads)

    async def stage(self, key: str) -> None:
        """Make an empty file for the upload."""
        await self.run(_create, self._uploads / key)

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[StagedBlob]:
        """Hold the upload's file under an exclusive lock."""
        fd = await self._open_locked(self._uploads / key)
        try:
            yield _StagedFile(self, self._uploads / key, fd)
        finally:
            os.close(fd)

    async def staged_before(self, moment: datetime) -> Iterable[str]:
        """Return the names of files last written before `moment`."""
        return await self.run(_files_before, self._uploads, moment.timestamp())

    async def remove_stray(self, key: str) -> None:
        """Remove the upload's file."""
        with contextlib.suppress(StagedMissing):
            async with self.hold(key) as staged:
                await staged.discard(None)

    async def remove_unnamed(self, key: str) -> None:
        """Remove the upload's file, whether it still is where it was written or has its final name."""
        await self.remove_stray(key)
        async for page in self.walk():
            await self.delete([each.location for each in page if each.upload == key])

    async def delete(self, locations: Sequence[str]) -> None:
        """Remove files."""
        if locations:
            await self.run(_remove, [self.blobs / each for each in locations])

    async def walk(self) -> AsyncIterator[Sequence[KeptBytes]]:
        """List one directory after the other."""
        for directory in await self.run(_blob_directories, self.blobs):
            if page := await self.run(_kept, self.blobs, directory):
                yield page

    async def space(self) -> Space:
        """Return the room on the file system, as far as this process may use it."""
        usage = await self.run(shutil.disk_usage, self.blobs)
        return Space(usage.free, usage.total)

    async def size(self, location: str) -> int:
        """Return the file's length."""
        return await self.run(_size, self.blobs / location)

    async def open(self, location: str) -> BlobReader:
        """Open the blob's file."""
        opening = asyncio.ensure_future(self.run(_open_blob, self.blobs / location))
        try:
            return _FileReader(self, await asyncio.shield(opening))
        except asyncio.CancelledError:
            # The thread goes on, and nobody else would close what it opens.
            await asyncio.wait([opening])
            if opening.exception() is None:
                opening.result().close()
            raise

    async def url(self, location: str) -> None:
        """Return None: a file is sent by whoever has it."""

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in one of the store's threads."""
        return await run_in(self.threads, functools.partial(translated, call, *args, **kwargs))

    async def _open_locked(self, path: Path) -> int:
        running = asyncio.ensure_future(self.run(_open_locked, path))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if running.exception() is None:
                os.close(running.result())
            raise


class _StagedFile:
    """The file of an upload, held by its lock."""

    def __init__(self, store: FileStore, path: Path, fd: int) -> None:
        self._store = store
        self._path = path
        self._fd = fd
        self._pending = b""
        self._lane = Lane(store.threads)
        self.checkpoint_length: int | None = _CHECKPOINT
        # The thread goes on with the second while the event loop does something else.
        self.writes_ahead = 2

    async def resume(self, offset: int, state: str | None) -> None:
        self._pending = b""
        self._lane = Lane(self._store.threads)  # what failed before does not count any more
        # To look costs less than a thread; to cut may wait for the disk.
        if os.fstat(self._fd).st_size == offset:
            os.lseek(self._fd, offset, os.SEEK_SET)
        else:
            await self._store.run(_truncate, self._fd, offset)

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        pending = self._take_pending()
        if len(pending) + len(data) <= _SMALL and self._lane.is_idle:
            self._pending = pending + data
            if running is not None:
                running.update(data)
        else:
            await self._in_turn(_write_hashed, self._fd, pending, data, running)

    async def sync(self) -> None:
        if pending := self._take_pending():
            await self._in_turn(_write_and_sync, self._fd, pending)
        else:
            await self._store.run(os.fdatasync, self._fd)

    async def read(self) -> AsyncIterator[bytes]:
        await self._store.run(write_all, self._fd, self._take_pending())
        async with aiofiles.open(self._path, "rb") as file:
            while chunk := await file.read(_READ_SIZE):
                yield chunk

    async def commit(self, digest: Digest) -> str:
        location = f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.{self._path.name}"
        blob, data = self._store.blobs / location, self._take_pending()
        await self._store.run(_publish, self._fd, data, self._path, blob)
        return location

    async def discard(self, state: str | None, *, thorough: bool = False) -> None:
        await self._store.run(self._path.unlink, missing_ok=True)

    def _in_turn(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._lane.run(functools.partial(translated, call, *args, **kwargs))

    def _take_pending(self) -> bytes:
        data, self._pending = self._pending, b""
        return data


class _FileReader:
    """A blob's open file."""

    def __init__(self, store: FileStore, file: BinaryIO) -> None:
        self.file = file
        self._store = store

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for offset in range(start, stop, _READ_SIZE):
            size = min(_READ_SIZE, stop - offset)
            chunk = await self._store.run(os.pread, self.file.fileno(), size, offset)
            if len(chunk) != size:
                raise BlobMissing(f"the file ends at byte {offset + len(chunk)}")
            yield chunk

    async def close(self) -> None:
        self.file.close()


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _open_locked(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError as error:
        raise StagedMissing("the upload's file is gone") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StagedBusy("another request is writing to this upload") from error
    if not _is_named(path, fd):
        os.close(fd)
        raise StagedMissing("the upload was committed or discarded")
    return fd


def _is_named(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def translated(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and tell a full disk in the store's words.

    Raises:
        StoreFull: there is no room.
    """
    try:
        return call(*args, **kwargs)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("no space is left for blobs") from error
        if error.errno == errno.EROFS:
            raise StoreReadOnly("the file system of the blobs is read-only") from error
        raise


def _truncate(fd: int, offset: int) -> None:
    size = os.fstat(fd).st_size
    if size < offset:
        raise StagedMissing(f"the upload has {size} of {offset} bytes")
    if size > offset:
        os.ftruncate(fd, offset)
    os.lseek(fd, offset, os.SEEK_SET)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data, which the kernel may take in pieces."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _write_and_sync(fd: int, data: bytes) -> None:
    write_all(fd, data)
    os.fdatasync(fd)


def _write_hashed(fd: int, pending: bytes, data: bytes, running: RunningDigest | None) -> None:
    """Write both, of which `data` was not hashed yet: in one thread, to hand it to another costs as much."""
    write_all(fd, pending)
    write_all(fd, data)
    if running is not None:
        running.update(data)


def _publish(fd: int, data: bytes, staged: Path, blob: Path) -> None:
    write_all(fd, data)
    staged.replace(blob)
    try:
        os.fdatasync(fd)
        sync_directory(blob.parent)
    except BaseException:
        blob.replace(staged)  # for the upload to be gone on with, or dropped
        raise


def _make_directories(blobs: Path, uploads: Path) -> None:
    root = blobs.parent
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    uploads.mkdir(mode=0o700, exist_ok=True)
    blobs.mkdir(mode=0o700, exist_ok=True)
    for algorithm in (blobs / name for name in ALGORITHMS):
        wanted = [algorithm, *(algorithm / f"{number:02x}" for number in range(256))]
        # Each is looked at: a copy of the data may have left empty directories out.
        missing = [directory for directory in wanted if not directory.is_dir()]
        for directory in missing:
            directory.mkdir(mode=0o700, exist_ok=True)
        if missing:
            for directory in (algorithm, blobs, root, root.parent):
                sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Return when the names in the directory survive a loss of power."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files_before(directory: Path, timestamp: float) -> list[str]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < timestamp:
                    found.append(entry.name)
    return found


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for directory in {path.parent for path in paths}:
        with contextlib.suppress(FileNotFoundError):
            sync_directory(directory)


def _blob_directories(blobs: Path) -> list[Path]:
    return sorted(blobs.glob("*/*/"))


def _kept(blobs: Path, directory: Path) -> list[KeptBytes]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                location = str(Path(entry.path).relative_to(blobs))
                written_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(KeptBytes(location, status.st_size, written_at, entry.name.partition(".")[2]))
    return found


def _open_blob(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise _not_found(path) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise _not_found(path) from error


def _not_found(path: Path) -> BlobStoreError:
    # `prepare` made all directories: without this one it is not a blob that is gone, but the whole disk.
    if not path.parent.is_dir():
        return StoreUnavailable(f"the directory {path.parent} is gone")
    return BlobMissing(f"no file for {path.name}")
