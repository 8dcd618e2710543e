"""What lies between clients and the registry: whether long bodies and long headers pass, and pass at once.

A body of many gigabytes is announced and not sent. The chunk starts at the wrong place, which longshore says
without reading it: that answer comes at once, unless something on the way refuses the length (413) or waits
for the whole body before it passes any of it on.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from registry.cli.checks.address import address_of, is_answering, why_unreached
from registry.cli.checks.findings import Finding, fault, ok, show_seconds, warning
from registry.cli.checks.token import REPOSITORY, NoToken, make_token
from registry.config import Settings
from registry.setting_kinds import GIB, KIB

_BODIES: Final = "request bodies"
_HEADERS: Final = "long headers"
_KEYS: Final = "keys of nodes"

_ANNOUNCED: Final = 10 * GIB
_SENT: Final = 64 * KIB

# Seconds after which nobody has passed anything on.
_PATIENCE: Final = 5.0
_SECONDS: Final = 10

# A token that names many repositories is as long; longshore takes up to 32 KiB.
_LONG: Final = 12 * KIB

# Requests, each on a connection of its own, that round-robin is to take to every node.
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of a raw answer, and the seconds until it came; no status where none came."""

    status: int | None
    seconds: float


async def check_proxy(settings: Settings) -> Sequence[Finding]:
    """Send what proxies are known to stop."""
    url = address_of(settings)
    if url is None or not await is_answering(url):
        return []  # which was said when the address was looked at
    headers = {}
    if settings.auth == "on":
        try:
            headers["Authorization"] = f"Bearer {await make_token(settings)}"
        except NoToken as error:
            advice = "start the server once; for an administrator: longshore user add NAME --admin"
            return [warning(_BODIES, f"could not be tried: {error}", advice)]
    found = [await check_long_headers(url)]
    if headers:
        keys = await check_keys(url, headers)
        found.append(keys)
        if keys.result == "fault":
            return found
    found.append(await check_bodies(url, headers))
    return found


async def check_long_headers(url: str) -> Finding:
    """Send a header that is as long as a token may be."""
    status = await _status_of(url, {"Authorization": f"Bearer {'x' * _LONG}"})
    if status in (200, 401):
        return ok(_HEADERS, f"a token of {_LONG // KIB} KiB comes through")
    found = (
        f"a token of {_LONG // KIB} KiB is refused on the way ({status}): one that names many repositories"
    )
    advice = "let the proxy take headers of 32 KiB (nginx: large_client_header_buffers 8 32k)"
    return warning(_HEADERS, found, advice)


async def check_keys(url: str, headers: Mapping[str, str]) -> Finding:
    """Ask again and again with a token that is signed here."""
    statuses = [await _status_of(url, headers) for _ in range(_ROUNDS)]
    refused = sum(status != 200 for status in statuses)
    if not refused:
        return ok(_KEYS, f"a token that is signed here is believed ({_ROUNDS} of {_ROUNDS} times)")
    found = f"a token that is signed here is refused {refused} of {_ROUNDS} times"
    advice = (
        "run all nodes, and this command, with the same database, service and keys (keys_secret), let "
        "proxies pass Authorization, and keep the clocks right"
    )
    return fault(_KEYS, found, advice)


async def check_bodies(url: str, headers: Mapping[str, str]) -> Finding:
    """Announce a body of many gigabytes to an upload that is given up then."""
    try:
        async with _upload(url, headers) as location:
            reply = await announce(location, headers, _PATIENCE)
    except _NoUpload as error:
        return fault(_BODIES, str(error), "let the proxy pass every method and path to longshore as it is")
    return judge_reply(reply)


def judge_reply(reply: Reply) -> Finding:
    """Judge the answer to a body that is announced, at a wrong offset, and mostly not sent."""
    size = f"{_ANNOUNCED // GIB} GiB"
    if reply.status == 416:
        return ok(_BODIES, f"{size} may come, and pass at once ({show_seconds(reply.seconds)})")
    if reply.status == 413:
        advice = "let the proxy take bodies of any size (nginx: client_max_body_size 0)"
        return fault(_BODIES, f"a body of {size} is refused on the way (413)", advice)
    if reply.status is None:
        found = f"nothing passes on the first bytes of a body within {reply.seconds:.0f} seconds"
        advice = "let the proxy pass bodies on as they come (nginx: proxy_request_buffering off)"
        return fault(_BODIES, found, advice)
    what = f"answered with {reply.status}" if reply.status else "cut off"
    advice = "let the proxy pass Content-Length, Content-Range and bodies as they come; its log says more"
    return fault(_BODIES, f"a body of {size} is {what} on the way", advice)


async def announce(url: URL, headers: Mapping[str, str], patience: float) -> Reply:
    """Announce a body by PATCH, send the beginning of it and wait for an answer."""
    lines = [
        f"PATCH {url.raw_path_qs} HTTP/1.1",
        f"Host: {urlsplit(str(url)).netloc}",
        "Connection: close",
        "Content-Type: application/octet-stream",
        f"Content-Length: {_ANNOUNCED}",
        f"Content-Range: 1-{_ANNOUNCED}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    context = ssl.create_default_context() if url.scheme == "https" else None
    began = time.perf_counter()
    status: int | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
            try:
                status = await _exchange(reader, writer, head + bytes(_SENT))
            finally:
                writer.transport.abort()
    return Reply(status, time.perf_counter() - began)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    writer.write(data)
    # Not drain(): who refuses need not read what was sent.
    line = await reader.readline()
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return 0  # the connection was closed, or that is no HTTP
    return int(words[1])


class _NoUpload(Exception):
    """No upload begins; the message says how that was answered."""


@contextlib.asynccontextmanager
async def _upload(url: str, headers: Mapping[str, str]) -> AsyncIterator[URL]:
    """Begin an upload, which makes no repository, and give it up at the end."""
    async with _session(headers) as session:
        begin = f"{url}/v2/{REPOSITORY}/blobs/uploads/"
        try:
            async with session.post(begin, allow_redirects=False) as response:
                if response.status != 202 or "Location" not in response.headers:
                    raise _NoUpload(f"an upload does not begin: POST is answered with {response.status}")
                location = response.url.join(URL(response.headers["Location"], encoded=True))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _NoUpload(f"an upload does not begin: {why_unreached(error)}") from error
        try:
            yield location
        finally:
            # What is left of it would be removed when it is too old.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.delete(location):
                    pass


async def _status_of(url: str, headers: Mapping[str, str]) -> int:
    async with _session(headers) as session, session.get(f"{url}/v2/", allow_redirects=False) as response:
        return response.status


def _session(headers: Mapping[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=_SECONDS))
