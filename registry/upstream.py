"""Another registry, as a client of its API."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import aiohttp

from storage.digest import Digest

_CHUNK: Final = 1024 * 1024

# Seconds without a byte after which it counts as away.
_IDLE: Final = 60

_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"]*)"')


class UpstreamError(OSError):
    """The other registry does not answer, or not as it should."""


class Upstream:
    """The blobs of another registry, as a BlobSource: those that repositories of the same names have there.

    `names` tells for a digest which repositories to ask.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        names: Callable[[Digest], Awaitable[Sequence[str]]],
        login: aiohttp.BasicAuth | None = None,
    ) -> None:
        self._session = session
        self._base = base.rstrip("/")
        self._names = names
        self._login = login

    async def open(self, digest: Digest) -> AsyncIterator[bytes] | None:
        """Begin to pull the blob; None where no repository has it.

        Raises:
            UpstreamError: the registry is away or refuses.
        """
        try:
            for name in await self._names(digest):
                response = await self._get(name, digest)
                if response is not None:
                    return _content(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError(f"{self._base}: {error}") from error
        return None

    async def _get(self, name: str, digest: Digest) -> aiohttp.ClientResponse | None:
        url = f"{self._base}/v2/{name}/blobs/{digest}"
        response = await self._ask(url, {})
        if response.status == 401:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.release()
            response = await self._ask(url, await self._authorization(challenge))
        if response.status == 200:
            return response
        response.release()
        # Forbidden and absent look the same in many registries: the next repository is asked.
        if response.status in (401, 403, 404):
            return None
        raise UpstreamError(f"{url}: status {response.status}")

    async def _ask(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_IDLE, sock_read=_IDLE)
        # As it was stored: what is unpacked has another digest.
        headers = {"Accept-Encoding": "identity", **headers}
        return await self._session.get(url, headers=headers, timeout=timeout)

    async def _authorization(self, challenge: str) -> Mapping[str, str]:
        """Return the header that the challenge asks for (RFC 7235; the token protocol of registries)."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return {} if self._login is None else {"Authorization": self._login.encode()}
        fields = dict(_PARAMETER.findall(rest))
        if kind.lower() != "bearer" or "realm" not in fields:
            return {}
        query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
        async with self._session.get(f"{fields['realm']}?{query}", auth=self._login) as answer:
            if answer.status != 200:
                return {}
            document = await answer.json()
        token = document.get("token") or document.get("access_token")
        return {"Authorization": f"Bearer {token}"}


async def _content(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for data in response.content.iter_chunked(_CHUNK):
            yield data
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamError(str(error)) from error
    finally:
        response.close()
