"""Signing keys in the database, sealed: all nodes have the same ones and need no shared files.

A new key is published before it signs, so that every node knows it by the time it meets the first token. That
takes longer than the clocks of nodes differ and than a node takes to look again.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Final

import structlog

from auth.jwk import Algorithm, KeyRing, SigningKey
from auth.keys import KeyFileError
from auth.sealing import Seal, WrongSecret
from storage.metadata import signing_keys
from storage.metadata.engine import Connection, Metadata, MetadataFull, MetadataUnavailable
from storage.metadata.signing_keys import StoredKey

_log = structlog.stdlib.get_logger("longshore.keys")

# Seconds between two looks at the database, and those after which a new key signs.
_REFRESH: Final = 15
PUBLISHED_AHEAD: Final = 60


class SharedKeys:
    """The keys as last read. `clock` returns seconds since the epoch.

    Errors are those of KeyDirectory: KeyFileError in words for the operator.
    """

    def __init__(self, metadata: Metadata, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        self._metadata = metadata
        self._seal = Seal(secret)
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._ring: KeyRing | None = None
        self._ring_ends = 0.0

    async def ensure(self, algorithm: Algorithm) -> None:
        """Make the first key where there is none; nodes that start together agree on one."""
        first = SigningKey.generate(algorithm, int(self._clock()))
        await self._metadata.write(partial(_add_first, self._sealed(first)))
        await self.load()

    async def load(self) -> None:
        """Read every key.

        Raises:
            KeyFileError: there is none, or one was sealed with another secret.
        """
        stored = await self._metadata.lookup(signing_keys.everything)
        try:
            self._keys = tuple(self._seal.open(each.sealed) for each in stored)
        except WrongSecret as error:
            raise KeyFileError(
                f"{error}: set keys_secret to that one, or run: longshore key rotate --replace"
            ) from None
        if not self._keys:
            raise KeyFileError("there is no signing key in the database")
        self._ring = None

    def ring(self) -> KeyRing:
        """Return the keys as of now, at once."""
        now = self._clock()
        if self._ring is None or now >= self._ring_ends:
            self._ring = KeyRing(self._keys, now=int(now))
            coming = [key.created for key in self._keys if key.created > now]
            self._ring_ends = min(coming, default=float("inf"))
        return self._ring

    async def rotate(self, algorithm: Algorithm, keep_seconds: int) -> SigningKey:
        """Add a key that signs after PUBLISHED_AHEAD seconds, and return it.

        Keys whose successor has signed for more than `keep_seconds` are removed.
        """
        await self.load()
        now = int(self._clock())
        newest = max(key.created for key in self._keys)
        new = SigningKey.generate(algorithm, max(now + PUBLISHED_AHEAD, newest + 1))
        keys = sorted(self._keys, key=lambda key: key.created, reverse=True)
        gone = [key.kid for successor, key in pairwise(keys) if successor.created < now - keep_seconds]
        await self._metadata.write(partial(_exchange, gone, self._sealed(new)))
        await self.load()
        return new

    async def replace(self, algorithm: Algorithm) -> SigningKey:
        """Put a new key in the place of all others, whatever sealed them: tokens end, logins do not."""
        stored = await self._metadata.lookup(signing_keys.everything)
        new = SigningKey.generate(algorithm, int(self._clock()))
        await self._metadata.write(partial(_exchange, [each.kid for each in stored], self._sealed(new)))
        await self.load()
        return new

    async def keep_fresh(self) -> None:
        """Read the keys again and again, until cancelled; unreadable ones leave the last ones in force."""
        while True:
            await asyncio.sleep(_REFRESH)
            try:
                await self.load()
            except (KeyFileError, MetadataUnavailable, MetadataFull) as error:
                _log.warning("signing keys cannot be read", reason=str(error))

    def _sealed(self, key: SigningKey) -> StoredKey:
        return StoredKey(key.kid, self._seal.seal(key), datetime.fromtimestamp(key.created, UTC))


def _add_first(key: StoredKey, db: Connection) -> None:
    if not signing_keys.everything(db):
        signing_keys.add(db, key)


def _exchange(gone: list[str], key: StoredKey, db: Connection) -> None:
    signing_keys.remove(db, gone)
    signing_keys.add(db, key)
