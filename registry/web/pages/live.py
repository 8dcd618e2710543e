"""Pushes as they land, for the page of a repository that is open (server-sent events)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from aiohttp import web

from registry.watch import BlobLanded, Event, TagSet, UploadsUnderWay, Watch
from registry.web.pages.paths import repository_in
from registry.web.pages.shell import Shell, secure

# Milliseconds after which a browser that was cut off comes again.
_RETRY: Final = 5000


class Live:
    """The handler of `/r/{name}/-/events`."""

    def __init__(self, shell: Shell, watch: Watch) -> None:
        self._shell = shell
        self._watch = watch
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/r/{name:.+}/-/events", self.get_events, allow_head=False)]

    async def close(self, _: web.Application) -> None:
        """End all streams: the server shuts down and would wait for them."""
        self._closing.set()

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """Send events until one of the two ends has enough. What comes before the first may be refused."""
        visitor = await self._shell.enter(request)
        followed = self._watch.follow(visitor.identity, repository_in(request))
        async with contextlib.aclosing(self._until_closing(followed)) as events:
            first = await anext(events, None)
            response = web.StreamResponse()
            secure(response, private=True)
            response.content_type = "text/event-stream"
            response.headers["X-Accel-Buffering"] = "no"  # proxies that collect would hold events back
            await response.prepare(request)
            await response.write(f"retry: {_RETRY}\n\n".encode())
            if first is not None:
                await response.write(_print(first))
                async for event in events:
                    await response.write(_print(event))
        return response

    async def _until_closing(self, followed: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(followed, None))
                await asyncio.wait([following, closing], return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    await _cancel(following)
                    return
                event = following.result()
                if event is None:
                    return
                yield event
        finally:
            closing.cancel()
            if isinstance(followed, AsyncGenerator):
                await followed.aclose()


async def _cancel(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _print(event: Event) -> bytes:
    return f"event: {event.kind}\ndata: {json.dumps(_fields_of(event))}\n\n".encode()


def _fields_of(event: Event) -> dict[str, Any]:
    match event:
        case UploadsUnderWay(count, size):
            return {"count": count, "size": size}
        case BlobLanded(digest, size):
            return {"digest": digest, "size": size}
        case TagSet(name, digest, by, at):
            return {"name": name, "digest": digest, "by": by, "at": at.isoformat()}
