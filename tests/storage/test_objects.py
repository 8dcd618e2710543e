"""The contract of named objects, over a directory and a bucket."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.blobs import BlobMissing
from storage.objects import Objects, ObjectsBusy
from storage.objects_files import FileObjects
from storage.objects_s3 import S3Objects
from tests.storage.servers import S3Server
from tests.storage.stores import place_of

LONG = 16 * 1024 * 1024


@pytest.fixture(params=["files", pytest.param("minio", marks=pytest.mark.e2e)])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    made: Objects = FileObjects(tmp_path / "there" / "objects")
    if request.param == "minio":
        server: S3Server = request.getfixturevalue("minio")
        server.note_place(tmp_path)
        made = S3Objects(place_of(tmp_path))
    await made.prepare()
    return made


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionError("the source is gone")


async def content(objects: Objects, name: str) -> bytes:
    return b"".join([piece async for piece in objects.read(name)])


async def names(objects: Objects, prefix: str = "") -> dict[str, int]:
    return {each.name: each.size async for page in objects.pages(prefix) for each in page}


async def test_what_is_put_is_read(objects: Objects) -> None:
    await objects.put("a/b/one", pieces(b"on", b"", b"e"), 3)
    await objects.put("a/two", pieces(), 0)
    assert await content(objects, "a/b/one") == b"one"
    assert await content(objects, "a/two") == b""
    assert await names(objects) == {"a/b/one": 3, "a/two": 0}
    assert await names(objects, "a/b/") == {"a/b/one": 3}
    assert await names(objects, "c/") == {}


@pytest.mark.parametrize("size", [LONG - 1, LONG, LONG + 1, 2 * LONG])
async def test_long_objects(objects: Objects, size: int) -> None:
    data = os.urandom(1024) * (size // 1024) + b"x" * (size % 1024)
    await objects.put("long", pieces(data[: LONG - 7], data[LONG - 7 :]), size)
    assert await content(objects, "long") == data


async def test_put_replaces(objects: Objects) -> None:
    await objects.put("name", pieces(b"before"), 6)
    await objects.put("name", pieces(b"after"), 5)
    assert await content(objects, "name") == b"after"


@pytest.mark.parametrize("length", [1, LONG + 5])
async def test_a_source_that_fails_writes_nothing(objects: Objects, length: int) -> None:
    with pytest.raises(ConnectionError):
        await objects.put("name", broken(b"x" * length), length)
    assert await names(objects) == {}
    await objects.put("name", pieces(b"before"), 6)
    with pytest.raises(ConnectionError):
        await objects.put("name", broken(b"x" * length), length)
    assert await content(objects, "name") == b"before"


async def test_delete(objects: Objects) -> None:
    for name in ("a/one", "a/two", "b/three"):
        await objects.put(name, pieces(b"x"), 1)
    await objects.delete(["a/one", "b/three", "never/there"])
    assert await names(objects) == {"a/two": 1}
    await objects.delete([])
    with pytest.raises(BlobMissing):
        await content(objects, "a/one")


async def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    first, second = FileObjects(tmp_path / "x"), FileObjects(tmp_path / "x")
    await first.prepare()
    async with first.hold() as alone:
        assert alone
        with pytest.raises(ObjectsBusy):
            async with second.hold():
                pass
    async with second.hold() as alone:
        assert alone


async def test_files_are_closed_to_others(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path / "new" / "x")
    await objects.prepare()
    await objects.put("a/b", pieces(b"secret"), 6)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").rglob("*")}
    assert modes == {"x": 0o700, ".writing": 0o700, "a": 0o700, "b": 0o600}


async def test_tidy_leaves_what_may_be_going_on(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path)
    await objects.prepare()
    old, young = (tmp_path / ".writing" / name for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"x")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    await objects.tidy()
    assert young.exists()
    assert not old.exists()
    assert await names(objects) == {}
