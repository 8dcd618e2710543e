"""What only S3 has: parts and tails, what is left in the bucket, nodes in turn, URLs, servers with faults."""

import asyncio
import random
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from registry.holds import UploadHolds
from storage.blobs import BlobMissing, BlobStoreError, StagedMissing, StoreUnavailable
from storage.digest import Digest
from storage.metadata import uploads
from storage.s3 import S3Store
from storage.s3_client import S3Place
from storage.s3_parts import MIN_PART, UploadState
from tests.storage.conftest import Reopen
from tests.storage.proxy import Cut, Proxy, Refuse, Seen
from tests.storage.servers import BUCKET, S3Server
from tests.storage.stores import PLAN, Worker, content_of, joined, place_of

pytestmark = pytest.mark.e2e

PART: Final = MIN_PART
CONTENT: Final = random.Random(1).randbytes(2 * PART + PART // 2)
DIGEST: Final = Digest.of(CONTENT)

HOUR: Final = timedelta(hours=1)


@pytest.fixture(params=["minio", "versitygw"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(kind)
    return server


@pytest.fixture
def bucket(server: S3Server, root: Path) -> "Bucket":
    return Bucket(server.client(), place_of(root).prefix)


class Bucket:
    """What is in the bucket below the test's prefix."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix}/"

    def keys(self) -> set[str]:
        found = self._client.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix).get("Contents", [])
        return {each["Key"].removeprefix(self._prefix) for each in found}

    def multiparts(self) -> set[str]:
        found = self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        keys = {each["Key"] for each in found}
        return {key.removeprefix(self._prefix) for key in keys if key.startswith(self._prefix)}

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=self._prefix + key)

    def begin(self, key: str) -> None:
        self._client.create_multipart_upload(Bucket=BUCKET, Key=self._prefix + key)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=self._prefix + key, Body=content)

    def tails(self) -> set[str]:
        return {key for key in self.keys() if key.startswith("uploads/")}


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


# Servers that are away, closed, or have faults


def store_at(worker: Worker, place: S3Place, **changed: Any) -> S3Store:
    return S3Store(replace(place, **changed), UploadHolds(worker.metadata), PLAN)


async def test_bucket_that_is_not_there_is_told(worker: Worker, root: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"the bucket 'no-such-bucket' at http://.* does not exist"):
        await store_at(worker, place_of(root), bucket="no-such-bucket").prepare()


async def test_wrong_credentials_are_told(
    worker: Worker, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = store_at(worker, place_of(root))
    with pytest.raises(StoreUnavailable, match="is closed to these credentials"):
        await store.prepare()
    await worker.stage("upload")
    with pytest.raises(StoreUnavailable):
        await Worker(store, worker.metadata).append("upload", b"bytes")
    with pytest.raises(StoreUnavailable):
        await store.open("blobs/x")


async def test_server_that_is_away_is_told(worker: Worker, root: Path) -> None:
    away = store_at(worker, place_of(root), endpoint="http://127.0.0.1:9", attempts=2)
    with pytest.raises(StoreUnavailable, match=r"at http://127.0.0.1:9 cannot be reached"):
        await away.prepare()
    location = await worker.put("blob", b"bytes")
    with pytest.raises(StoreUnavailable):
        await away.open(location)
    await worker.stage("upload")
    with pytest.raises(StoreUnavailable):
        await Worker(away, worker.metadata).append("upload", CONTENT)
    # The server is back: the client goes on from where the row says.
    await worker.append("upload", CONTENT)
    assert await worker.get(await worker.commit("upload", DIGEST), len(CONTENT)) == CONTENT


@pytest.fixture
async def proxy(server: S3Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def proxied(worker: Worker, root: Path, proxy: Proxy) -> Worker:
    """A worker that reaches the server through the proxy."""
    return Worker(store_at(worker, place_of(root), endpoint=proxy.endpoint), worker.metadata)


def once_each(fault: Refuse | Cut) -> Callable[[Seen], Refuse | Cut | None]:
    """Let each request fail the first time that it comes."""
    known: set[tuple[str, str, str, str]] = set()

    def decide(seen: Seen) -> Refuse | Cut | None:
        name = (seen.method, seen.path, seen.query, seen.headers.get("Range", ""))
        if name in known:
            return None
        known.add(name)
        return fault

    return decide


@pytest.mark.parametrize("fault", [Refuse(503, "SlowDown"), Refuse(500, "InternalError")])
async def test_every_call_is_tried_again(proxied: Worker, proxy: Proxy, fault: Refuse) -> None:
    proxy.fault = once_each(fault)
    await proxied.stage("upload")
    await proxied.append("upload", CONTENT)
    location = await proxied.commit("upload", DIGEST)
    assert await proxied.get(location, len(CONTENT)) == CONTENT
    assert {seen.method for seen in proxy.seen} == {"GET", "HEAD", "POST", "PUT", "DELETE"}


async def test_answer_that_breaks_off_is_read_again(proxied: Worker, proxy: Proxy) -> None:
    location = await proxied.put("upload", CONTENT)
    proxy.fault = once_each(Cut(after=100_000))
    assert await proxied.get(location, len(CONTENT)) == CONTENT


async def test_answers_that_always_break_off_are_no_short_blob(proxied: Worker, proxy: Proxy) -> None:
    location = await proxied.put("upload", CONTENT)
    reader = await proxied.store.open(location)
    proxy.fault = lambda seen: Cut(after=100_000) if seen.method == "GET" else None
    with pytest.raises(StoreUnavailable):
        await content_of(reader, len(CONTENT))


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_part_that_fails_for_good_fails_the_request_and_no_more(
    worker: Worker, root: Path, proxy: Proxy, bucket: Bucket, method: str
) -> None:
    hasty = Worker(store_at(worker, place_of(root), endpoint=proxy.endpoint, attempts=1), worker.metadata)
    await worker.stage("upload")
    await worker.append("upload", b"before")
    proxy.fault = lambda seen: Refuse(503, "SlowDown") if seen.method == method else None
    with pytest.raises(StoreUnavailable):
        await hasty.append("upload", CONTENT)
    assert bucket.multiparts() == set()
    proxy.fault = lambda _: None
    await hasty.append("upload", CONTENT)
    whole = b"before" + CONTENT
    assert await worker.get(await hasty.commit("upload", Digest.of(whole)), len(whole)) == whole


async def test_encryption_is_asked_for(worker: Worker, root: Path, proxy: Proxy) -> None:
    proxy.fault = lambda seen: Refuse(501, "NotImplemented") if seen.method != "HEAD" else None
    for encryption, key, expected in (
        ("none", None, {}),
        ("s3", None, {"x-amz-server-side-encryption": "AES256"}),
        ("kms", None, {"x-amz-server-side-encryption": "aws:kms"}),
        (
            "kms",
            "alias/blobs",
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "alias/blobs",
            },
        ),
    ):
        asking = {"endpoint": proxy.endpoint, "encryption": encryption, "kms_key": key, "attempts": 1}
        store = store_at(worker, place_of(root), **asking)
        name = f"{encryption}-{key is None}"
        await worker.stage(name)
        for content in (b"small", CONTENT):
            proxy.seen.clear()
            with pytest.raises(BlobStoreError):
                await Worker(store, worker.metadata).append(name, content)
            asked = {
                each.lower(): value
                for each, value in proxy.seen[0].headers.items()
                if each.lower().startswith("x-amz-server-side")
            }
            assert asked == expected


async def test_blob_that_is_shorter_than_its_row_says_is_no_short_blob(worker: Worker) -> None:
    location = await worker.put("upload", b"bytes")
    reader = await worker.store.open(location)
    with pytest.raises(BlobMissing):
        await joined(reader.read(0, 6))
    with pytest.raises(BlobMissing):
        await joined(reader.read(5, 6))
