"""The contract of BlobStore, over every store in `STORES`. The servers are real ones."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import BlobMissing, StagedBusy, StagedMissing
from storage.digest import Digest
from storage.metadata import uploads
from tests.storage.conftest import Reopen
from tests.storage.processes import hold_until_told, spawned
from tests.storage.properties import PROPERTY
from tests.storage.stores import STORES, Worker, joined

KINDS: Final = [kind if kind == "files" else pytest.param(kind, marks=pytest.mark.e2e) for kind in STORES]

# More than one request deletes.
MANY: Final = 1001

NOWHERE: Final = f"sha256/ab/{'ab' * 32}"

# Longer than what a store reads at once, and of no round length.
LONG: Final = bytes(range(256)) * 10_007

HOUR: Final = timedelta(hours=1)

keys = (f"example-{number}" for number in itertools.count())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def staged_keys(worker: Worker) -> set[str]:
    return set(await worker.store.staged_before(datetime.now(UTC) + HOUR))


@pytest.mark.parametrize("content", [b"", b"\0", b"hello", LONG], ids=["empty", "zero", "short", "long"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_was_written_is_read(worker: Worker, content: bytes, algorithm: str) -> None:
    location = await worker.put("upload", content, algorithm)
    assert await worker.get(location, len(content)) == content


async def test_empty_blob_needs_no_write(worker: Worker) -> None:
    await worker.stage("upload")
    location = await worker.commit("upload", Digest.of(b""))
    assert await worker.get(location, 0) == b""


@PROPERTY
@given(requests=st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=5))
async def test_any_split_into_requests_and_chunks_gives_the_blob(
    worker: Worker, requests: list[list[bytes]]
) -> None:
    key = next(keys)
    await worker.stage(key)
    content = b""
    for chunks in requests:
        await worker.append(key, *chunks)
        content += b"".join(chunks)
    location = await worker.commit(key, Digest.of(content))
    assert await worker.get(location, len(content)) == content


@PROPERTY
@given(kept=st.binary(max_size=100), lost=st.binary(max_size=100), second=st.binary(max_size=100))
async def test_resume_drops_what_lies_behind(worker: Worker, kept: bytes, lost: bytes, second: bytes) -> None:
    key = next(keys)
    await worker.stage(key)
    await worker.append(key, kept)
    async with worker.hold(key) as held:
        await held.resume()
        await held.write(lost)
    await worker.append(key, second)
    async with worker.hold(key) as held:
        await held.resume()
        assert await held.read() == kept + second


async def test_resume_within_one_hold_drops_what_lies_behind(worker: Worker) -> None:
    await worker.stage("upload")
    async with worker.hold("upload") as held:
        await held.resume()
        await held.write(b"12")
        await held.keep()
        await held.write(b"3456")
        await held.resume()
        await held.write(b"x")
        assert await held.read() == b"12x"


@pytest.mark.parametrize(("written", "offset"), [(b"", 1), (b"abc", 4), (b"abc", 10**12)])
async def test_resume_beyond_what_is_there_is_refused(worker: Worker, written: bytes, offset: int) -> None:
    await worker.stage("upload")
    await worker.append("upload", written)
    async with worker.hold("upload") as held:
        with pytest.raises(StagedMissing):
            await held.staged.resume(offset, held.row.state)
        await held.resume()
        assert await held.read() == written


@pytest.mark.parametrize("chunks", [[], [b""], [b"one"], [b"one", b"", b"two"], [LONG]])
async def test_staged_bytes_are_read_before_the_commit(worker: Worker, chunks: list[bytes]) -> None:
    await worker.stage("upload")
    async with worker.hold("upload") as held:
        await held.resume()
        for chunk in chunks:
            await held.write(chunk)
        assert await held.read() == b"".join(chunks)
        assert await held.read() == b"".join(chunks)


async def test_what_was_read_is_committed(worker: Worker) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"one")
    async with worker.hold("upload") as held:
        await held.resume()
        await held.write(b"two")
        assert await held.read() == b"onetwo"
        location = await held.commit(Digest.of(b"onetwo"))
    assert await worker.get(location, 6) == b"onetwo"


async def test_another_worker_goes_on_with_an_upload(worker: Worker, reopen: Reopen) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"one")
    other = await reopen()
    await other.append("upload", b"two")
    location = await other.commit("upload", Digest.of(b"onetwo"))
    assert await worker.get(location, 6) == b"onetwo"


async def test_preparing_again_keeps_what_is_there(worker: Worker, reopen: Reopen) -> None:
    location = await worker.put("blob", b"content")
    await worker.stage("upload")
    await worker.append("upload", b"begun")
    again = await reopen()
    await again.store.prepare()
    assert await again.get(location, 7) == b"content"
    async with again.hold("upload") as held:
        await held.resume()
        assert await held.read() == b"begun"


async def test_upload_is_held_by_one_at_a_time(worker: Worker, reopen: Reopen) -> None:
    await worker.stage("upload")
    await worker.stage("other")
    async with worker.hold("upload") as held:
        await held.resume()
        for holder in (worker, await reopen()):
            with pytest.raises(StagedBusy):
                async with holder.hold("upload"):
                    pytest.fail("held twice")
        async with worker.hold("other"):
            await held.write(b"still held")
            await held.keep()
    async with (await reopen()).hold("upload") as held:
        await held.resume()
        assert await held.read() == b"still held"


async def test_upload_is_let_go_after_an_error(worker: Worker) -> None:
    await worker.stage("upload")
    with pytest.raises(ZeroDivisionError):
        async with worker.hold("upload"):
            raise ZeroDivisionError
    async with worker.hold("upload"):
        pass


async def test_upload_is_held_against_another_process(worker: Worker, kind: str, root: Path) -> None:
    await worker.stage("upload")
    with spawned(hold_until_told, kind, root, "upload", b"theirs") as (_, pipe):
        assert await asyncio.to_thread(pipe.recv) == "held"
        with pytest.raises(StagedBusy):
            async with worker.hold("upload"):
                pytest.fail("held twice")
        pipe.send("let go")
        assert await asyncio.to_thread(pipe.recv) == "let go"
        async with worker.hold("upload") as held:
            await held.resume()
            assert await held.read() == b"theirs"


async def test_unknown_upload_is_missing(worker: Worker) -> None:
    with pytest.raises(StagedMissing):
        async with worker.hold("unknown"):
            pytest.fail("held what is not there")


async def test_discarded_upload_is_missing(worker: Worker) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"bytes")
    async with worker.hold("upload") as held:
        await held.discard()
        await held.staged.discard(held.row.state)
        await held.staged.discard(held.row.state, thorough=True)
    with pytest.raises(StagedMissing):
        async with worker.hold("upload"):
            pytest.fail("held what was discarded")
    assert await staged_keys(worker) == set()


async def test_committed_upload_is_missing(worker: Worker) -> None:
    await worker.put("upload", b"bytes")
    with pytest.raises(StagedMissing):
        async with worker.hold("upload"):
            pytest.fail("held what was committed")
    assert await staged_keys(worker) == set()


async def test_discard_after_the_commit_keeps_the_blob(worker: Worker) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"bytes")
    async with worker.hold("upload") as held:
        await held.resume()
        location = await held.commit(Digest.of(b"bytes"))
        await held.discard()
        await held.staged.discard(held.row.state)
    assert await worker.get(location, 5) == b"bytes"


async def test_discard_leaves_other_uploads_alone(worker: Worker) -> None:
    for key in ("one", "two"):
        await worker.stage(key)
        await worker.append(key, key.encode())
    async with worker.hold("one") as held:
        await held.discard()
    async with worker.hold("two") as held:
        await held.resume()
        assert await held.read() == b"two"


async def test_same_digest_is_committed_twice(worker: Worker) -> None:
    locations = [await worker.put(key, b"same") for key in ("one", "two")]
    for location in locations:
        assert await worker.get(location, 4) == b"same"


async def test_reader_outlives_another_commit_of_the_digest(worker: Worker) -> None:
    reader = await worker.store.open(await worker.put("one", LONG))
    chunks = reader.read(0, len(LONG))
    begun = await anext(chunks)
    await worker.put("two", LONG)
    assert begun + await joined(chunks) == LONG
    await reader.close()


async def test_uploads_at_the_same_time_stay_apart(worker: Worker) -> None:
    contents = [f"content {number} ".encode() * number for number in range(40)]
    locations = await asyncio.gather(
        *(worker.put(f"upload-{number}", content) for number, content in enumerate(contents))
    )
    for location, content in zip(locations, contents, strict=True):
        assert await worker.get(location, len(content)) == content


async def test_same_digest_is_committed_at_the_same_time(worker: Worker) -> None:
    locations = await asyncio.gather(*(worker.put(f"upload-{number}", LONG) for number in range(8)))
    for location in set(locations):
        assert await worker.get(location, len(LONG)) == LONG


async def test_unknown_location_is_missing(worker: Worker) -> None:
    with pytest.raises(BlobMissing):
        await worker.store.open(NOWHERE)


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
async def test_range_is_read(worker: Worker, start: int, stop: int) -> None:
    reader = await worker.store.open(await worker.put("upload", LONG))
    assert await joined(reader.read(start, stop)) == LONG[start:stop]
    await reader.close()


async def test_ranges_of_one_reader_are_read_at_the_same_time(worker: Worker) -> None:
    reader = await worker.store.open(await worker.put("upload", LONG))
    starts = range(0, len(LONG), 300_000)
    parts = await asyncio.gather(*(joined(reader.read(at, min(at + 300_000, len(LONG)))) for at in starts))
    await reader.close()
    assert b"".join(parts) == LONG


@pytest.mark.parametrize("content", [b"", b"content", LONG], ids=["empty", "short", "long"])
async def test_local_file_has_exactly_the_bytes(worker: Worker, content: bytes) -> None:
    reader = await worker.store.open(await worker.put("upload", content))
    assert reader.file is None or reader.file.read() == content
    await reader.close()


async def test_staged_before_names_no_young_upload(worker: Worker) -> None:
    for key in ("one", "two"):
        await worker.stage(key)
        await worker.append(key, b"bytes")
    await worker.put("committed", b"bytes")
    now = datetime.now(UTC)
    assert {"one", "two"} >= set(await worker.store.staged_before(now + HOUR))
    assert list(await worker.store.staged_before(now - HOUR)) == []


async def test_what_is_left_of_an_upload_goes_and_its_blob_stays(worker: Worker) -> None:
    location = await worker.put("upload", b"bytes")
    await worker.store.remove_stray("upload")
    await worker.store.remove_stray("unknown")
    assert await worker.get(location, 5) == b"bytes"


async def test_upload_that_nobody_knows_of_any_more_goes(worker: Worker) -> None:
    await worker.stage("upload")
    await worker.append("upload", LONG)
    await worker.metadata.write(uploads.remove, "upload")
    await worker.store.remove_stray("upload")
    assert await staged_keys(worker) == set()


async def test_committing_twice_makes_two_locations(worker: Worker) -> None:
    first, second = [await worker.put(key, b"same") for key in ("one", "two")]
    assert first != second
    await worker.store.delete([first])
    assert await worker.get(second, 4) == b"same"
    with pytest.raises(BlobMissing):
        await worker.store.open(first)


async def test_deleted_blobs_are_gone_and_others_stay(worker: Worker) -> None:
    gone = [await worker.put(f"gone-{number}", content) for number, content in enumerate((b"", b"a", LONG))]
    kept = await worker.put("kept", b"a")
    for _ in range(2):
        await worker.store.delete([*gone, NOWHERE])
    for location in gone:
        with pytest.raises(BlobMissing):
            await worker.store.open(location)
    assert await worker.get(kept, 1) == b"a"


async def test_any_number_is_deleted(worker: Worker) -> None:
    location = await worker.put("upload", b"a")
    await worker.store.delete([])
    await worker.store.delete([*(f"{NOWHERE}.{number}" for number in range(MANY)), location])
    assert [page async for page in worker.store.walk() if page] == []


async def test_walk_finds_every_blob(worker: Worker) -> None:
    contents = {f"upload-{number}": bytes(number) for number in range(12)} | {"long": LONG}
    written = {await worker.put(key, content): (key, len(content)) for key, content in contents.items()}
    found = [each async for page in worker.store.walk() for each in page]
    assert {each.location: (each.upload, each.size) for each in found} == written
    now = datetime.now(UTC)
    assert all(now - HOUR < each.written_at < now + HOUR for each in found)


async def test_blob_that_nobody_came_to_name_goes_with_its_upload(worker: Worker) -> None:
    kept = await worker.put("other", b"bytes")
    await worker.stage("upload")
    await worker.append("upload", b"bytes")
    async with worker.hold("upload") as held:
        await held.resume()
        location = await held.staged.commit(Digest.of(b"bytes"))
    await worker.metadata.write(uploads.remove, "upload")
    await worker.store.remove_unnamed("upload")
    await worker.store.remove_unnamed("unknown")
    with pytest.raises(BlobMissing):
        await worker.store.open(location)
    assert await worker.get(kept, 5) == b"bytes"


def test_smallest_chunk_is_a_length_or_none(worker: Worker) -> None:
    smallest = worker.store.chunk_min_length
    assert smallest is None or smallest > 0


async def test_url_is_for_stores_that_clients_are_sent_to(worker: Worker) -> None:
    location = await worker.put("upload", b"bytes")
    assert (await worker.store.url(location) is not None) == worker.store.redirects
