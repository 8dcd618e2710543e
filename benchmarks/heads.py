"""HEAD by the thousand. wrk cannot, nor can h2load: both wait for the body that Content-Length tells of.

    python -m benchmarks.heads < ORDER

A loop over sockets that counts ends of heads, in a process of its own. Every answer has to be 200 with the
digest.
"""

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.connection import WrongAnswer, request
from benchmarks.peers import Peer
from tests.e2e.clients import ROOT

_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask for over how many seconds; `holds` has to be in each answer."""

    host: str
    request: str
    holds: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Heads:
    """Requests a second, how many they were, and the seconds of the processor that each took here."""

    rate: float
    count: int
    own: float


def load_heads(peer: Peer, target: str, headers: Mapping[str, str], digest: str, seconds: float) -> Heads:
    """HEAD the same again and again, without TLS.

    Raises:
        WrongAnswer: an answer was not 200 or without the digest, or a connection broke.
    """
    data = request("HEAD", target, peer.host, {**peer.headers, **headers}).decode()
    order = json.dumps(asdict(Order(peer.host, data, digest, seconds)))
    argv = [sys.executable, "-m", "benchmarks.heads"]
    done = subprocess.run(argv, input=order, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise WrongAnswer(f"HEAD {target}: {done.stderr}")
    return Heads(**json.loads(done.stdout))


def measure(order: Order) -> Heads:
    """Send, read, and send again on every connection."""
    data, holds = order.request.encode(), order.holds.encode()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(_CONNECTIONS):
            link = stack.enter_context(_connected(order.host))
            selector.register(link, selectors.EVENT_READ, link)
            link.sendall(data)
        count, computing, began = 0, time.process_time(), time.perf_counter()
        end = began + order.seconds
        while time.perf_counter() < end:
            for key, _ in selector.select(1):
                _read_head(key.data, holds)
                count += 1
                key.data.sendall(data)
        seconds = time.perf_counter() - began
    return Heads(count / seconds, count, (time.process_time() - computing) / count)


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    link = socket.create_connection((host, int(port)), timeout=60)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _read_head(link: socket.socket, holds: bytes) -> None:
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        more = link.recv(65536)
        if not more:
            raise WrongAnswer(f"cut off: {answer!r}")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200 ") or holds not in answer:
        raise WrongAnswer(f"not what it has to be: {answer!r}")


def main() -> None:
    """Measure as standard input says."""
    print(json.dumps(asdict(measure(Order(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()
