"""An S3 server with faults: a proxy in front of a real one, in the loop of the test."""

import contextlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientSession, web
from yarl import URL

_LARGEST_BODY: Final = 64 * 1024 * 1024
_OF_THE_CONNECTION: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


@dataclass(frozen=True)
class Seen:
    """A request that came by."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def is_part(self) -> bool:
        """Whether it uploads a part."""
        return self.method == "PUT" and "partNumber=" in self.query


@dataclass(frozen=True)
class Refuse:
    """Answer with this status and code instead of passing the request on."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """Pass the request on, and cut the connection after so many bytes of the answer's body."""

    after: int


@dataclass(frozen=True)
class Pretend:
    """Pass the request on, and answer with these headers in the place of the true ones."""

    headers: dict[str, str]


@dataclass(frozen=True)
class Shorten:
    """Pass the request on, and leave so many bytes out of the answer's end, as if it were whole."""

    by: int


Fault = Callable[[Seen], Refuse | Cut | Pretend | Shorten | None]


class Proxy:
    """Passes requests on, unless `fault` says otherwise."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.endpoint = ""
        self.fault: Fault = lambda _: None
        self.seen: list[Seen] = []
        self._session: ClientSession | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Run it on a port that the kernel picks."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        async with ClientSession(auto_decompress=False) as self._session:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.path, request.query_string, dict(request.headers))
        self.seen.append(seen)
        body = await request.read()
        fault = self.fault(seen)
        if isinstance(fault, Refuse):
            text = f"<Error><Code>{fault.code}</Code><Message>as the test wants it</Message></Error>"
            return web.Response(status=fault.status, text=text, content_type="application/xml")
        assert self._session is not None
        # The host as well: it is signed.
        headers = {
            name: value for name, value in seen.headers.items() if name.lower() not in _OF_THE_CONNECTION
        }
        url = URL(self.upstream + request.raw_path, encoded=True)
        sent = io.BytesIO(body) if body else None  # aiohttp sends bytes of this length with a warning
        async with self._session.request(request.method, url, headers=headers, data=sent) as answer:
            content = await answer.read()
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _OF_THE_CONNECTION - {"content-length"}
            }
        if isinstance(fault, Cut):
            return await self._cut(request, answer.status, kept, content[: fault.after])
        if isinstance(fault, Pretend):
            kept = {name: value for name, value in kept.items() if name not in fault.headers} | fault.headers
        if isinstance(fault, Shorten):
            content = content[: -fault.by]
            kept = {name: value for name, value in kept.items() if name.lower() != "content-length"}
        return web.Response(status=answer.status, headers=kept, body=content or None)

    async def _cut(
        self, request: web.Request, status: int, headers: dict[str, str], content: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(content)
        assert request.transport is not None
        request.transport.close()
        return response
