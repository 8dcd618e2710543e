"""What happens in a repository, as server-sent events (HTML standard, "Server-sent events")."""

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from aiohttp import web

from registry.watch import BlobLanded, Event, TagSet, UploadsUnderWay

ENDLESS: Final = web.RequestKey("endless", bool)
"""Set on a request that ends with its client alone: a server that stops does not wait for it."""

# Milliseconds after which a client that was cut off comes again.
_RETRY: Final = 5000


async def send_events(
    request: web.Request, response: web.StreamResponse, events: AsyncGenerator[Event, None]
) -> web.StreamResponse:
    """Send events until one of the two ends has enough. What comes before the first may be refused."""
    async with contextlib.aclosing(events):
        first = await anext(events, None)
        request[ENDLESS] = True
        response.content_type = "text/event-stream"
        response.headers["X-Accel-Buffering"] = "no"  # proxies that collect would hold events back
        await response.prepare(request)
        await response.write(f"retry: {_RETRY}\n\n".encode())
        if first is not None:
            await response.write(_print(first))
            async for event in events:
                await response.write(_print(event))
    return response


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
