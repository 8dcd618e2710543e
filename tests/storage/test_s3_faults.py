"""S3 servers that are away, closed, throttle, break off or say what is not so."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from storage.blobs import BlobMissing, BlobStoreError, StoreUnavailable
from storage.digest import Digest
from storage.s3_parts import MIN_PART
from tests.storage.buckets import Bucket, store_at
from tests.storage.proxy import Cut, Fault, Pretend, Proxy, Refuse, Seen, Shorten
from tests.storage.servers import S3Server
from tests.storage.stores import Worker, content_of, joined, place_of

pytestmark = pytest.mark.e2e

CONTENT: Final = random.Random(1).randbytes(2 * MIN_PART + MIN_PART // 2)
DIGEST: Final = Digest.of(CONTENT)


@pytest.fixture(params=["minio", "versitygw"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


def once_each(fault: Refuse | Cut) -> Fault:
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


@pytest.mark.parametrize("etag", ['"00000000000000000000000000000000"', "", "no etag at all"])
async def test_wrong_etag_makes_no_blob(proxied: Worker, proxy: Proxy, bucket: Bucket, etag: str) -> None:
    proxy.fault = lambda seen: Pretend({"ETag": etag}) if seen.is_part else None
    await proxied.stage("upload")
    await proxied.append("upload", CONTENT)
    with pytest.raises(BlobStoreError):
        await proxied.commit("upload", DIGEST)
    assert not bucket.blobs()
    proxy.fault = lambda _: None
    # Nothing of it is left in the way of the client that begins anew.
    location = await proxied.put("again", CONTENT)
    assert await proxied.get(location, len(CONTENT)) == CONTENT


async def test_length_that_is_not_so_is_no_blob(proxied: Worker, proxy: Proxy) -> None:
    location = await proxied.put("upload", CONTENT)
    reader = await proxied.store.open(location)
    proxy.fault = lambda seen: Shorten(1) if seen.method == "GET" else None
    with pytest.raises(BlobMissing):
        await content_of(reader, len(CONTENT))


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
