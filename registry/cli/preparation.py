"""What `longshore serve` makes before it serves."""

from functools import partial

from registry.cli.data import with_metadata
from registry.config import Settings
from registry.installation import (
    FIRST_ADMINISTRATOR,
    check_storage,
    keys_of,
    make_first_administrator,
    shared_keys_of,
)
from storage.metadata.engine import Metadata


def prepare(settings: Settings) -> tuple[str, str] | None:
    """Look whether blobs can be kept; make the database, the signing keys and the first administrator.

    Returns:
        The administrator's name and the password that was made up; None where none was.
    """
    check_storage(settings)
    password = with_metadata(settings, partial(_make_first, settings))
    return None if password is None else (FIRST_ADMINISTRATOR, password)


async def _make_first(settings: Settings, metadata: Metadata) -> str | None:
    if settings.auth == "off":
        return None
    shared = shared_keys_of(settings, metadata)
    if shared is None:
        keys_of(settings).ensure(settings.token_algorithm)
    else:
        await shared.ensure(settings.token_algorithm)
    return await make_first_administrator(settings, metadata)
