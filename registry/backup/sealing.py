"""How the objects of a backup are written: as they are, or sealed with a key.

A sealed object is a salt of 32 bytes and then chunks, each 1 MiB of content encrypted with AES-256-GCM, 16
bytes longer than that; the last one is shorter or as long, and empty only in an empty object. The key of an
object is derived with HKDF-SHA256 from the backup's key and the salt. The nonce of a chunk is its number,
eleven bytes with the most significant first, and a byte that is 1 for the last chunk and 0 for the others:
chunks can be neither exchanged nor left out. The object's name is authenticated with each: objects cannot be
exchanged.
This is the construction STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015), as age uses it.

The name of a sealed blob is the HMAC of its digest: it does not tell what is kept. What can be seen is how
many objects there are, how long each is, and when it was written.
"""

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.digest import Digest

KEY_SIZE: Final = 32
"""Bytes of a backup's key."""

_SALT: Final = 32
_CHUNK: Final = 1024 * 1024
_TAG: Final = 16


class SealBroken(Exception):
    """An object was changed, cut off, or sealed with another key."""


class Sealing(Protocol):
    """How objects are written."""

    fingerprint: str | None
    """Tells one key from another, and nothing of either; None where there is none."""

    def blob(self, digest: Digest) -> str:
        """Return the name of a blob's object."""

    def size(self, size: int) -> int:
        """Return how long the object with so many bytes of content is."""

    def seal(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what is written for the content."""

    def open(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the content of what was written.

        Raises:
            SealBroken: it is not what was written.
        """


class Plain:
    """Objects are their content, and a blob has its digest for a name."""

    fingerprint: str | None = None

    def blob(self, digest: Digest) -> str:
        """Return `blobs/<algorithm>/<first two digits>/<hex>`."""
        return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def size(self, size: int) -> int:
        """Return the size as it is."""
        return size

    def seal(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the content as it is."""
        return data

    def open(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the content as it is."""
        return data


class Sealed:
    """Objects are sealed with a key of `KEY_SIZE` random bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names = _derive(key, None, b"longshore backup names")
        self.fingerprint: str | None = hmac.digest(self._names, b"fingerprint", "sha256").hex()

    def blob(self, digest: Digest) -> str:
        """Return `blobs/hmac/<first two digits>/<hex>`."""
        name = hmac.digest(self._names, digest.encode(), "sha256").hex()
        return f"blobs/hmac/{name[:2]}/{name}"

    def size(self, size: int) -> int:
        """Return the size with the salt and a tag for each chunk."""
        return _SALT + size + _TAG * max(1, -(-size // _CHUNK))

    async def seal(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the salt and the chunks."""
        salt = secrets.token_bytes(_SALT)
        cipher = self._cipher(salt)
        yield salt
        async for nonce, chunk in _chunks(data, _CHUNK):
            yield await asyncio.to_thread(cipher.encrypt, nonce, chunk, name.encode())

    async def open(self, name: str, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the content of chunks that are whole and in their places."""
        salt, rest = await _split(data, _SALT)
        cipher = self._cipher(salt)
        async for nonce, chunk in _chunks(rest, _CHUNK + _TAG):
            try:
                yield await asyncio.to_thread(cipher.decrypt, nonce, chunk, name.encode())
            except InvalidTag:
                raise SealBroken(f"{name} was changed or cut off, or sealed with another key") from None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(_derive(self._key, salt, b"longshore backup object"))


def _derive(key: bytes, salt: bytes | None, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=salt, info=purpose).derive(key)


async def _chunks(data: AsyncIterator[bytes], size: int) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield nonces and chunks of `size` bytes; the last one, of which there is one always, may be shorter."""
    held = bytearray()
    number = 0
    async for piece in data:
        held += piece
        # What is held back may be the last.
        while len(held) > size:
            yield number.to_bytes(11) + b"\0", bytes(held[:size])
            del held[:size]
            number += 1
    yield number.to_bytes(11) + b"\1", bytes(held)


async def _split(data: AsyncIterator[bytes], size: int) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the first bytes, and what follows them."""
    head = bytearray()
    async for piece in data:
        head += piece
        if len(head) >= size:
            break

    async def rest() -> AsyncIterator[bytes]:
        yield bytes(head[size:])
        async for piece in data:
            yield piece

    return bytes(head[:size]), rest()
