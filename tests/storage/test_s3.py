"""What only S3 has: parts and tails, what is left in the bucket, nodes in turn, URLs, servers with faults."""

import asyncio
import random
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from registry.holds import UploadHolds
from storage.blobs import BlobStoreError, StagedMissing
from storage.digest import Digest
from storage.metadata import uploads
from storage.s3 import S3Store
from storage.s3_parts import MIN_PART, UploadState
from tests.storage.buckets import Bucket
from tests.storage.conftest import Reopen
from tests.storage.servers import BUCKET
from tests.storage.stores import PLAN, Worker, place_of

pytestmark = pytest.mark.e2e

PART: Final = MIN_PART
CONTENT: Final = random.Random(1).randbytes(2 * PART + PART // 2)
DIGEST: Final = Digest.of(CONTENT)

HOUR: Final = timedelta(hours=1)


@pytest.fixture(params=["minio", "versitygw"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


async def state_of(worker: Worker, key: str) -> UploadState:
    row = await worker.metadata.lookup(uploads.find, key)
    assert row is not None
    return UploadState.parse(row.state)


# Parts and tails


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 3])
@pytest.mark.parametrize("synced", [True, False])
async def test_sizes_around_a_part(worker: Worker, bucket: Bucket, size: int, synced: bool) -> None:
    content = CONTENT[:size]
    await worker.stage("upload")
    if synced:
        await worker.append("upload", *pieces(content, 1_000_003))
        location = await worker.commit("upload", Digest.of(content))
    else:
        async with worker.hold("upload") as held:
            await held.resume()
            await held.write(*pieces(content, 1_000_003))
            location = await held.commit(Digest.of(content))
    assert await worker.get(location, size) == content
    assert bucket.keys() == {location}
    assert bucket.multiparts() == set()


async def test_multipart_begins_with_the_first_full_part(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("upload")
    await worker.append("upload", CONTENT[: PART - 1])
    assert bucket.multiparts() == set()
    await worker.append("upload", CONTENT[PART - 1 : PART])
    assert len(bucket.multiparts()) == 1
    assert bucket.keys() == set()


async def test_small_blob_is_one_object_and_stays_where_it_was_written(
    worker: Worker, bucket: Bucket
) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"small")
    [key] = bucket.keys()
    assert await worker.commit("upload", Digest.of(b"small")) == key
    assert bucket.keys() == {key}


@pytest.mark.parametrize("size", [1_000_003, PART - 1, PART, PART + 1])
async def test_nodes_in_turn_make_the_same_blob(
    worker: Worker, reopen: Reopen, bucket: Bucket, size: int
) -> None:
    nodes = [worker, await reopen(), await reopen()]
    await worker.stage("upload")
    for number, chunk in enumerate(pieces(CONTENT, size)):
        await nodes[number % 3].append("upload", chunk)
        # One tail at most, whatever came before it.
        assert len(bucket.keys()) <= 1
    location = await nodes[2].commit("upload", DIGEST)
    assert await worker.get(location, len(CONTENT)) == CONTENT
    assert bucket.keys() == {location}
    assert bucket.multiparts() == set()


async def test_bytes_in_parts_are_read_before_the_commit(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("upload")
    await worker.append("upload", CONTENT[:-10])
    async with worker.hold("upload") as held:
        await held.resume()
        await held.write(CONTENT[-10:])
        assert await held.read() == CONTENT
        location = await held.commit(DIGEST)
    assert await worker.get(location, len(CONTENT)) == CONTENT
    assert bucket.keys() == {location}


async def test_what_was_read_and_is_not_wanted_goes(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("upload")
    async with worker.hold("upload") as held:
        await held.resume()
        await held.write(CONTENT)
        assert await held.read() == CONTENT
        await held.discard()
    assert bucket.keys() == set()
    assert bucket.multiparts() == set()


# What is not finished


async def test_discard_aborts_and_removes_the_tail(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("upload")
    await worker.append("upload", CONTENT)
    assert (len(bucket.keys()), len(bucket.multiparts())) == (1, 1)
    async with worker.hold("upload") as held:
        await held.discard()
    assert bucket.keys() == set()
    assert bucket.multiparts() == set()


async def test_request_that_fails_leaves_nothing_that_no_row_names(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("upload")
    await worker.append("upload", b"before")
    before = bucket.keys()
    with pytest.raises(ZeroDivisionError):
        async with worker.hold("upload") as held:
            await held.resume()
            await held.write(CONTENT)
            raise ZeroDivisionError
    assert bucket.multiparts() == set()
    assert bucket.keys() == before
    await worker.append("upload", b" and after")
    location = await worker.commit("upload", Digest.of(b"before and after"))
    assert await worker.get(location, 16) == b"before and after"


async def test_cancelled_request_leaves_nothing_on_its_way(worker: Worker, bucket: Bucket) -> None:
    async def write() -> None:
        async with worker.hold("upload") as held:
            await held.resume()
            await held.write(CONTENT)
            written.set()
            await asyncio.Event().wait()

    written = asyncio.Event()
    await worker.stage("upload")
    writing = asyncio.create_task(write())
    await written.wait()
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    assert bucket.multiparts() == set()
    async with worker.hold("upload"):
        pass  # it was let go


async def test_commit_whose_row_was_not_written_is_done_again(
    worker: Worker, reopen: Reopen, bucket: Bucket
) -> None:
    """The bytes are durable before the row: the row may fail, and the client ask once more."""
    await worker.stage("upload")
    await worker.append("upload", CONTENT)
    with pytest.raises(ZeroDivisionError):
        async with worker.hold("upload") as held:
            await held.resume()
            first = await held.staged.commit(DIGEST)
            raise ZeroDivisionError
    assert await (await reopen()).commit("upload", DIGEST) == first
    assert await worker.get(first, len(CONTENT)) == CONTENT
    assert bucket.keys() == {first}


async def test_other_bytes_than_those_of_an_earlier_commit_are_refused(worker: Worker, kind: str) -> None:
    await worker.stage("upload")
    await worker.append("upload", CONTENT)
    with pytest.raises(ZeroDivisionError):
        async with worker.hold("upload") as held:
            await held.resume()
            await held.write(b"these")
            await held.staged.commit(Digest.of(CONTENT + b"these"))
            raise ZeroDivisionError
    with pytest.raises(StagedMissing):
        async with worker.hold("upload") as held:
            await held.resume()
            await held.write(b"other")
            await held.staged.commit(Digest.of(CONTENT + b"other"))


@pytest.mark.parametrize("gone", ["tail", "parts"])
async def test_upload_whose_bytes_are_gone_is_missing(worker: Worker, bucket: Bucket, gone: str) -> None:
    await worker.stage("upload")
    await worker.append("upload", CONTENT)
    state = await state_of(worker, "upload")
    if gone == "tail":
        bucket.remove(state.tail)
    else:
        await worker.store.remove_stray("upload")
    with pytest.raises(StagedMissing):
        await worker.commit("upload", DIGEST)


# Holders that stood still


@pytest.fixture
def sleepy(root: Path, worker: Worker) -> Worker:
    """A worker whose holds end at once, as if it stood still for a minute."""
    holds = UploadHolds(worker.metadata, lasts=timedelta(0), renewed_every=3600)
    return Worker(S3Store(place_of(root), holds, PLAN), worker.metadata)


@pytest.mark.parametrize("before", [b"", CONTENT[:10], CONTENT[: PART + 10]], ids=["none", "tail", "part"])
@pytest.mark.parametrize("behind", [b"short", CONTENT], ids=["short", "long"])
async def test_holder_that_wakes_up_changes_nothing(
    worker: Worker, sleepy: Worker, before: bytes, behind: bytes
) -> None:
    await worker.stage("upload")
    await worker.append("upload", before)
    async with sleepy.hold("upload") as late:
        await late.resume()
        await late.write(b"late" + behind)
        await worker.append("upload", b"early" + behind)
        with pytest.raises(AssertionError):
            await late.keep()
    await worker.append("upload", b"the end")
    content = before + b"early" + behind + b"the end"
    try:
        location = await worker.commit("upload", Digest.of(content))
    except StagedMissing:
        # Both sent the same part of one multipart upload, the late one last: then nobody has a blob.
        assert len(before) > PART
        assert behind == CONTENT
    else:
        assert await worker.get(location, len(content)) == content


@pytest.mark.parametrize("before", [b"tail", CONTENT[: PART + 10]], ids=["tail", "part"])
async def test_commit_that_wakes_up_finds_no_row(worker: Worker, sleepy: Worker, before: bytes) -> None:
    await worker.stage("upload")
    await worker.append("upload", before)
    async with sleepy.hold("upload") as late:
        await late.resume()
        location = await worker.commit("upload", Digest.of(before))
        with pytest.raises((AssertionError, BlobStoreError)):
            await late.commit(Digest.of(before))
        await late.discard()
    assert await worker.get(location, len(before)) == before


# The sweep


async def test_what_nobody_knows_of_is_found_and_goes(worker: Worker, bucket: Bucket) -> None:
    location = await worker.put("committed", CONTENT)
    bucket.begin("blobs/lo/lost.0123")
    bucket.put("uploads/left.4567", b"tail")
    bucket.begin("blobs/co/committed.89ab")
    now = datetime.now(UTC)
    assert list(await worker.store.staged_before(now - HOUR)) == []
    found = await worker.store.staged_before(now + HOUR)
    assert sorted(found) == ["committed", "left", "lost"]
    for key in found:
        await worker.store.remove_stray(key)
    assert bucket.keys() == {location}
    assert bucket.multiparts() == set()


async def test_thorough_discard_finds_what_no_state_names(worker: Worker, bucket: Bucket) -> None:
    await worker.stage("one")
    await worker.append("one", CONTENT)
    bucket.begin("blobs/on/one.0123")
    bucket.put("blobs/on/one.4567", b"forgotten")
    bucket.put("uploads/one.89ab", b"forgotten")
    bucket.put("uploads/one.more.89ab", b"of another")
    async with worker.hold("one") as held:
        assert await worker.metadata.write(uploads.remove, "one")
        await held.staged.discard(held.row.state, thorough=True)
    assert bucket.keys() == {"uploads/one.more.89ab"}
    assert bucket.multiparts() == set()


# URLs


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): each for name, each in headers.items()}
    )
    with urllib.request.urlopen(request) as answer:
        return answer.status, answer.read()


async def test_url_opens_the_blob_to_anybody(worker: Worker, root: Path) -> None:
    holds = UploadHolds(worker.metadata)
    store = S3Store(place_of(root), holds, PLAN, url_lifetime=60)
    url = await store.url(await worker.put("upload", CONTENT))
    assert url is not None
    assert await asyncio.to_thread(fetch, url) == (200, CONTENT)
    assert await asyncio.to_thread(fetch, url, Range="bytes=5-9") == (206, CONTENT[5:10])
    assert "X-Amz-Expires=60&" in url


async def test_url_is_for_the_host_that_clients_reach(root: Path, worker: Worker) -> None:
    place = replace(place_of(root), public_endpoint="https://s3.example:8443")
    url = await S3Store(place, UploadHolds(worker.metadata), PLAN, url_lifetime=60).url("blobs/x")
    assert url is not None
    assert url.startswith(f"https://s3.example:8443/{BUCKET}/{place.prefix}/blobs/x?")
    virtual = replace(place, path_style=False)
    url = await S3Store(virtual, UploadHolds(worker.metadata), PLAN, url_lifetime=60).url("blobs/x")
    assert url is not None
    assert url.startswith(f"https://{BUCKET}.s3.example:8443/{place.prefix}/blobs/x?")
