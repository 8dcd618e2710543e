"""Blobs in a bucket: where clients are sent for the bytes, and what is answered from here all the same."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Final

import pytest

from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.content import index
from tests.registry.web.live import Live
from tests.storage.servers import BUCKET, S3Server

pytestmark = pytest.mark.e2e

CONTENT: Final = b"0123456789"
DIGEST: Final = Digest.of(CONTENT)
BLOB: Final = f"/v2/a/b/blobs/{DIGEST}"

In = Callable[..., dict[str, object]]


@pytest.fixture
def in_bucket(minio: S3Server) -> In:
    """The settings of a server whose blobs are in a bucket."""

    def settings(**more: object) -> dict[str, object]:
        return {"storage": f"s3://{BUCKET}/web", "s3_endpoint": minio.endpoint, "auth": "off", **more}

    return settings


def fetch(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.status, answer.read()


async def push(live: Live) -> None:
    await live.client.push_blob("a/b", CONTENT)


async def test_get_is_sent_to_the_bucket(serving: Serving, in_bucket: In, minio: S3Server) -> None:
    async with serving(**in_bucket()) as live:
        await push(live)
        answer = (await live.client.get(BLOB)).expect(307)
        assert answer.body == b""
        assert answer.headers["Docker-Content-Digest"] == DIGEST
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
        url = answer.headers["Location"]
        assert url.startswith(f"{minio.endpoint}/{BUCKET}/web/blobs/")
        assert await asyncio.to_thread(fetch, url, {}) == (200, CONTENT)
        answer = (await live.client.get(BLOB, Range="bytes=2-4")).expect(307)
        url = answer.headers["Location"]
        assert await asyncio.to_thread(fetch, url, {"Range": "bytes=2-4"}) == (206, CONTENT[2:5])


async def test_head_and_what_the_client_has_are_answered_from_here(serving: Serving, in_bucket: In) -> None:
    async with serving(**in_bucket()) as live:
        await push(live)
        answer = (await live.client.send("HEAD", BLOB)).expect(200)
        assert answer.headers["Content-Length"] == "10"
        answer = (await live.client.get(BLOB, If_None_Match=f'"{DIGEST}"')).expect(304)
        assert answer.headers["ETag"] == f'"{DIGEST}"'
        (await live.client.get(BLOB, If_None_Match='"other"')).expect(307)
        (await live.client.get(f"/v2/a/b/blobs/{Digest.of(b'absent')}")).expect(404)
        (await live.client.get(f"/v2/a/other/blobs/{DIGEST}")).expect(404)


async def test_manifest_that_is_pulled_as_a_blob_is_sent_from_here(serving: Serving, in_bucket: In) -> None:
    async with serving(**in_bucket()) as live:
        pushed = index()
        await live.client.push_manifest("a/b", "latest", pushed)
        answer = (await live.client.get(f"/v2/a/b/blobs/{pushed.digest}")).expect(200)
        assert answer.body == pushed.content


async def test_without_redirects_bytes_and_ranges_stream_through(serving: Serving, in_bucket: In) -> None:
    async with serving(**in_bucket(s3_redirect=False)) as live:
        await push(live)
        assert (await live.client.get(BLOB)).expect(200).body == CONTENT
        answer = (await live.client.get(BLOB, Range="bytes=2-4")).expect(206)
        assert (answer.body, answer.headers["Content-Range"]) == (CONTENT[2:5], "bytes 2-4/10")
        assert (await live.client.get(BLOB, Range="bytes=0-0,9-9")).expect(206).body.count(
            b"Content-Range"
        ) == 2
        (await live.client.get(BLOB, Range="bytes=10-")).expect(416)


async def test_store_that_is_away_is_503_with_retry_after(serving: Serving, in_bucket: In) -> None:
    async with serving(**in_bucket(s3_redirect=False)) as live:
        await push(live)
    # Nothing listens at that port; the server serves what it can all the same.
    async with serving(**in_bucket(s3_redirect=False, s3_endpoint="http://127.0.0.1:9")) as live:
        answer = (await live.client.get(BLOB)).expect(503)
        assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
        assert int(answer.headers["Retry-After"]) > 0
        (await live.client.send("HEAD", BLOB)).expect(200)
        answer = (await live.client.post(f"/v2/a/b/blobs/uploads/?digest={Digest.of(b'x')}", b"x")).expect(
            503
        )
        assert int(answer.headers["Retry-After"]) > 0
