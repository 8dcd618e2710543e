"""The server of one process: aiohttp's, over connections that have bounds, with the short way of `recall`."""

import asyncio
import contextlib
import json
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from registry.errors import Problem
from registry.web.admission import Admission
from registry.web.connection import Connection, Pacing, address_of
from registry.web.observe import INERT, Endings
from registry.web.recall import Recall

_LOOK_EVERY: Final = 1.0

# Seconds that a client has to read why it is turned away, and how many may be doing so at a time.
_FAREWELL: Final = 1.0
_FAREWELLS: Final = 256

_RETRY_AFTER: Final = 5


class BoundedServer(web.Server):
    """Makes a `Connection` for each client, and looks at all of them once a second.

    With `tls` each speaks it. `note` is told why a connection was ended, and whose.
    """

    def __init__(
        self,
        made: web.Server,
        recall: Recall,
        admission: Admission,
        pacing: Pacing,
        note: Callable[[Endings, str], None],
        tls: ssl.SSLContext | None,
    ) -> None:
        handler: Any = recall.around(made.request_handler)
        super().__init__(handler, request_factory=made.request_factory, **made._kwargs)
        self.recall = recall
        self.pacing = pacing
        self.note = note
        self.counts_acknowledged = False
        self._admission = admission
        self._tls = tls
        self._farewells = 0

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        connection = Connection(self, counts=self._tls is None, loop=self._loop, **self._kwargs)
        # What the event loop wants is a protocol, whatever aiohttp says of its kind.
        return connection if self._tls is None else _Secured(self, connection, self._tls)  # type: ignore[return-value]

    async def look_forever(self) -> None:
        """Check the connections again and again."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look(self._loop.time())

    def look(self, now: float) -> None:
        """End what has stood still for too long; `now` is the event loop's time."""
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.check(now)

    def enter(self, address: str) -> Problem | None:
        """Count a connection in, or say why not."""
        refusal = self._admission.admit(address)
        if refusal is not None:
            self.note(Endings.TOO_MANY, address)
        return refusal

    def leave(self, address: str) -> None:
        """Count out a connection that was counted in."""
        self._admission.leave(address)

    def turn_away(self, transport: asyncio.Transport, refusal: Problem) -> None:
        """Say why a connection is not taken, without reading what it asks for, and close it."""
        if self._farewells >= _FAREWELLS:
            transport.abort()
            return
        transport.write(_farewell(refusal))
        transport.write_eof()
        self._farewells += 1
        self._loop.call_later(_FAREWELL, self._finish_farewell, transport)

    def _finish_farewell(self, transport: asyncio.Transport) -> None:
        self._farewells -= 1
        transport.abort()


class _Secured(SSLProtocol):
    """TLS below a connection, as the event loop itself would put it there, counted before the handshake."""

    def __init__(self, server: BoundedServer, connection: Connection, context: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=server.pacing.head_seconds,  # type: ignore[arg-type]  # any number
        )
        self._server = server
        self._address: str | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake, unless there are too many connections: to say so would take the handshake."""
        address = address_of(transport)
        if self._server.enter(address) is not None:
            transport.abort()
            return
        self._address = address
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the connection out."""
        if self._address is not None:
            self._server.leave(self._address)
        super().connection_lost(exc)


class Runner(web.AppRunner):
    """A runner whose server has bounds, and asks `recall` before the application's router."""

    __slots__ = ("_admission", "_looking", "_note", "_pacing", "_recall", "_tls")

    def __init__(
        self,
        app: web.Application,
        recall: Recall,
        admission: Admission,
        pacing: Pacing,
        note: Callable[[Endings, str], None],
        tls: ssl.SSLContext | None,
        **options: object,
    ) -> None:
        super().__init__(app, **options)  # type: ignore[arg-type]
        self._recall = recall
        self._admission = admission
        self._pacing = pacing
        self._note = note
        self._tls = tls
        self._looking: asyncio.Task[None] | None = None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = BoundedServer(made, self._recall, self._admission, self._pacing, self._note, self._tls)
        self._looking = asyncio.create_task(server.look_forever())
        return server

    async def _cleanup_server(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await super()._cleanup_server()


def _farewell(refusal: Problem) -> bytes:
    """Return a whole response."""
    words = "too many connections" if refusal is Problem.TOO_MANY_REQUESTS else refusal.message
    body = json.dumps({"errors": [{"code": refusal.code, "message": words}]})
    reason = {429: "Too Many Requests", 503: "Service Unavailable"}[refusal.status]
    head = (
        f"HTTP/1.1 {refusal.status} {reason}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Retry-After: {_RETRY_AFTER}",
        "X-Content-Type-Options: nosniff",
        f"Content-Security-Policy: {INERT}",
        "Server: longshore",
        "Connection: close",
        "",
        body,
    )
    return "\r\n".join(head).encode()
