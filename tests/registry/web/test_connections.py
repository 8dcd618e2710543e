"""What a stranger's connection may cost: heads that do not end, bodies and answers that stand still.

The server looks at its connections once a second. Here the looks are called by hand, at the time that the
test says it is: nothing waits, and nothing depends on how fast the machine is.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from registry.errors import Problem
from registry.web.admission import Admission
from registry.web.connection import Connection
from registry.web.runner import BoundedServer
from storage.digest import Digest
from tests.registry.logged import logged
from tests.registry.web.conftest import Serving
from tests.registry.web.content import OCI_INDEX, index
from tests.registry.web.live import Live, Raw, connect, until

MIB: Final = 1024 * 1024
GET: Final = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"

# The settings' defaults.
HEAD: Final = 30
WINDOW: Final = 60
RATE: Final = 1024


def server_of(live: Live) -> BoundedServer:
    server = live.runner.server
    assert isinstance(server, BoundedServer)
    return server


def look(live: Live, seconds: float) -> None:
    """Let the server look at its connections as it would so many seconds from now."""
    server_of(live).look(asyncio.get_running_loop().time() + seconds)


async def has_connections(live: Live, condition: Callable[[list[Connection]], bool]) -> None:
    """Return when what the server knows of its connections is as it should be."""

    async def holds() -> bool:
        return condition([each for each in server_of(live).connections if isinstance(each, Connection)])

    await until(holds)


async def ended(live: Live) -> dict[str, float]:
    """Return how many connections were ended, by reason."""
    lines = (await live.client.get("/metrics")).expect(200).body.decode().splitlines()
    found = [line for line in lines if line.startswith("longshore_connections_ended_total{")]
    counts = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}
    return {reason: count for reason, count in counts.items() if count}


# -- heads that do not end -------------------------------------------------------------------------------

SLOW_HEADS: Final = {
    "not a byte": b"",
    "half a request line": b"GET /v2/ HT",
    "no end": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: b\r\n",
}


@pytest.mark.parametrize("words", SLOW_HEADS)
async def test_a_head_that_does_not_end_closes_the_connection(open_live: Live, words: str) -> None:
    sent = SLOW_HEADS[words]
    async with connect(open_live) as raw:
        await raw.write(sent)
        await has_connections(open_live, lambda all_: [each._received for each in all_] == [len(sent)])
        look(open_live, HEAD - 5)
        assert server_of(open_live).connections
        look(open_live, HEAD + 1)
        assert await raw.read_rest() == b""
    assert await ended(open_live) == {"head timeout": 1}


async def test_a_head_that_comes_byte_by_byte_closes_the_connection(open_live: Live) -> None:
    """Each byte is progress of a kind; the head has to end all the same."""
    async with connect(open_live) as raw:
        for seconds, byte in enumerate(GET[: HEAD - 2]):
            await raw.write(bytes([byte]))
            look(open_live, seconds)
        assert server_of(open_live).connections
        look(open_live, HEAD + 1)
        assert await raw.read_rest() == b""


async def test_a_second_head_has_to_end_as_well(open_live: Live) -> None:
    async with connect(open_live) as raw:
        await raw.write(GET)
        assert (await raw.read_answer())[0] == 200
        await raw.write(GET[:9])
        await has_connections(open_live, lambda all_: [each._head_size for each in all_] == [9])
        look(open_live, 0)
        look(open_live, HEAD - 5)
        assert server_of(open_live).connections
        look(open_live, HEAD + 1)
        assert await raw.read_rest() == b""


async def test_an_idle_connection_stays_open_between_requests(open_live: Live) -> None:
    async with connect(open_live) as raw:
        for _ in range(3):
            await raw.write(GET)
            assert (await raw.read_answer())[0] == 200
            for seconds in (0, HEAD + 1, 2 * HEAD + 2):
                look(open_live, seconds)


async def test_a_head_in_many_pieces_is_a_request(open_live: Live) -> None:
    async with connect(open_live) as raw:
        for byte in GET:
            await raw.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await raw.read_answer())[0] == 200


# -- heads that are too large ----------------------------------------------------------------------------

LARGE_HEADS: Final = {
    "a long request line": b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long field": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 33_000 + b"\r\n\r\n",
    "a long name": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"a" * 33_000 + b": b\r\n\r\n",
    "many fields": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("words", LARGE_HEADS)
async def test_a_head_that_is_too_large_is_refused(open_live: Live, words: str) -> None:
    async with connect(open_live) as raw:
        await raw.write(LARGE_HEADS[words])
        status, headers, body = await raw.read_answer()
        assert (status, headers["connection"]) == (431, "close")
        assert headers["x-content-type-options"] == "nosniff"
        assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"
        assert await raw.read_rest() == b""


async def test_a_head_of_many_long_fields_is_cut_off(open_live: Live) -> None:
    """Each field is as long as one may be: together they may not."""
    async with connect(open_live) as raw:
        with pytest.raises(ConnectionError):
            await raw.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
            while True:
                await raw.write(b"X-A: " + b"a" * 30_000 + b"\r\n")
                await asyncio.sleep(0)
    assert await ended(open_live) == {"head too large": 1}


async def test_what_is_no_http_is_answered_in_our_form(open_live: Live) -> None:
    async with connect(open_live) as raw:
        await raw.write(b"\x16\x03\x01 hello\r\n\r\n")
        status, headers, body = await raw.read_answer()
    assert (status, headers["connection"]) == (400, "close")
    (error,) = json.loads(body)["errors"]
    assert error == {"code": "UNSUPPORTED", "message": "the request is invalid"}


# -- bodies that stand still -----------------------------------------------------------------------------


async def begin_upload(live: Live, raw: Raw, sent: bytes, framing: str = "Content-Length: 1000000") -> str:
    """Send the head of a PATCH and some bytes of its body; return the upload's location when they are in."""
    location = await live.client.start_upload("a/b")
    await raw.write(f"PATCH {location} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + sent)
    await has_arrived(live, 1)
    return location


async def has_arrived(live: Live, size: int) -> None:
    """Return when a body of so many bytes, or more, was read."""
    await has_connections(
        live,
        lambda all_: any(
            each._body and each._body.total_bytes >= size and not each._body._size for each in all_
        ),
    )


async def refused(raw: Raw) -> tuple[int, str, str]:
    """Return status, code and the header Connection of the next answer."""
    status, headers, body = await raw.read_answer()
    return status, json.loads(body)["errors"][0]["code"], headers["connection"]


async def offset_of(live: Live, location: str) -> str:
    return (await live.client.get(location)).expect(204).headers["Range"]


async def test_a_body_that_stands_still_is_answered_and_what_came_is_kept(open_live: Live) -> None:
    async with connect(open_live) as raw:
        location = await begin_upload(open_live, raw, b"x" * 500)
        for seconds in (0, WINDOW - 5, WINDOW + 1):
            look(open_live, seconds)
        assert await refused(raw) == (408, "UNSUPPORTED", "close")
        assert await raw.read_rest() == b""
    assert await offset_of(open_live, location) == "0-499"
    assert (await open_live.client.patch(location, b"y", Content_Range="500-500")).status == 202
    assert await ended(open_live) == {"slow body": 1}


async def test_a_body_that_trickles_is_answered(open_live: Live) -> None:
    """A byte now and then held a connection, an upload and memory for as long as somebody liked."""
    async with connect(open_live) as raw:
        location = await begin_upload(open_live, raw, b"x")
        count = 1
        for seconds in range(0, WINDOW + 2, 5):
            look(open_live, seconds)
            if seconds < WINDOW:
                await raw.write(b"x")
                count += 1
                await has_arrived(open_live, count)
        assert await refused(raw) == (408, "UNSUPPORTED", "close")
    assert await offset_of(open_live, location) == f"0-{count - 1}"


async def test_a_slow_body_that_moves_on_is_taken(open_live: Live) -> None:
    content = b"x" * RATE * WINDOW
    async with connect(open_live) as raw:
        location = await begin_upload(open_live, raw, b"x", f"Content-Length: {4 * len(content) + 1}")
        total = 1
        for window in range(4):
            look(open_live, window * (WINDOW + 1))
            await raw.write(content)
            total += len(content)
            await has_arrived(open_live, total)
        look(open_live, 4 * (WINDOW + 1))
        assert (await raw.read_answer())[0] == 202
    assert await offset_of(open_live, location) == f"0-{total - 1}"


@pytest.mark.parametrize(
    "target", ["/token", "/sign-in", "/api/v1/repositories", "/v2/a/b/manifests/v1", "/v2/a/b/blobs/uploads/"]
)
async def test_every_kind_of_body_has_to_move_on(live: Live, target: str) -> None:
    """Whatever the route does with a body: it is answered, or was before the body came."""
    method = "PUT" if "manifests" in target else "POST"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with connect(live) as raw:
        await raw.write(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        await has_connections(live, lambda all_: any(each._body is not None for each in all_))
        answering = asyncio.ensure_future(raw.read_head())
        while not answering.done():
            for seconds in (0, WINDOW + 1, 2 * WINDOW + 2):
                look(live, seconds)
            await asyncio.sleep(0)
        assert (await answering)[0] in {400, 401, 403, 404, 405, 408, 415}


@pytest.mark.parametrize("sent", [b"zz\r\n", b"-1\r\n", b"4\r\nabcdefgh\r\n", b"\x00\r\n"])
async def test_a_malformed_chunk_is_answered_at_once(open_live: Live, sent: bytes) -> None:
    """It used to be waited for as if it were still on its way."""
    async with connect(open_live) as raw:
        location = await begin_upload(open_live, raw, b"3\r\nabc\r\n", "Transfer-Encoding: chunked")
        await raw.write(sent + b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await refused(raw) == (400, "SIZE_INVALID", "close")
        # Nothing behind it is believed.
        assert await raw.read_rest() == b""
    assert await offset_of(open_live, location) == ("0-6" if b"abcd" in sent else "0-2")


async def test_a_malformed_chunk_of_a_manifest_keeps_nothing(open_live: Live) -> None:
    content = index().content
    async with connect(open_live) as raw:
        head = f"PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: {OCI_INDEX}\r\n"
        await raw.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        await raw.write(b"%x\r\n%b\r\n" % (len(content), content))
        await has_arrived(open_live, len(content))
        await raw.write(b"oh\r\n")
        assert await refused(raw) == (400, "SIZE_INVALID", "close")
    assert (await open_live.client.get("/v2/a/b/manifests/v1")).outcome == (404, "NAME_UNKNOWN")


async def test_a_broken_body_is_no_error_of_ours(open_live: Live) -> None:
    with logged() as log:
        async with connect(open_live) as raw:
            await begin_upload(open_live, raw, b"3\r\nabc\r\n", "Transfer-Encoding: chunked")
            await raw.write(b"zz\r\n")
            await raw.read_rest()
        await has_connections(open_live, lambda all_: len(all_) <= 1)
    assert [line for line in log.lines if line["level"] not in ("debug", "info")] == []


# -- answers that nobody takes ---------------------------------------------------------------------------

LARGE: Final = b"a layer" * (5 * MIB)


async def push_large(live: Live) -> Digest:
    """Store a blob that is longer than the buffers of both ends."""
    return await live.client.push_blob("a/b", LARGE)


@pytest.mark.parametrize("header", ["", "Range: bytes=0-9,20-33554432\r\n"], ids=["whole", "ranges"])
async def test_a_reader_that_stalls_is_cut(open_live: Live, header: str) -> None:
    digest = await push_large(open_live)
    async with connect(open_live) as raw:
        request = f"GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nHost: x\r\n{header}\r\n"
        await raw.write(request.encode())
        await raw.read_head()
        await settled(open_live)
        for seconds in (0, WINDOW - 5, WINDOW + 1):
            look(open_live, seconds)
        assert len(await raw.read_rest()) < len(LARGE)
    await has_connections(open_live, lambda all_: not any(each._request_in_progress for each in all_[1:]))
    assert (await ended(open_live))["stalled reader"] == 1
    # The file is given back, and the server answers as before.
    assert (await open_live.client.get(f"/v2/a/b/blobs/{digest}")).body == LARGE


async def test_a_slow_reader_that_moves_on_gets_everything(open_live: Live) -> None:
    digest = await push_large(open_live)
    async with connect(open_live) as raw:
        await raw.write(f"GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await raw.read_head()
        got = b""
        for window in range(5):
            look(open_live, window * (WINDOW + 1))
            got += await raw.reader.readexactly(6 * MIB)
        look(open_live, 5 * (WINDOW + 1))
        got += await raw.reader.readexactly(len(LARGE) - len(got))
        assert got == LARGE


async def test_who_asks_much_and_reads_nothing_is_cut(open_live: Live) -> None:
    """Answers that are small each by itself: what has piled up counts."""
    content = index(annotations={"a": "b" * 60_000}).content
    (await open_live.client.put("/v2/a/b/manifests/v1", content, Content_Type=OCI_INDEX)).expect(201)
    request = b"GET /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with connect(open_live) as raw:
        raw.writer.write(request * 500)
        await has_connections(open_live, lambda all_: any(each.writing_paused for each in all_))
        await settled(open_live)
        look(open_live, 0)
        look(open_live, WINDOW + 1)
        assert len(await raw.read_rest()) < 500 * len(content)


async def settled(live: Live) -> None:
    """Return when nothing moves any more: all buffers are full."""

    async def stands() -> bool:
        before = [each._taken() for each in server_of(live).connections if isinstance(each, Connection)]
        await asyncio.sleep(0.1)
        after = [each._taken() for each in server_of(live).connections if isinstance(each, Connection)]
        return before == after and any(after)

    await until(stands)


async def test_followers_of_events_may_wait_for_ever(open_live: Live) -> None:
    """Where nothing is to be sent, nobody is slow in taking it."""
    await open_live.client.push_blob("a/b", b"a")
    async with connect(open_live) as raw:
        await raw.write(b"GET /api/v1/repositories/a/b/-/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.read_head())[0] == 200
        await raw.reader.readuntil(b"retry: 5000")
        for window in range(5):
            look(open_live, window * (WINDOW + 1))
        await has_connections(open_live, lambda all_: any(each._request_in_progress for each in all_))


# -- too many connections --------------------------------------------------------------------------------

TOO_MANY: Final[Mapping[str, tuple[dict[str, int], int, str]]] = {
    "of one address": ({"connections_per_address": 20}, 429, "TOOMANYREQUESTS"),
    "in all": ({"connections": 20, "connections_per_address": 0}, 503, "UNAVAILABLE"),
}


@pytest.mark.parametrize("words", TOO_MANY)
async def test_too_many_connections_are_turned_away(serving: Serving, words: str) -> None:
    settings, expected, code = TOO_MANY[words]
    async with serving(auth="off", **settings) as live:
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", live.port)
            writers.append(writer)
        await has_connections(live, lambda all_: len(all_) == 20)
        async with connect(live) as raw:
            status, headers, body = await raw.read_answer()
            assert (status, json.loads(body)["errors"][0]["code"]) == (expected, code)
            assert (headers["connection"], headers["retry-after"]) == ("close", "5")
            assert headers["x-content-type-options"] == "nosniff"
            assert await raw.read_rest() == b""
        # One that goes makes room for another.
        writers.pop().transport.abort()
        await has_connections(live, lambda all_: len(all_) == 19)
        (await live.client.get("/healthz")).expect(200)
        for writer in writers:
            writer.transport.abort()


async def test_trusted_proxies_may_have_any_number(serving: Serving) -> None:
    async with (
        serving(auth="off", connections_per_address=1, trusted_proxies="127.0.0.0/8") as live,
        connect(live) as one,
        connect(live) as two,
    ):
        for raw in (one, two):
            await raw.write(GET)
            assert (await raw.read_answer())[0] == 200


def test_admission_counts_each_address_by_itself() -> None:
    admission = Admission(100, 2)
    assert [admission.admit("192.0.2.1") for _ in range(3)] == [None, None, Problem.TOO_MANY_REQUESTS]
    assert admission.admit("192.0.2.2") is None
    # A socket for both families shows a client that speaks IPv4 in another way.
    assert admission.admit("::ffff:192.0.2.1") is Problem.TOO_MANY_REQUESTS
    admission.leave("192.0.2.1")
    assert admission.admit("::ffff:192.0.2.1") is None


def test_admission_counts_networks_of_ipv6() -> None:
    admission = Admission(100, 2)
    assert admission.admit("2001:db8::1") is None
    assert admission.admit("2001:db8::2") is None
    assert admission.admit("2001:db8::ffff:0:0:3") is Problem.TOO_MANY_REQUESTS
    assert admission.admit("2001:db8:0:1::1") is None


def test_admission_counts_all_of_them() -> None:
    admission = Admission(2, 0)
    assert [admission.admit(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.3")] == [
        None,
        None,
        Problem.UNAVAILABLE,
    ]
    admission.leave("192.0.2.1")
    assert admission.admit("192.0.2.3") is None
