"""What only files have: the layout, permissions, the order of syncs, locks, a full disk."""

import asyncio
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import pytest

from storage.blobs import (
    BlobMissing,
    BlobStore,
    BlobStoreError,
    StagedBusy,
    StagedMissing,
    StoreFull,
    StoreReadOnly,
)
from storage.digest import Digest, RunningDigest
from storage.filesystem import FileStore
from tests.storage.processes import hold_file, spawned, write_past_limit
from tests.storage.stores import append, commit, joined, put

P = ParamSpec("P")
T = TypeVar("T")

CONTENT: Final = b"content"
DIGEST: Final = Digest.of(CONTENT)
LOCATION: Final = f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}.upload"

MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(root: Path) -> BlobStore:
    store = FileStore(root)
    await store.prepare()
    return store


def files_under(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def modes_under(root: Path) -> set[tuple[str, int]]:
    return {
        ("file" if path.is_file() else "directory", path.stat().st_mode & 0o777) for path in root.rglob("*")
    }


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# The layout


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_blob_lies_where_its_digest_says(store: BlobStore, root: Path, algorithm: str) -> None:
    digest = Digest.of(CONTENT, algorithm)
    await store.stage("upload")
    assert files_under(root) == ["uploads/upload"]
    await append(store, "upload", 0, CONTENT)
    assert files_under(root) == ["uploads/upload"]
    assert await commit(store, "upload", digest) == f"{algorithm}/{digest.hex[:2]}/{digest.hex}.upload"
    assert files_under(root) == [f"blobs/{algorithm}/{digest.hex[:2]}/{digest.hex}.upload"]


async def test_blob_is_visible_only_after_its_commit(store: BlobStore) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, CONTENT)
    with pytest.raises(BlobMissing):
        await store.open(LOCATION)
    await commit(store, "upload", DIGEST)
    await (await store.open(LOCATION)).close()


async def test_blob_of_an_earlier_version_is_found_and_removed(store: BlobStore, root: Path) -> None:
    location = LOCATION.removesuffix(".upload")
    (root / "blobs" / location).write_bytes(CONTENT)
    await (await store.open(location)).close()
    [[found]] = [page async for page in store.walk()]
    assert (found.location, found.size, found.upload) == (location, len(CONTENT), "")
    await store.delete([location])
    assert files_under(root) == []


async def test_discard_removes_the_file(store: BlobStore, root: Path) -> None:
    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.discard(None)
    assert files_under(root) == []


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_other_accounts_of_the_machine_see_nothing(root: Path) -> None:
    store = FileStore(root)
    await store.prepare()
    await put(store, "blob", CONTENT)
    await store.stage("upload")
    assert modes_under(root) == {("directory", 0o700), ("file", 0o600)}


# Durability


class Disk:
    """The calls that decide over durability, in their order, with paths under `root`; `broken` ones fail."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = root
        self.calls: list[str] = []
        self.broken: set[str] = set()
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name), self._of_descriptor))
        for name in ("mkdir", "replace"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name), self._of_path))

    def _recorded(self, name: str, call: Callable[P, T], subject: Callable[[object], str]) -> Callable[P, T]:
        def recorded(*args: P.args, **kwargs: P.kwargs) -> T:
            self.calls.append(f"{name} {subject(args[0])}")
            if name in self.broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*args, **kwargs)

        return recorded

    def _of_descriptor(self, descriptor: object) -> str:
        return self._of_path(Path(f"/proc/self/fd/{descriptor}").readlink())

    def _of_path(self, path: object) -> str:
        return str(Path(str(path)).relative_to(self._root))


@pytest.fixture
def disk(store: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Watch the disk from the moment on when the store is ready."""
    assert store is not None
    return Disk(root, monkeypatch)


async def test_bytes_and_their_name_are_synced(store: BlobStore, disk: Disk) -> None:
    location = await put(store, "one", CONTENT)
    assert (
        disk.calls
        == [
            "fdatasync uploads/one",  # by sync()
            "replace uploads/one",
            f"fdatasync blobs/{location}",
            f"fsync blobs/sha256/{DIGEST.hex[:2]}",
        ]
    )


async def test_directories_are_made_and_synced_before_any_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, monkeypatch)
    await FileStore(tmp_path / "data").prepare()
    assert disk.calls.index("mkdir data/blobs/sha512/ff") < disk.calls.index("fsync data/blobs/sha512")
    assert disk.calls[-4:] == ["fsync data/blobs/sha512", "fsync data/blobs", "fsync data", "fsync ."]
    disk.calls.clear()
    await FileStore(tmp_path / "data").prepare()
    assert not [call for call in disk.calls if call.startswith("fsync") or "/sha256/" in call]


async def test_commit_syncs_what_nobody_synced(store: BlobStore, disk: Disk) -> None:
    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.resume(0, None)
        await staged.write(CONTENT)
        assert disk.calls == []
        location = await staged.commit(DIGEST)
    assert f"fdatasync blobs/{location}" in disk.calls


async def test_removal_is_synced(store: BlobStore, disk: Disk) -> None:
    location = await put(store, "upload", CONTENT)
    disk.calls.clear()
    await store.delete([location])
    assert disk.calls[-1] == f"fsync blobs/{Path(location).parent}"


@pytest.mark.parametrize("broken", ["fdatasync", "replace", "fsync"])
async def test_broken_disk_makes_no_blob(store: BlobStore, root: Path, disk: Disk, broken: str) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, CONTENT)
    disk.broken.add(broken)
    with pytest.raises(OSError, match="Input/output error"):
        await commit(store, "upload", DIGEST)
    disk.broken.clear()
    assert files_under(root) == ["uploads/upload"]
    await commit(store, "upload", DIGEST)
    assert files_under(root) == [f"blobs/{LOCATION}"]


async def test_broken_directory_sync_is_told(store: BlobStore, disk: Disk) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, CONTENT)
    disk.broken.add("fsync")
    with pytest.raises(OSError, match="Input/output error"):
        await commit(store, "upload", DIGEST)


# A full disk


async def test_full_disk_is_told(store: BlobStore, root: Path) -> None:
    (root / "uploads/upload").symlink_to("/dev/full")
    async with store.hold("upload") as staged:
        with pytest.raises(StoreFull):
            await staged.write(CONTENT)
            await staged.sync()


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreReadOnly),
        (errno.EIO, OSError),
        (errno.EFBIG, OSError),
    ],
)
async def test_only_a_lack_of_room_is_called_full(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.resume(0, None)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail)
            with pytest.raises((OSError, BlobStoreError)) as raised:
                await staged.write(CONTENT)
                await staged.sync()
        assert raised.type is error


async def test_upload_goes_on_from_what_was_durable_after_a_failed_write(
    store: BlobStore, root: Path
) -> None:
    await store.stage("upload")
    with spawned(write_past_limit, root, "upload", b"123456", 4) as (process, pipe):
        assert await asyncio.to_thread(pipe.recv) == (errno.EFBIG, 4)
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
    await append(store, "upload", 4, b"56")
    assert (root / "uploads/upload").read_bytes() == b"123456"


async def test_write_goes_on_where_the_kernel_took_a_part(
    store: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    await store.stage("upload")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
        await append(store, "upload", 0, b"12345678", b"9")
    assert (root / "uploads/upload").read_bytes() == b"123456789"


# Holding


async def test_killed_process_lets_its_upload_go(store: BlobStore, root: Path) -> None:
    await store.stage("upload")
    with spawned(hold_file, root, "upload", b"theirs") as (process, pipe):
        assert await asyncio.to_thread(pipe.recv) == "held"
        with pytest.raises(StagedBusy):
            async with store.hold("upload"):
                pytest.fail("held twice")
        process.kill()
        await asyncio.to_thread(process.join)
        async with store.hold("upload") as staged:
            assert await joined(staged.read()) == b"theirs"
            await staged.resume(3, None)
            await staged.write(b"y're ours")
            await staged.sync()
    assert (root / "uploads/upload").read_bytes() == b"they're ours"


async def test_refused_holds_leave_no_descriptor_open(store: BlobStore) -> None:
    await store.stage("upload")
    async with store.hold("upload"):
        before = open_descriptors()
        for _ in range(5):
            for key, error in (("upload", StagedBusy), ("unknown", StagedMissing)):
                with pytest.raises(error):
                    async with store.hold(key):
                        pytest.fail("held twice")
        assert open_descriptors() == before


async def test_hold_that_comes_late_cannot_touch_the_blob(
    store: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def lock_late(fd: int, operation: int) -> None:
        """Let another request commit the upload between the opening of its file and the lock."""
        (root / "uploads/upload").replace(root / "blobs/blob")
        lock(fd, operation)

    await store.stage("upload")
    await append(store, "upload", 0, CONTENT)
    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(StagedMissing):
        async with store.hold("upload") as staged:
            await staged.resume(0, None)
    assert (root / "blobs/blob").read_bytes() == CONTENT


async def test_cancelled_hold_lets_the_upload_go(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock
    locking, go, locked = threading.Event(), threading.Event(), threading.Event()

    def lock_slowly(fd: int, operation: int) -> None:
        locking.set()
        go.wait()
        lock(fd, operation)
        locked.set()

    async def hold() -> None:
        async with store.hold("upload"):
            pytest.fail("held after it was cancelled")

    await store.stage("upload")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", lock_slowly)
        holder = asyncio.create_task(hold())
        await asyncio.to_thread(locking.wait)
        holder.cancel()
        await asyncio.wait([holder], timeout=0.05)
        go.set()
        await asyncio.to_thread(locked.wait)
        await asyncio.wait([holder])
    async with store.hold("upload"):
        pass


async def test_cancelled_write_touches_no_other_file(
    store: BlobStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    writing, go, written = threading.Event(), threading.Event(), threading.Event()

    def write_slowly(fd: int, data: bytes) -> int:
        writing.set()
        go.wait()
        try:
            return write(fd, data)
        finally:
            written.set()

    await store.stage("upload")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_slowly)
        writer = asyncio.create_task(append(store, "upload", 0, CONTENT))
        await asyncio.to_thread(writing.wait)
        writer.cancel()
        await asyncio.wait([writer], timeout=0.05)
        other = tmp_path / "other"
        with other.open("wb"):  # takes the lowest free descriptor
            go.set()
            await asyncio.to_thread(written.wait)
        await asyncio.wait([writer])
    assert other.read_bytes() == b""
    assert (root / "uploads/upload").read_bytes() == CONTENT


@pytest.mark.parametrize("call", ["open", "fdatasync", "replace"])
async def test_lack_of_room_is_called_full_everywhere(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call != "open":
        await store.stage("upload")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreFull):
            if call == "open":
                await store.stage("upload")
            else:
                await commit(store, "upload", Digest.of(b""))


# What was left behind


@pytest.mark.parametrize(
    ("age", "found"),
    [
        (timedelta(days=9), True),
        (timedelta(seconds=1), True),
        (timedelta(0), False),
        (timedelta(seconds=-1), False),
    ],
)
async def test_staged_before_goes_by_the_last_write(
    store: BlobStore, root: Path, age: timedelta, found: bool
) -> None:
    await store.stage("upload")
    written = (MOMENT - age).timestamp()
    os.utime(root / "uploads/upload", (written, written))
    assert list(await store.staged_before(MOMENT)) == (["upload"] if found else [])


async def test_write_makes_an_old_upload_young(store: BlobStore, root: Path) -> None:
    await store.stage("upload")
    os.utime(root / "uploads/upload", (0, 0))
    await append(store, "upload", 0, CONTENT)
    assert list(await store.staged_before(datetime.now(UTC) - timedelta(hours=1))) == []


async def test_staged_before_leaves_out_what_vanishes_meanwhile(store: BlobStore, root: Path) -> None:
    await store.stage("upload")
    os.utime(root / "uploads/upload", (0, 0))
    (root / "uploads/vanished").symlink_to("nowhere")  # a name whose file is gone when it is looked at
    assert list(await store.staged_before(MOMENT)) == ["upload"]


# Reading


async def test_reader_outlives_the_file(store: BlobStore, root: Path) -> None:
    reader = await store.open(await put(store, "upload", CONTENT))
    (root / "blobs" / LOCATION).unlink()
    assert await joined(reader.read(0, len(CONTENT))) == CONTENT
    await reader.close()


@pytest.mark.parametrize("left", [0, 1, len(CONTENT) - 1])
async def test_file_that_is_too_short_is_missing(store: BlobStore, root: Path, left: int) -> None:
    location = await put(store, "upload", CONTENT)
    os.truncate(root / "blobs" / LOCATION, left)
    reader = await store.open(location)
    with pytest.raises(BlobMissing, match=f"the file ends at byte {left}"):
        await joined(reader.read(0, len(CONTENT)))
    await reader.close()


async def test_bytes_before_the_cut_are_read(store: BlobStore, root: Path) -> None:
    location = await put(store, "upload", CONTENT)
    os.truncate(root / "blobs" / LOCATION, 4)
    reader = await store.open(location)
    assert await joined(reader.read(1, 4)) == CONTENT[1:4]
    await reader.close()


async def test_reader_has_the_file_for_the_kernel_to_send(store: BlobStore) -> None:
    reader = await store.open(await put(store, "upload", CONTENT))
    assert reader.file is not None
    assert os.fstat(reader.file.fileno()).st_size == len(CONTENT)
    await reader.close()
    assert reader.file.closed


async def test_space_is_that_of_the_file_system(root: Path) -> None:
    store = FileStore(root)
    await store.prepare()
    space = await store.space()
    assert space is not None
    assert 0 < space.free <= space.total
    assert space.total == shutil.disk_usage(root).total


async def test_small_writes_come_behind_large_ones_under_way(store: FileStore) -> None:
    """The small ones are kept back, to be written together: not while a thread writes what is before them."""
    parts = [bytes([number]) * size for number, size in enumerate([200_000, 10, 300_000, 20, 70_000, 30])]
    content = b"".join(parts)
    await store.stage("mixed")
    async with store.hold("mixed") as staged:
        await staged.resume(0, None)
        running = RunningDigest()
        await asyncio.gather(*(staged.write(part, running) for part in parts))
        assert running.digest() == Digest.of(content)
        location = await staged.commit(Digest.of(content))
    assert (store.blobs / location).read_bytes() == content
