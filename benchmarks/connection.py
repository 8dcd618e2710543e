"""One connection of a client that costs little: requests are bytes made beforehand, answers are checked.

Of an answer it wants a status line, a head, and the bytes that Content-Length tells of.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LOCATION: Final = re.compile(rb"\r\nlocation: *([^\r]+)", re.IGNORECASE)


class WrongAnswer(Exception):
    """An answer is not what it has to be: whatever was measured is worth nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its head as it came, from the status line on, and its body."""

    status: int
    head: bytes
    body: bytes

    def location(self) -> str:
        """Return the path and the query of Location."""
        found = _LOCATION.search(self.head)
        if found is None:
            raise WrongAnswer(f"no Location: {self.head!r}")
        return path_of(found[1].decode())


def request(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {headers[name]}" for name in headers),
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def path_of(location: str) -> str:
    """Return an address without scheme and host, which a server may or may not send."""
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


class Connection(asyncio.Protocol):
    """A connection that is used once for each request in turn."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._waiting: asyncio.Future[Answer] | None = None
        self._buffer = b""
        self._bodiless = False
        self._lost = asyncio.Event()

    @classmethod
    async def open(cls, host: str, context: ssl.SSLContext | None = None) -> Self:
        """Connect to host and port."""
        name, _, port = host.rpartition(":")
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, name, int(port), ssl=context)
        return made

    async def close(self) -> None:
        """Close it. With TLS, a farewell would wait for the server's."""
        self._transport.abort()
        await self._lost.wait()

    async def send(self, data: bytes, status: int) -> Answer:
        """Send a request and return its answer.

        Raises:
            WrongAnswer: it has another status.
        """
        self._waiting = asyncio.get_running_loop().create_future()
        self._bodiless = data.startswith(b"HEAD ")
        self._transport.write(data)
        answer = await self._waiting
        if answer.status != status:
            asked = data.partition(b"\r\n")[0].decode()
            raise WrongAnswer(
                f"{asked}: {answer.status}, not {status}: {answer.head!r} {answer.body[:500]!r}"
            )
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand the answer over when it is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        length = 0
        if not self._bodiless:
            found = _LENGTH.search(head)
            if found is None:
                self._give_up(WrongAnswer(f"no Content-Length: {head!r}"))
                return
            length = int(found[1])
        whole = end + 4 + length
        if len(self._buffer) < whole:
            return
        if len(self._buffer) > whole or self._waiting is None:
            self._give_up(WrongAnswer(f"more than an answer: {self._buffer[whole : whole + 500]!r}"))
            return
        answer = Answer(int(head[9:12]), head, self._buffer[end + 4 :])
        self._buffer = b""
        waiting, self._waiting = self._waiting, None
        waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        self._lost.set()
        self._give_up(exc or ConnectionResetError("the server closed the connection"))

    def _give_up(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
