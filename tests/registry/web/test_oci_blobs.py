"""Blobs: what headers say of them, how they are sent, and what becomes of a broken file or connection."""

import hashlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import pytest
from aiohttp import web

from registry.interface import Blob, Descriptor
from registry.web.blob import BlobResponse
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from storage.blobs import BlobReader
from storage.digest import Digest
from tests.registry.web.content import ABSENT, OCI_INDEX, index, push_image
from tests.registry.web.live import Live, connect, until

CONTENT: Final = b"hello"
DIGEST: Final = Digest.of(CONTENT)
BLOB: Final = f"/v2/a/b/blobs/{DIGEST}"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_get_and_head(open_live: Live, algorithm: str) -> None:
    client, digest = open_live.client, Digest.of(CONTENT, algorithm)
    (await client.post(f"/v2/a/b/blobs/uploads/?digest={digest}", CONTENT)).expect(201)
    for method, body in (("GET", CONTENT), ("HEAD", b"")):
        answer = (await client.send(method, f"/v2/a/b/blobs/{digest}")).expect(200)
        assert answer.body == body
        expected = {
            "Content-Length": "5",
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "max-age=31536000, immutable",
            "Docker-Distribution-Api-Version": "registry/2.0",
            "X-Content-Type-Options": "nosniff",
        }
        assert {name: answer.headers.get(name) for name in expected} == expected


async def test_what_was_authorized_is_cached_in_private(open_live: Live) -> None:
    await open_live.client.push_blob("a/b", CONTENT)
    for status, more in ((200, {}), (206, {"Range": "bytes=0-1"}), (304, {"If_None_Match": "*"})):
        answer = (await open_live.client.get(BLOB, Authorization="Bearer x", **more)).expect(status)
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"


NEVER_COMPRESSED: Final = [
    "gzip",
    "zstd, gzip",
    "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5",
    "*",
    "identity;q=0",
    "br",
]


async def test_never_compressed(open_live: Live, subtests: pytest.Subtests) -> None:
    for encoding in NEVER_COMPRESSED:
        with subtests.test(f"{encoding!r:.40}"):
            await _check_never_compressed(open_live, encoding)


async def _check_never_compressed(open_live: Live, encoding: str) -> None:
    content = b"a" * 100_000
    digest = await open_live.client.push_blob("a/b", content)
    await open_live.client.push_manifest("a/b", "v1", index())
    for path, expected in ((f"blobs/{digest}", content), ("manifests/v1", index().content)):
        answer = await open_live.client.get(f"/v2/a/b/{path}", Accept_Encoding=encoding)
        assert answer.body == expected
        assert "Content-Encoding" not in answer.headers
        assert "Transfer-Encoding" not in answer.headers


IF_NONE_MATCH: Final = [
    (f'"{DIGEST}"', 304),
    (DIGEST, 304),
    (f'W/"{DIGEST}"', 304),
    (f'"x", "{DIGEST}"', 304),
    ("*", 304),
    ('"x"', 200),
    ("", 200),
]


async def test_if_none_match(open_live: Live, subtests: pytest.Subtests) -> None:
    for sent, status in IF_NONE_MATCH:
        with subtests.test(f"{sent!r:.40} {status!r:.40}"):
            await _check_if_none_match(open_live, sent, status)


async def _check_if_none_match(open_live: Live, sent: str, status: int) -> None:
    await open_live.client.push_blob("a/b", CONTENT)
    for method in ("GET", "HEAD"):
        answer = (await open_live.client.send(method, BLOB, None, {"If-None-Match": sent})).expect(status)
        assert answer.headers["ETag"] == f'"{DIGEST}"'
        assert answer.headers["Docker-Content-Digest"] == DIGEST
        assert answer.body == (CONTENT if (status, method) == (200, "GET") else b"")


async def test_unknown_blob(open_live: Live) -> None:
    await open_live.client.push_blob("a/b", CONTENT)
    for target in (f"/v2/a/b/blobs/{ABSENT}", f"/v2/a/c/blobs/{DIGEST}", f"/v2/c/blobs/{DIGEST}"):
        assert (await open_live.client.get(target)).outcome == (404, "BLOB_UNKNOWN")
        assert (await open_live.client.head(target)).status == 404
        assert (await open_live.client.delete(target)).outcome == (404, "BLOB_UNKNOWN")


async def test_manifest_is_served_under_blobs(open_live: Live) -> None:
    """containerd asks here when it knows no more than a digest."""
    manifest = index()
    await open_live.client.push_manifest("a/b", "v1", manifest)
    for method, body in (("GET", manifest.content), ("HEAD", b"")):
        answer = (await open_live.client.send(method, f"/v2/a/b/blobs/{manifest.digest}")).expect(200)
        assert answer.body == body
        assert answer.headers["Content-Type"] == OCI_INDEX
        assert answer.headers["Content-Length"] == str(len(manifest.content))
        assert answer.headers["Docker-Content-Digest"] == manifest.digest


async def test_delete(open_live: Live) -> None:
    client = open_live.client
    await client.push_blob("a/b", CONTENT)
    await client.push_blob("a/c", CONTENT)
    answer = (await client.delete(BLOB)).expect(202)
    assert answer.body == b""
    assert (await client.get(BLOB)).status == 404
    assert (await client.delete(BLOB)).status == 404
    assert (await client.get(f"/v2/a/c/blobs/{DIGEST}")).body == CONTENT
    assert (await client.push_blob("a/b", CONTENT)) == DIGEST
    assert (await client.get(BLOB)).body == CONTENT


async def test_blob_of_a_manifest_is_not_deleted(open_live: Live) -> None:
    client = open_live.client
    manifest = await push_image(client, "a/b", "v1", layers=[CONTENT])
    refused = await client.delete(BLOB)
    assert refused.outcome == (403, "DENIED")
    assert refused.json()["errors"][0]["detail"] == {"digest": DIGEST, "manifest": manifest.digest}
    (await client.delete(f"/v2/a/b/manifests/{manifest.digest}")).expect(202)
    (await client.delete(BLOB)).expect(202)


async def test_large_blob_arrives_whole(open_live: Live) -> None:
    block = random.Random(3).randbytes(1024 * 1024)
    size, hasher = 64, hashlib.sha256()
    for number in range(size):
        hasher.update(block[number:] + block[:number])
    client, digest = open_live.client, Digest(f"sha256:{hasher.hexdigest()}")
    location = await client.start_upload("a/b")
    body = (block[number:] + block[:number] for number in range(size))
    (await client.put(f"{location}?digest={digest}", _stream(body))).expect(201)
    received = hashlib.sha256()
    async with client.session.get(f"{client.base}/v2/a/b/blobs/{digest}") as response:
        assert response.content_length == size * len(block)
        async for data in response.content.iter_any():
            received.update(data)
    assert received.hexdigest() == digest.hex


async def _stream(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for each in blocks:
        yield each


# -- what breaks -----------------------------------------------------------------------------------------


async def test_vanished_file_is_an_unknown_blob(open_live: Live) -> None:
    await open_live.client.push_blob("a/b", CONTENT)
    open_live.blob_path(DIGEST).unlink()
    assert (await open_live.client.head(BLOB)).status == 200  # nobody has looked yet
    for headers in ({}, {"Range": "bytes=0-1"}):
        assert (await open_live.client.get(BLOB, **headers)).outcome == (404, "BLOB_UNKNOWN")
    assert (await open_live.client.head(BLOB)).status == 404
    # Pushing it again repairs it.
    await open_live.client.push_blob("a/b", CONTENT)
    assert (await open_live.client.get(BLOB)).body == CONTENT


@pytest.mark.parametrize("ranges", ["", "Range: bytes=0-1999999\r\n", "Range: bytes=0-9,1000000-1999999\r\n"])
async def test_truncated_file_breaks_the_connection(
    open_live: Live, ranges: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client waits for more bytes: it must get no others, such as those of the next response."""
    content = random.Random(4).randbytes(2_000_000)
    digest = await open_live.client.push_blob("a/b", content)
    os.truncate(open_live.blob_path(digest), 1_500_000)
    request = f"GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nHost: x\r\n{ranges}\r\n"
    async with connect(open_live) as raw:
        await raw.write((request + "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").encode())
        status, headers = await raw.read_head()
        received = await raw.read_rest()
    assert status in (200, 206)
    assert len(received) < int(headers["content-length"])
    assert content[:1_500_000].endswith(received[-1000:])
    assert "the file ends at byte 1500000" in capsys.readouterr().out
    # It is fenced from then on.
    for method in ("GET", "HEAD"):
        assert (await open_live.client.send(method, f"/v2/a/b/blobs/{digest}")).status == 404


def _open_files(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue  # the descriptor that lists them
    return [each for each in found if each.startswith(str(folder))]


@pytest.mark.parametrize(
    "ranges", ["", "Range: bytes=0-9999999,10000000-29999999\r\n"], ids=["whole", "ranges"]
)
async def test_client_that_leaves_holds_no_file(
    open_live: Live, ranges: str, caplog: pytest.LogCaptureFixture
) -> None:
    digest = await open_live.client.push_blob("a/b", bytes(32 * 1024 * 1024))
    folder = open_live.data / "blobs"
    for _ in range(3):
        async with connect(open_live) as raw:
            await raw.write(f"GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nHost: x\r\n{ranges}\r\n".encode())
            await raw.read_head()
            await raw.reader.readexactly(1000)
            assert len(_open_files(folder)) == 1
        await until(lambda: _none_open(folder))
    assert not caplog.get_records("call")  # a client that goes away is no failure of the server


async def _none_open(folder: Path) -> bool:
    return not _open_files(folder)


NO_ANSWER_LEAVES_A_FILE_OPEN: Final = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=0-1"}),
    ("GET", {"Range": "bytes=0-1,3-3"}),
    ("GET", {"Range": "bytes=9-"}),
    ("GET", {"If-None-Match": "*"}),
]


async def test_no_answer_leaves_a_file_open(open_live: Live, subtests: pytest.Subtests) -> None:
    for method, headers in NO_ANSWER_LEAVES_A_FILE_OPEN:
        with subtests.test(f"{method!r:.40} {headers!r:.40}"):
            await _check_no_answer_leaves_a_file_open(open_live, method, headers)


async def _check_no_answer_leaves_a_file_open(open_live: Live, method: str, headers: dict[str, str]) -> None:
    await open_live.client.push_blob("a/b", CONTENT)
    await open_live.client.send(method, BLOB, None, headers)
    await until(lambda: _none_open(open_live.data / "blobs"))


# -- readers that are no plain file ----------------------------------------------------------------------


class _Reader:
    """A reader whose file, or bytes, come with a surprise."""

    def __init__(self, content: bytes, file: BinaryIO | None = None) -> None:
        self.content = content
        self.closed = False
        self._file = file
        self.request: web.Request | None = None

    @property
    def file(self) -> BinaryIO | None:
        """The file; the client goes away at the moment that it is asked for."""
        if self._file is not None and self.request is not None and self.request.transport is not None:
            self.request.transport.close()
        return self._file

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes one by one, and fail where they end early."""
        for offset in range(start, stop):
            if offset >= len(self.content):
                raise OSError("the bytes end here")
            yield self.content[offset : offset + 1]

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


async def _exchange(reader: _Reader, size: int) -> bytes:
    """Serve the reader to one request and return all that it sends."""

    async def handle(request: web.Request) -> web.StreamResponse:
        reader.request = request
        plain: BlobReader = reader
        response = BlobResponse(Blob(Descriptor("text/plain", DIGEST, size), plain), None, {})
        await response.send(request)
        return response

    app = web.Application(middlewares=[error_middleware(Origins(None, ()), "longshore")])
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with connect(runner.addresses[0][1]) as raw:
            await raw.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await raw.read_rest()
    finally:
        await runner.cleanup()


async def test_reader_without_a_file() -> None:
    reader = _Reader(CONTENT)
    assert (await _exchange(reader, 5)).endswith(b"\r\n\r\nhello")
    assert reader.closed


async def test_reader_that_fails_breaks_the_connection() -> None:
    reader = _Reader(b"hel")
    received = await _exchange(reader, 5)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\nhel")
    assert reader.closed


async def test_client_that_leaves_before_the_first_byte(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    with path.open("rb", buffering=0) as file:
        reader = _Reader(CONTENT, file)
        await _exchange(reader, 5)
    assert reader.closed
    assert not caplog.get_records("call")
    assert "request failed" not in capsys.readouterr().out
