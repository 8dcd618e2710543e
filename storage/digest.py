"""Digests: the address of bytes (OCI image specification, "Digests")."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Final, Self

DEFAULT_ALGORITHM: Final = "sha256"

# Registered algorithms and the length of their hexadecimal encoding.
ALGORITHMS: Final = {"sha256": 64, "sha512": 128}

_GRAMMAR: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX: Final = re.compile(r"[a-f0-9]+")


class InvalidDigest(ValueError):
    """The text is no digest, or is of an algorithm that is not supported."""


class Digest(str):
    """A valid digest, `<algorithm>:<hex>`: a string, so it goes into queries and JSON as it stands."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text` against the grammar and the registered algorithms.

        Raises:
            InvalidDigest: with a reason that may be shown to the client.
        """
        if not _GRAMMAR.fullmatch(text):
            raise InvalidDigest("a digest is <algorithm>:<encoded>, such as sha256:44136fa3…")
        algorithm, _, encoded = text.partition(":")
        check_algorithm(algorithm)
        length = ALGORITHMS[algorithm]
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise InvalidDigest(f"a {algorithm} digest has {length} lower-case hexadecimal digits")
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """Return the digest of `data`."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """The algorithm's registered name."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hash in lower-case hexadecimal."""
        return self.partition(":")[2]

    def matches(self, data: bytes) -> bool:
        """Tell whether `data` is what this digest addresses."""
        return Digest.of(data, self.algorithm) == self


class RunningDigest:
    """The digest of bytes that arrive one after the other."""

    __slots__ = ("_hash", "algorithm")

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        check_algorithm(algorithm)
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def update(self, data: bytes) -> None:
        """Take `data` in. Long data is hashed without the interpreter's lock: call this in a thread."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of all bytes so far; more may follow."""
        return Digest(f"{self.algorithm}:{self._hash.hexdigest()}")


async def digest_of(data: AsyncIterator[bytes], algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """Return the digest of all that `data` yields; it is hashed in threads."""
    running = RunningDigest(algorithm)
    async for piece in data:
        await asyncio.to_thread(running.update, piece)
    return running.digest()


def check_algorithm(name: str) -> None:
    """Refuse an algorithm that is not supported.

    Raises:
        InvalidDigest: naming those that are.
    """
    if name not in ALGORITHMS:
        raise InvalidDigest(f"supported digest algorithms: {', '.join(ALGORITHMS)}")
