"""The clients of the benchmarks take nothing for an answer that is none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

import pytest

from benchmarks.connection import Connection, WrongAnswer, request
from benchmarks.heads import Order as HeadsOrder
from benchmarks.heads import measure as measure_heads
from benchmarks.latency import Latency, Order, measure

Answering = Callable[[bytes], bytes]


@asynccontextmanager
async def server(answer: Answering, pause: float = 0) -> AsyncIterator[str]:
    """Answer each request without a body; after a pause, one at a time."""
    turn = asyncio.Lock()
    serving: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                async with turn:
                    await asyncio.sleep(pause)
                writer.write(answer(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        # Clients have closed their connections by now: each of them is seen out.
        if serving:
            await asyncio.wait(serving)


def head_of(length: int, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n".encode()


async def ask(answer: Answering, method: str = "GET") -> bytes:
    async with server(answer) as host:
        connection = await Connection.open(host)
        try:
            return (await connection.send(request(method, "/", host, {}), status=200)).body
        finally:
            await connection.close()


async def test_an_answer_is_whole_when_its_length_is_there() -> None:
    assert await ask(lambda _: head_of(5) + b"hello") == b"hello"


async def test_an_answer_to_head_has_no_body() -> None:
    assert await ask(lambda _: head_of(5), "HEAD") == b""


@pytest.mark.parametrize(
    "answer",
    [
        head_of(0, "404 Not Found"),
        head_of(5) + b"hello!",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["status", "too much", "no length", "chunked"],
)
async def test_what_is_not_as_it_has_to_be_is_told_of(answer: bytes) -> None:
    with pytest.raises(WrongAnswer):
        await ask(lambda _: answer)


async def test_location_comes_without_scheme_and_host() -> None:
    answer = head_of(0, more="LOCATION: http://elsewhere/v2/x?state=1\r\n")
    async with server(lambda _: answer) as host:
        connection = await Connection.open(host)
        got = await connection.send(request("POST", "/", host, {}), status=200)
        await connection.close()
    assert got.location() == "/v2/x?state=1"


async def run_probe(body: str, answer: bytes, rate: int, pause: float = 0) -> Latency:
    """Probe a server until it has answered some hundred requests."""
    stop, answered = Event(), 0

    def count(_: bytes) -> bytes:
        nonlocal answered
        answered += 1
        if answered > 150:
            stop.set()
        return answer

    async with server(count, pause) as host:
        order = Order(host, None, request("GET", "/", host, {}).decode(), body)
        return await measure(order, rate, stop)


async def test_the_time_of_a_request_counts_from_when_it_was_due() -> None:
    """One that answers 500 a second, at most, falls behind a rate of 2000."""
    measured = await run_probe("ok", head_of(2) + b"ok", rate=2000, pause=0.002)
    assert measured.p99 > 0.1
    assert measured.count > 150


async def test_a_body_that_differs_ends_the_measurement() -> None:
    with pytest.raises(WrongAnswer, match="another body"):
        await run_probe("ok", head_of(2) + b"no", rate=400)


async def test_heads_count_answers_and_look_at_each() -> None:
    async with server(lambda _: head_of(500, more="Docker-Content-Digest: sha256:ab\r\n")) as host:
        data = request("HEAD", "/", host, {}).decode()
        measured = await asyncio.to_thread(measure_heads, HeadsOrder(host, data, "sha256:ab", 0.2))
        assert measured.count > 16
        with pytest.raises(WrongAnswer):
            await asyncio.to_thread(measure_heads, HeadsOrder(host, data, "sha256:cd", 0.2))
