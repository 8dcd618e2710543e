"""The body of a request."""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from registry.errors import Problem, RegistryError

FORM: Final = "application/x-www-form-urlencoded"


async def stream_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; what came before it broke off as well.

    Raises:
        RegistryError: it stands still (`registry.web.connection` sees that), or its framing is broken.
        ConnectionError: the client went away.
    """
    content = request.content
    while True:
        if content.exception() is not None and content._buffer:
            yield content._read_nowait(-1)  # the public way would drop it
        try:
            data = await content.readany()
        except TimeoutError as error:
            raise RegistryError(Problem.REQUEST_TIMEOUT) from error
        except RequestPayloadError as error:
            raise RegistryError(Problem.SIZE_INVALID, "the body ends before its length") from error
        if not data:
            return
        yield data


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the body. Raises what `limit_body` does."""
    return b"".join([part async for part in limit_body(request, limit)])


def parse_form(content: bytes, limit: int) -> list[tuple[str, str]]:
    """Return the fields of a form, `limit` at most, in order (RFC 6749, appendix B).

    Raises:
        RegistryError: REQUEST_INVALID.
    """
    try:
        return parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=limit)
    except ValueError as error:
        raise RegistryError(Problem.REQUEST_INVALID, "the body is not a form in UTF-8") from error


async def limit_body(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises:
        RegistryError: as `stream_body` does; and BODY_TOO_LARGE as soon as it is longer than `limit` bytes.
    """
    too_large = RegistryError(Problem.BODY_TOO_LARGE, f"the limit is {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    size = 0
    async for data in stream_body(request):
        size += len(data)
        if size > limit:
            raise too_large
        yield data
