"""What happens in a repository, as server-sent events (HTML standard, "Server-sent events")."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from aiohttp import web

from registry.watch import BlobLanded, Event, TagSet, UploadsUnderWay

# Milliseconds after which a client that was cut off comes again.
_RETRY: Final = 5000


class EventStreams:
    """Responses that go on for as long as their clients stay, or until the server shuts down."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    async def close(self, _: web.Application) -> None:
        """End all of them: a server that stops would wait for them."""
        self._closing.set()

    async def send(
        self, request: web.Request, response: web.StreamResponse, followed: AsyncGenerator[Event, None]
    ) -> web.StreamResponse:
        """Send events until one of the two ends has enough. What comes before the first may be refused."""
        async with contextlib.aclosing(self._until_closing(followed)) as events:
            first = await anext(events, None)
            response.content_type = "text/event-stream"
            response.headers["X-Accel-Buffering"] = "no"  # proxies that collect would hold events back
            await response.prepare(request)
            await response.write(f"retry: {_RETRY}\n\n".encode())
            if first is not None:
                await response.write(_print(first))
                async for event in events:
                    await response.write(_print(event))
        return response

    async def _until_closing(self, followed: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(followed, None))
                try:
                    await asyncio.wait([following, closing], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not following.done():
                        await _cancel(following)
                if following.cancelled() or (event := following.result()) is None:
                    return
                yield event
        finally:
            closing.cancel()
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
