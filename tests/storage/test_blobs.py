"""The contract of BlobStore, over every store in `STORES`."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import BlobMissing, BlobStore, StagedBusy, StagedMissing
from storage.digest import Digest
from tests.storage.processes import hold_until_told, spawned
from tests.storage.properties import PROPERTY
from tests.storage.stores import STORES, append, commit, content_of, joined, put

NOWHERE: Final = f"sha256/ab/{'ab' * 32}"

# Longer than what a store reads at once, and of no round length.
LONG: Final = bytes(range(256)) * 10_007

HOUR: Final = timedelta(hours=1)

keys = (f"example-{number}" for number in itertools.count())


@pytest.fixture(params=sorted(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reopen(kind: str, tmp_path: Path) -> Callable[[], BlobStore]:
    """Open the one store once more, as another worker does."""
    return lambda: STORES[kind](tmp_path)


@pytest.fixture
async def store(reopen: Callable[[], BlobStore]) -> BlobStore:
    store = reopen()
    await store.prepare()
    return store


async def staged_keys(store: BlobStore) -> set[str]:
    return set(await store.staged_before(datetime.now(UTC) + HOUR))


@pytest.mark.parametrize("content", [b"", b"\0", b"hello", LONG], ids=["empty", "zero", "short", "long"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_was_written_is_read(store: BlobStore, content: bytes, algorithm: str) -> None:
    location = await put(store, "upload", content, algorithm)
    assert await content_of(await store.open(location), len(content)) == content


async def test_empty_blob_needs_no_write(store: BlobStore) -> None:
    await store.stage("upload")
    location = await commit(store, "upload", Digest.of(b""))
    assert await content_of(await store.open(location), 0) == b""


@PROPERTY
@given(requests=st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=5))
async def test_any_split_into_requests_and_chunks_gives_the_blob(
    store: BlobStore, requests: list[list[bytes]]
) -> None:
    key = next(keys)
    await store.stage(key)
    content = b""
    for chunks in requests:
        await append(store, key, len(content), *chunks)
        content += b"".join(chunks)
    location = await commit(store, key, Digest.of(content))
    assert await content_of(await store.open(location), len(content)) == content


@PROPERTY
@given(first=st.binary(max_size=100), cut=st.integers(0, 100), second=st.binary(max_size=100))
async def test_resume_drops_what_lies_behind(store: BlobStore, first: bytes, cut: int, second: bytes) -> None:
    key, cut = next(keys), min(cut, len(first))
    await store.stage(key)
    await append(store, key, 0, first)
    await append(store, key, cut, second)
    async with store.hold(key) as staged:
        assert await joined(staged.read()) == first[:cut] + second


async def test_resume_within_one_hold_drops_what_lies_behind(store: BlobStore) -> None:
    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.resume(0)
        await staged.write(b"123456")
        await staged.resume(2)
        await staged.write(b"x")
        assert await joined(staged.read()) == b"12x"


@pytest.mark.parametrize(("written", "offset"), [(b"", 1), (b"abc", 4), (b"abc", 10**12)])
async def test_resume_beyond_what_is_there_is_refused(store: BlobStore, written: bytes, offset: int) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, written)
    async with store.hold("upload") as staged:
        with pytest.raises(StagedMissing):
            await staged.resume(offset)
        assert await joined(staged.read()) == written


@pytest.mark.parametrize("chunks", [[], [b""], [b"one"], [b"one", b"", b"two"], [LONG]])
async def test_staged_bytes_are_read_before_the_commit(store: BlobStore, chunks: list[bytes]) -> None:
    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.resume(0)
        for chunk in chunks:
            await staged.write(chunk)
        assert await joined(staged.read()) == b"".join(chunks)
        assert await joined(staged.read()) == b"".join(chunks)


async def test_reading_what_is_staged_does_not_move_the_next_write(store: BlobStore) -> None:
    await store.stage("upload")
    async with store.hold("upload") as staged:
        await staged.resume(0)
        await staged.write(b"one")
        await joined(staged.read())
        await staged.write(b"two")
        assert await joined(staged.read()) == b"onetwo"


async def test_another_worker_goes_on_with_an_upload(
    store: BlobStore, reopen: Callable[[], BlobStore]
) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, b"one")
    other = reopen()
    await append(other, "upload", 3, b"two")
    location = await commit(other, "upload", Digest.of(b"onetwo"))
    assert await content_of(await store.open(location), 6) == b"onetwo"


async def test_preparing_again_keeps_what_is_there(store: BlobStore, reopen: Callable[[], BlobStore]) -> None:
    location = await put(store, "blob", b"content")
    await store.stage("upload")
    again = reopen()
    await again.prepare()
    assert await content_of(await again.open(location), 7) == b"content"
    assert await staged_keys(again) == {"upload"}


async def test_upload_is_held_by_one_at_a_time(store: BlobStore, reopen: Callable[[], BlobStore]) -> None:
    await store.stage("upload")
    await store.stage("other")
    async with store.hold("upload") as staged:
        await staged.resume(0)
        for holder in (store, reopen()):
            with pytest.raises(StagedBusy):
                async with holder.hold("upload"):
                    pytest.fail("held twice")
        async with store.hold("other"):
            await staged.write(b"still held")
    async with reopen().hold("upload") as staged:
        assert await joined(staged.read()) == b"still held"


async def test_upload_is_let_go_after_an_error(store: BlobStore) -> None:
    await store.stage("upload")
    with pytest.raises(ZeroDivisionError):
        async with store.hold("upload"):
            raise ZeroDivisionError
    async with store.hold("upload"):
        pass


async def test_upload_is_held_against_another_process(store: BlobStore, kind: str, tmp_path: Path) -> None:
    await store.stage("upload")
    with spawned(hold_until_told, kind, tmp_path, "upload", b"theirs") as (_, pipe):
        assert await asyncio.to_thread(pipe.recv) == "held"
        with pytest.raises(StagedBusy):
            async with store.hold("upload"):
                pytest.fail("held twice")
        pipe.send("let go")
        assert await asyncio.to_thread(pipe.recv) == "let go"
        async with store.hold("upload") as staged:
            assert await joined(staged.read()) == b"theirs"


async def test_unknown_upload_is_missing(store: BlobStore) -> None:
    with pytest.raises(StagedMissing):
        async with store.hold("unknown"):
            pytest.fail("held what is not there")


async def test_discarded_upload_is_missing(store: BlobStore) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, b"bytes")
    async with store.hold("upload") as staged:
        await staged.discard()
        await staged.discard()
    with pytest.raises(StagedMissing):
        async with store.hold("upload"):
            pytest.fail("held what was discarded")
    assert await staged_keys(store) == set()


async def test_committed_upload_is_missing(store: BlobStore) -> None:
    await put(store, "upload", b"bytes")
    with pytest.raises(StagedMissing):
        async with store.hold("upload"):
            pytest.fail("held what was committed")
    assert await staged_keys(store) == set()


async def test_discard_after_the_commit_keeps_the_blob(store: BlobStore) -> None:
    await store.stage("upload")
    await append(store, "upload", 0, b"bytes")
    async with store.hold("upload") as staged:
        location = await staged.commit(Digest.of(b"bytes"))
        await staged.discard()
    assert await content_of(await store.open(location), 5) == b"bytes"


async def test_discard_leaves_other_uploads_alone(store: BlobStore) -> None:
    for key in ("one", "two"):
        await store.stage(key)
        await append(store, key, 0, key.encode())
    async with store.hold("one") as staged:
        await staged.discard()
    async with store.hold("two") as staged:
        assert await joined(staged.read()) == b"two"


async def test_same_digest_is_committed_twice(store: BlobStore) -> None:
    locations = [await put(store, key, b"same") for key in ("one", "two")]
    for location in locations:
        assert await content_of(await store.open(location), 4) == b"same"


async def test_reader_outlives_another_commit_of_the_digest(store: BlobStore) -> None:
    reader = await store.open(await put(store, "one", LONG))
    chunks = reader.read(0, len(LONG))
    begun = await anext(chunks)
    await put(store, "two", LONG)
    assert begun + await joined(chunks) == LONG
    await reader.close()


async def test_uploads_at_the_same_time_stay_apart(store: BlobStore) -> None:
    contents = [f"content {number} ".encode() * number for number in range(40)]
    locations = await asyncio.gather(
        *(put(store, f"upload-{number}", content) for number, content in enumerate(contents))
    )
    for location, content in zip(locations, contents, strict=True):
        assert await content_of(await store.open(location), len(content)) == content


async def test_same_digest_is_committed_at_the_same_time(store: BlobStore) -> None:
    locations = await asyncio.gather(*(put(store, f"upload-{number}", LONG) for number in range(8)))
    for location in set(locations):
        assert await content_of(await store.open(location), len(LONG)) == LONG


async def test_unknown_location_is_missing(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.open(NOWHERE)


MIB: Final = 1024 * 1024


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 0),
        (0, 1),
        (1, 2),
        (7, 7),
        (0, MIB),
        (0, MIB + 1),
        (MIB - 1, MIB + 1),
        (MIB, 2 * MIB),
        (5, 2 * MIB + 5),
        (len(LONG) - 1, len(LONG)),
        (len(LONG), len(LONG)),
        (0, len(LONG)),
    ],
)
async def test_range_is_read(store: BlobStore, start: int, stop: int) -> None:
    reader = await store.open(await put(store, "upload", LONG))
    assert await joined(reader.read(start, stop)) == LONG[start:stop]
    await reader.close()


async def test_ranges_of_one_reader_are_read_at_the_same_time(store: BlobStore) -> None:
    reader = await store.open(await put(store, "upload", LONG))
    starts = range(0, len(LONG), 300_000)
    parts = await asyncio.gather(*(joined(reader.read(at, min(at + 300_000, len(LONG)))) for at in starts))
    await reader.close()
    assert b"".join(parts) == LONG


@pytest.mark.parametrize("content", [b"", b"content", LONG], ids=["empty", "short", "long"])
async def test_local_file_has_exactly_the_bytes(store: BlobStore, content: bytes) -> None:
    reader = await store.open(await put(store, "upload", content))
    assert reader.file is None or reader.file.read() == content
    await reader.close()


async def test_staged_before_names_old_uploads_only(store: BlobStore) -> None:
    for key in ("one", "two"):
        await store.stage(key)
    await put(store, "committed", b"bytes")
    now = datetime.now(UTC)
    assert sorted(await store.staged_before(now + HOUR)) == ["one", "two"]
    assert list(await store.staged_before(now - HOUR)) == []


def test_smallest_chunk_is_a_length_or_none(kind: str, tmp_path: Path) -> None:
    smallest = STORES[kind](tmp_path).chunk_min_length
    assert smallest is None or smallest > 0
