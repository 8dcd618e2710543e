"""Numbers that the database tells and every process shows."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from storage.metadata.engine import Connection, Metadata, MetadataUnavailable

T = TypeVar("T")

_log = structlog.stdlib.get_logger("longshore.jobs")

# Seconds.
_INTERVAL: Final = 60


async def show_forever(
    metadata: Metadata, query: Callable[[Connection], T], show: Callable[[T], None]
) -> None:
    """Show what the query finds, now and every minute, in each process."""
    while True:
        try:
            show(await metadata.read(query))
        except MetadataUnavailable as error:
            _log.warning("a number could not be read", show=show.__name__, error=str(error))
        await asyncio.sleep(_INTERVAL)
