"""Bodies that lie about their length or break off."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from registry.web.body import limit_body
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from storage.digest import Digest
from tests.registry.web.content import OCI_INDEX, index
from tests.registry.web.live import Live, Raw, connect, streamed


async def _put(raw: Raw, header: str, sent: bytes) -> None:
    await raw.write(f"PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: {OCI_INDEX}\r\n".encode())
    await raw.write(f"{header}\r\n\r\n".encode() + sent)


@pytest.mark.parametrize("size", [1, 33, 34])
async def test_bytes_behind_the_length_are_another_request(open_live: Live, size: int) -> None:
    content = index().content
    async with connect(open_live) as raw:
        await _put(raw, f"Content-Length: {len(content)}", content)
        assert (await raw.read_answer())[0] == 201
        await raw.write(b"x" * size + b" / HTTP/1.1\r\n\r\n")
        assert b" 400 " in await raw.read_rest()
    assert (await open_live.client.get("/v2/a/b/manifests/v1")).body == content


@pytest.mark.parametrize(
    ("header", "framed"), [("Content-Length: 1000", False), ("Transfer-Encoding: chunked", True)]
)
async def test_short_manifest_is_not_kept(open_live: Live, header: str, framed: bool) -> None:
    content = index().content
    async with connect(open_live) as raw:
        await _put(raw, header, b"%x\r\n%b\r\n" % (len(content), content) if framed else content)
        raw.writer.write_eof()
        assert b" 20" not in await raw.read_rest()
    assert (await open_live.client.get("/v2/a/b/manifests/v1")).outcome == (404, "NAME_UNKNOWN")


async def test_chunks_of_every_size_make_the_same_manifest(open_live: Live) -> None:
    content = index(annotations={"a": "b" * 100}).content
    for size in (1, 7, len(content)):
        chunks = [content[start : start + size] for start in range(0, len(content), size)]
        answer = await open_live.client.put("/v2/a/b/manifests/v1", streamed(chunks), Content_Type=OCI_INDEX)
        assert answer.headers["Docker-Content-Digest"] == Digest.of(content)


async def test_chunk_extensions_and_trailers_are_not_content(open_live: Live) -> None:
    content = index().content
    async with connect(open_live) as raw:
        chunk = b"%x;name=value\r\n%b\r\n0\r\nX-Trailer: a\r\n\r\n" % (len(content), content)
        await _put(raw, "Transfer-Encoding: chunked", chunk)
        assert (await raw.read_answer())[0] == 201
    assert (await open_live.client.get("/v2/a/b/manifests/v1")).body == content


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    """A server that reads bodies of 10 bytes at most."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=b"".join([part async for part in limit_body(request, 10)]))

    app = web.Application(middlewares=[error_middleware(Origins(None, ()), "longshore")])
    app.router.add_post("/", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(("size", "expected"), [(0, 200), (9, 200), (10, 200), (11, 413), (100_000, 413)])
@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "in chunks"])
async def test_limit(echo_port: int, size: int, expected: int, announced: bool) -> None:
    sent = b"x" * size
    head = b"Content-Length: %d\r\n\r\n%b" % (size, sent)
    chunks = (
        b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"%x\r\n%b\r\n" % (size, sent) if size else b"")
        + b"0\r\n\r\n"
    )
    async with connect(echo_port) as raw:
        await raw.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + (head if announced else chunks))
        status, _, content = await raw.read_answer()
    assert status == expected
    if expected == 200:
        assert content == sent
