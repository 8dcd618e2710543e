"""Large bodies around the parser: in whatever pieces they come, reader and parser get what is theirs."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Final

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from registry.web import bulk
from registry.web.bulk import Bulk, Chunked, Framing, Sized
from registry.web.connection import Connection
from tests.registry.web.live import Client, Live, connect, exchange, until
from tests.registry.web.test_connections import has_connections, look
from tests.storage.properties import PROPERTY

MIB: Final = 1024 * 1024
NEXT: Final = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"

_CHUNKED: Final = b"PATCH /it HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Taken:
    """What came of a body: to its reader, and to the parser."""

    data: list[bytes] = field(default_factory=list)
    rest: bytes | None = None

    def feed_data(self, data: bytes) -> None:
        self.data.append(data)

    def done(self, _: Framing, rest: bytes) -> None:
        self.rest = rest


async def take(framing: Framing, pieces: Iterable[bytes]) -> tuple[bytes, bytes | None]:
    """Let pieces arrive; return the reader's bytes and the parser's, None where the body has not ended."""
    taken: Any = Taken()
    beneath = asyncio.Protocol()
    taking = Bulk(beneath, taken, framing, lambda _: None, taken.done)
    left = list(pieces)
    taking.begin(left.pop(0) if left else b"")
    while left and taken.rest is None:
        view = taking.get_buffer(-1)
        size = min(len(view), len(left[0]))
        assert size
        view[:size], left[0] = left[0][:size], left[0][size:]
        taking.buffer_updated(size)
        if not left[0]:
            left.pop(0)
    taking.flush()
    rest = None if taken.rest is None else taken.rest + b"".join(left)
    return b"".join(taken.data), rest


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut into pieces."""
    at = [0, *sorted({each % (len(data) + 1) for each in places}), len(data)]
    return [data[start:stop] for start, stop in pairwise(at)]


def parsed(data: bytes) -> tuple[bytes, list[str]]:
    """Return the body of a chunked request, as aiohttp's parser has it, and the paths of all requests."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    parser: Any = HttpRequestParser(protocol, loop, 2**20)
    protocol._parser = parser
    messages, _, _ = parser.feed_data(_CHUNKED + data)
    body: StreamReader = messages[0][1]
    return b"".join(body._buffer), [message.path for message, _ in messages]


@pytest.fixture(autouse=True)
def small_buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "live" not in request.fixturenames and "open_live" not in request.fixturenames:
        monkeypatch.setattr(bulk, "_LEAST", 16)
        monkeypatch.setattr(bulk, "_MOST", 80)


PIECES = st.lists(st.integers(0, 10_000), max_size=12)


def chunk(data: bytes, *, upper: bool = False, zeros: int = 0) -> bytes:
    size = f"{len(data):X}" if upper else f"{len(data):x}"
    return b"%b%b\r\n%b\r\n" % (b"0" * zeros, size.encode(), data)


@PROPERTY
@given(data=st.binary(min_size=1, max_size=300), behind=st.sampled_from([b"", NEXT]), places=PIECES)
async def test_a_body_of_known_length_ends_where_it_says(
    data: bytes, behind: bytes, places: list[int]
) -> None:
    assert await take(Sized(len(data)), cut(data + behind, [*places, 40, 80])) == (data, behind)


@PROPERTY
@given(
    chunks=st.lists(
        st.builds(
            chunk, st.binary(min_size=1, max_size=150), upper=st.booleans(), zeros=st.sampled_from([0, 0, 3])
        ),
        max_size=6,
    ),
    last=st.sampled_from(
        [b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nX-Trailer: b\r\n\r\n", b"1;a=b\r\nx\r\n0\r\n\r\n"]
    ),
    behind=st.sampled_from([b"", NEXT]),
    places=PIECES,
)
async def test_chunks_are_read_as_the_parser_reads_them(
    chunks: list[bytes], last: bytes, behind: bytes, places: list[int]
) -> None:
    sent = b"".join(chunks) + last + behind
    data, rest = await take(Chunked(), cut(sent, [*places, 50, 100]))
    assert rest is not None
    assert rest.startswith(last), "the parser goes on with the first chunk that is not plain"
    body, paths = parsed(rest)
    assert (data + body, paths) == parsed(sent)


BROKEN: Final = {
    "no size": b"x\r\n",
    "a size of eight digits": b"00000005\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "a space": b"5 \r\nhello\r\n",
    "no carriage return": b"5\nhello\r\n",
    "longer than it says": b"4\r\nhello\r\n",
    "shorter than it says": b"6\r\nhello\r\n0\r\n\r\n",
    "half a line end": b"5\r\nhello\rx",
    "nothing before the line end": b"\r\n",
}


@pytest.mark.parametrize("words", BROKEN)
@pytest.mark.parametrize("before", [b"", chunk(b"first"), chunk(b"f" * 100)])
async def test_what_is_no_chunk_is_left_to_the_parser(words: str, before: bytes) -> None:
    for size in (1, 2, 5, 1000):
        sent = before + BROKEN[words] + b"7\r\n"
        data, rest = await take(Chunked(), [sent[at : at + size] for at in range(0, len(sent), size)])
        assert rest is not None, size
        try:
            wanted = parsed(sent)
        except HttpProcessingError:
            with pytest.raises(HttpProcessingError):
                parsed(rest)
        else:
            assert (data + parsed(rest)[0], parsed(rest)[1]) == wanted


async def test_a_body_that_comes_slowly_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_LINGER", 0)
    taken: Any = Taken()
    taking = Bulk(asyncio.Protocol(), taken, Sized(100), lambda _: None, taken.done)
    for number in range(3):
        taking.get_buffer(-1)[:1] = b"x"
        taking.buffer_updated(1)
        await until(partial(_has, taken, number + 1))
    assert taken.data == [b"x"] * 3
    assert taken.rest is None


async def test_a_buffer_is_as_large_as_a_body_is_fast() -> None:
    taken: Any = Taken()
    taking = Bulk(asyncio.Protocol(), taken, Sized(10_000), lambda _: None, taken.done)
    taking.begin(b"")
    sizes = []
    for _ in range(4):
        sizes.append(len(taking.get_buffer(-1)))
        taking.buffer_updated(sizes[-1])
    assert sizes == [16, 64, 80, 80]
    taking.buffer_updated(1)
    await until(partial(_has, taken, 5))
    assert len(taking.get_buffer(-1)) == 16
    assert sum(map(len, taken.data)) == sum(sizes) + 1


async def _has(taken: Taken, count: int) -> bool:
    return len(taken.data) >= count


# -- through the server ----------------------------------------------------------------------------------


async def owner_of(live: Live) -> Client:
    live.add_account("team")
    return await live.login("team", "repository:team/app:*")


def content_of(size: int) -> bytes:
    return hashlib.shake_256(b"content").digest(size)


async def go_around(live: Live) -> None:
    """Return when a body goes around the parser."""
    await has_connections(live, lambda all_: any(each._bulk is not None for each in all_))


async def head_of(live: Live, client: Client, framing: str) -> bytes:
    """Begin an upload and return the head of a chunk for it."""
    path = (await client.start_upload("team/app")).removeprefix(f"http://{live.host}")
    fields = [framing, *(f"{name}: {value}" for name, value in client.headers.items())]
    return "\r\n".join([f"PATCH {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def framed(content: bytes, size: int | None) -> tuple[str, bytes]:
    """Return a header and a body: in chunks of a size, or as it is."""
    if size is None:
        return f"Content-Length: {len(content)}", content
    chunks = [chunk(content[at : at + size]) for at in range(0, len(content), size)]
    return "Transfer-Encoding: chunked", b"".join(chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [None, 5000, 32768, MIB])
@pytest.mark.parametrize("apart", [True, False])
async def test_a_large_push_goes_around_the_parser(live: Live, size: int | None, apart: bool) -> None:
    client, content = await owner_of(live), content_of(3 * MIB + 17)
    header, body = framed(content, size)
    async with connect(live) as raw:
        head = await head_of(live, client, header)
        if apart:
            await raw.write(head)
            await go_around(live)
            await raw.write(body)
        else:
            await raw.write(head + body)
        status, headers, _ = await raw.read_answer()
        assert (status, headers["range"]) == (202, f"0-{len(content) - 1}")
        closing = headers["location"].removeprefix(f"http://{live.host}")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        joint = "&" if "?" in closing else "?"
        await raw.write(
            f"PUT {closing}{joint}digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
            f"Authorization: {client.headers['Authorization']}\r\n\r\n".encode()
        )
        assert (await raw.read_answer())[0] == 201
    assert (await client.get(f"/v2/team/app/blobs/{digest}")).expect(200).body == content


@pytest.mark.parametrize("size", [None, 32768])
async def test_requests_right_behind_a_large_body_are_answered(live: Live, size: int | None) -> None:
    client, content = await owner_of(live), content_of(MIB)
    header, body = framed(content, size)
    ping = (
        f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n\r\n".encode()
    )
    async with connect(live) as raw:
        for _ in range(3):
            await raw.write(await head_of(live, client, header) + body + ping + ping)
            assert [(await raw.read_answer())[0] for _ in range(3)] == [202, 200, 200]


@pytest.mark.parametrize("size", [None, 32768])
async def test_what_came_of_a_large_body_that_breaks_off_is_kept(live: Live, size: int | None) -> None:
    client, content = await owner_of(live), content_of(2 * MIB)
    header, body = framed(content, size)
    sent = 700_000
    async with connect(live) as raw:
        head = await head_of(live, client, header)
        await raw.write(head)
        await go_around(live)
        await raw.write(body[:sent])
        raw.writer.close()
        await raw.writer.wait_closed()

    path = head.split(b" ")[1].decode()

    async def is_kept() -> bool:
        answer = await client.get(path)
        return answer.status == 204 and answer.headers.get("Range", "0-0") != "0-0"

    await until(is_kept)
    offset = int((await client.get(path)).headers["Range"].partition("-")[2]) + 1
    assert offset == (sent if size is None else len(parsed_part(body[:sent])))
    answer = await client.patch(path, content[offset:], Content_Range=f"{offset}-{len(content) - 1}")
    assert answer.status == 202
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = answer.headers["Location"].removeprefix(f"http://{live.host}")
    assert (await client.put(f"{location}{'&' if '?' in location else '?'}digest={digest}")).status == 201


def parsed_part(body: bytes) -> bytes:
    """Return the data in what has come of a body in chunks."""
    data = b""
    while body:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        data, body = data + body[:size], body[size + 2 :]
    return data


@pytest.mark.parametrize("size", [None, 32768])
async def test_a_large_body_that_stands_still_is_answered(open_live: Live, size: int | None) -> None:
    header, body = framed(content_of(MIB), size)
    async with connect(open_live) as raw:
        head = await head_of(open_live, open_live.client, header)
        await raw.write(head)
        await go_around(open_live)
        await raw.write(body[:500_000])
        await has_connections(open_live, lambda all_: any(each._received > 500_000 for each in all_))
        for seconds in (0, 61, 122):
            look(open_live, seconds)
        status, _, _ = await raw.read_answer()
        assert status == 408
    kept = (await open_live.client.get(head.split(b" ")[1].decode())).expect(204).headers["Range"]
    assert int(kept.partition("-")[2]) > 490_000


async def test_an_odd_chunk_amid_a_large_body_is_refused(open_live: Live) -> None:
    async with connect(open_live) as raw:
        await raw.write(await head_of(open_live, open_live.client, "Transfer-Encoding: chunked"))
        await go_around(open_live)
        await raw.write(chunk(content_of(MIB)) + b"nonsense\r\n")
        assert (await raw.read_answer())[0] == 400
        assert b"HTTP/1.1 200" not in await raw.read_rest()


async def test_small_bodies_are_left_to_the_parser(open_live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("went around the parser")

    monkeypatch.setattr(Connection, "_end_bulk", refuse)
    small = b"x" * (bulk.WORTH - 1)
    for header, body in (framed(small, None), framed(b"small", 3)):
        sent = await head_of(open_live, open_live.client, header) + body
        assert (await exchange(open_live, sent))[0] == 202
