"""The public keys of an outside issuer, from a file or by HTTP, kept fresh in the background."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog

# Seconds between two looks; what is not there yet is asked for sooner.
_REFRESH: Final = 300
_RETRY: Final = 10

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_MAX_BYTES: Final = 256 * 1024

_NO_KEYS: Final[Mapping[str, Any]] = {"keys": []}

_log = structlog.stdlib.get_logger("longshore.outside")


class OutsideKeys:
    """The JSON Web Key Set at `source`, as last read; without an answer the last one stays in force."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: Mapping[str, Any] = _NO_KEYS

    def current(self) -> Mapping[str, Any]:
        """Return the key set, at once."""
        return self._keys

    async def keep_fresh(self) -> None:
        """Read the key set again and again, until cancelled."""
        while True:  # noqa: ASYNC110 - nobody tells us that keys have changed
            await asyncio.sleep(_REFRESH if await self.refresh() else _RETRY)

    async def refresh(self) -> bool:
        """Read the key set once; tell whether that went well."""
        try:
            keys = json.loads(await self._read())
            if not isinstance(keys, dict):
                raise ValueError("a key set is a JSON object")
        except (OSError, ValueError, RecursionError, aiohttp.ClientError) as error:
            _log.warning("outside keys unavailable", source=self._source, error=str(error))
            return False
        self._keys = keys
        return True

    async def _read(self) -> bytes:
        if "://" not in self._source:
            return await asyncio.to_thread(Path(self._source).read_bytes)
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
            session.get(self._source, allow_redirects=False) as response,
        ):
            return await _read_whole(response.content)


async def _read_whole(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for data in content.iter_any():
        body += data
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the key set has more than {_MAX_BYTES} bytes")
    return bytes(body)
