"""How many connections one process has open: in all, and from one address."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final

from registry.errors import Problem
from registry.web.origin import parse_address

# A household or a machine has as many IPv6 addresses as it likes: what counts is its network.
_PREFIX: Final = 64


class Admission:
    """Counts connections. `most` in all; `per_address` from one, 0 for any number, as trusted proxies have.

    Each process counts for itself: to count together would cost every connection a write.
    """

    def __init__(
        self, most: int, per_address: int, trusted: Sequence[IPv4Network | IPv6Network] = ()
    ) -> None:
        self._most = most
        self._per_address = per_address
        self._open = 0
        self._of: Counter[str] = Counter()
        self._key_of = lru_cache(maxsize=4096)(lambda address: _key_of(address, trusted))

    def admit(self, address: str) -> Problem | None:
        """Count a connection in; or say why it may not be, in which case it is not counted."""
        if self._open >= self._most:
            return Problem.UNAVAILABLE
        key = self._key_of(address)
        if key and self._per_address:
            if self._of[key] >= self._per_address:
                return Problem.TOO_MANY_REQUESTS
            self._of[key] += 1
        self._open += 1
        return None

    def leave(self, address: str) -> None:
        """Count out a connection that was admitted."""
        self._open -= 1
        key = self._key_of(address)
        if key and self._per_address:
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]


def _key_of(address: str, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return what connections from the address are counted under; "" for those that are not."""
    parsed = parse_address(address)
    if parsed is None or any(parsed in network for network in trusted):
        return ""
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _PREFIX), strict=False))
    return str(parsed)
