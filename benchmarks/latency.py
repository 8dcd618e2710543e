"""How long answers take at a constant rate: a process of its own, so that no other client is in its way.

    python -m benchmarks.latency < ORDER

Each request has a moment when it is to be sent, whether the ones before it were answered or not, and its
time counts from that moment: a server that stands still is not spared the requests that it would have got
meanwhile. It goes on until standard input ends.
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

from benchmarks.connection import Connection, WrongAnswer, request
from benchmarks.peers import Peer
from tests.e2e.clients import ROOT

RATE: Final = 200
"""Requests a second."""

_CONNECTIONS: Final = 16
_WARM_UP: Final = 50

# Fewer requests would say nothing.
_LEAST: Final = 20


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask for, again and again, and what has to come back."""

    host: str
    authority: str | None
    request: str
    body: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that answers took, out of `count`, and what of the processor each took here."""

    count: int
    p50: float
    p99: float
    longest: float
    own: float


class Probe:
    """Runs from start to `finish`."""

    def __init__(self, order: Order) -> None:
        argv = [sys.executable, "-m", "benchmarks.latency"]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ready\n":
            raise WrongAnswer(f"no answer from {order.host}")

    def finish(self) -> Latency:
        """Stop it and return what it measured."""
        said, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise WrongAnswer("a request was not answered as it has to be")
        return Latency(**json.loads(said))

    def abandon(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def probing(peer: Peer, target: str, headers: Mapping[str, str], body: bytes) -> Iterator[Probe]:
    """Ask for a path at RATE while the block runs; every answer has to have the body."""
    data = request("GET", target, peer.host, {**peer.headers, **headers})
    authority = None if peer.authority is None else str(peer.authority)
    probe = Probe(Order(peer.host, authority, data.decode(), body.decode()))
    try:
        yield probe
    finally:
        probe.abandon()


async def measure(order: Order, rate: int, stop: threading.Event) -> Latency:
    """Send requests at a rate until told to stop."""
    context = None if order.authority is None else ssl.create_default_context(cafile=Path(order.authority))
    connections = [await Connection.open(order.host, context) for _ in range(_CONNECTIONS)]
    data, body = order.request.encode(), order.body.encode()
    due: asyncio.Queue[float | None] = asyncio.Queue()
    took: list[float] = []
    pace = threading.Thread(target=_pace, args=(asyncio.get_running_loop(), due, rate, stop))
    try:
        for number in range(_WARM_UP):
            await _ask(connections[number % _CONNECTIONS], data, body)
        print("ready", flush=True)
        computing = time.process_time()
        pace.start()
        async with asyncio.TaskGroup() as serving:
            for each in connections:
                serving.create_task(_serve(each, due, data, body, took))
    except* WrongAnswer as wrong:
        raise wrong.exceptions[0] from None
    finally:
        stop.set()
        if pace.ident is not None:
            pace.join()
        for each in connections:
            await each.close()
    own = (time.process_time() - computing) / len(took)
    percentiles = quantiles(took, n=100, method="inclusive")
    return Latency(len(took), percentiles[49], percentiles[98], max(took), own)


async def _serve(
    connection: Connection, due: asyncio.Queue[float | None], data: bytes, body: bytes, took: list[float]
) -> None:
    while (moment := await due.get()) is not None:
        await _ask(connection, data, body)
        took.append(time.perf_counter() - moment)
    due.put_nowait(None)  # for the next one


async def _ask(connection: Connection, data: bytes, body: bytes) -> None:
    answer = await connection.send(data, status=200)
    if answer.body != body:
        raise WrongAnswer(f"another body: {answer.body[:500]!r}")


def _pace(
    loop: asyncio.AbstractEventLoop, due: asyncio.Queue[float | None], rate: int, stop: threading.Event
) -> None:
    # In a thread: asyncio's timers are off by up to a millisecond.
    moment, sent = time.perf_counter(), 0
    while sent < _LEAST or not stop.is_set():
        moment, sent = moment + 1 / rate, sent + 1
        time.sleep(max(0.0, moment - time.perf_counter()))
        loop.call_soon_threadsafe(due.put_nowait, moment)
    loop.call_soon_threadsafe(due.put_nowait, None)


def main() -> None:
    """Measure as standard input says, until it ends."""
    order = Order(**json.loads(sys.stdin.readline()))
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    print(json.dumps(asdict(asyncio.run(measure(order, RATE, stop)))))


if __name__ == "__main__":
    main()
