"""A token for the checks themselves, made with the registry's own keys."""

import asyncio
from typing import Final

from auth.identity import Identity
from auth.jwk import KeyRing
from auth.keys import KeyFileError
from auth.scope import Access, Scope
from auth.tokens import MIN_LIFETIME, TokenIssuer
from registry.cli.checks.findings import words_of
from registry.config import Settings
from registry.installation import database_of, keys_of, shared_keys_of
from storage.metadata import accounts
from storage.metadata.databases import SqliteDatabase
from storage.metadata.engine import Connection, Metadata
from storage.metadata.probes import briefly_open

REPOSITORY: Final = "library/longshore-doctor"


class NoToken(Exception):
    """Nobody is there to speak for, or nothing to sign with; the message says which."""


async def make_token(settings: Settings) -> str:
    """Return a token for an administrator and one repository, good for a minute.

    Raises:
        NoToken: in words for the operator.
    """
    database = database_of(settings)
    if isinstance(database, SqliteDatabase):
        # To open it would make it.
        if not await asyncio.to_thread(database.path.exists):
            raise NoToken(f"{database.path} is missing")
        metadata: Metadata = database.open()
    else:
        metadata = briefly_open(database.dsn)
    try:
        try:
            ring = await _ring(settings, metadata)
        except (KeyFileError, OSError) as error:
            raise NoToken(words_of(error)) from error
        administrator = await metadata.lookup(_find_administrator)
    finally:
        await metadata.close()
    if administrator is None:
        raise NoToken("there is no administrator's account that is open")
    issuer = TokenIssuer(lambda: ring, settings.service, settings.service, MIN_LIFETIME)
    actions = frozenset({"pull", "push"})
    return issuer.issue(administrator, Scope([Access("repository", REPOSITORY, actions)])).token


async def _ring(settings: Settings, metadata: Metadata) -> KeyRing:
    shared = shared_keys_of(settings, metadata)
    if shared is None:
        return keys_of(settings).load()
    await shared.load()
    return shared.ring()


def _find_administrator(db: Connection) -> Identity | None:
    for each in accounts.everyone(db):
        if each.is_admin and not each.disabled and not each.is_robot:
            return Identity(each.id, each.name, is_admin=True)
    return None
