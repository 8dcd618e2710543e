"""How long a caller waits after wrong passwords: the policy, without the counters.

Three counters see each failure. The pair of account and address stops a guesser soon; the account alone
stops one who has many addresses; the address alone stops one who tries a password on many accounts.
Whoever stores the counters keeps `failures` and the time of the last one for each `Key.text`.
"""

import hashlib
import ipaddress
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

FORGET_SECONDS: Final = 3600
LONGEST_DELAY: Final = 900

_FREE_FOR_PAIR: Final = 5
_FREE_FOR_ACCOUNT: Final = 50
_FREE_FOR_ADDRESS: Final = 20
_FREE_SIGN_UPS: Final = 10

_PLAIN: Final = re.compile(r"[a-z0-9._@+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """One counter: `text` is ASCII of at most 160 characters, `free` failures cost nothing.

    `forgiven` says that a success sets the counter back. Only the pair is: otherwise one account of
    one's own would wash an address clean, and the owner's logins would hide the guesses of others.
    """

    text: str
    free: int
    forgiven: bool = False


def keys(account: str, address: str) -> tuple[Key, ...]:
    """Return the counters that an attempt on `account` from `address` is counted in.

    Both may be hostile input of any length and content. Names that differ in case or in Unicode form
    only share a counter, and so do the addresses of one IPv6 /64, which is what one customer gets.
    """
    who, where = _account_text(account), _address_text(address)
    return (
        Key(f"pair:{who} {where}", _FREE_FOR_PAIR, forgiven=True),
        Key(f"account:{who}", _FREE_FOR_ACCOUNT),
        Key(f"address:{where}", _FREE_FOR_ADDRESS),
    )


def sign_up_keys(address: str) -> tuple[Key, ...]:
    """Return the counter of the accounts that were asked for from `address`, each of which counts."""
    return (Key(f"sign-up:{_address_text(address)}", _FREE_SIGN_UPS),)


def delay(failures: int, free: int) -> int:
    """Return the seconds to wait after the last of `failures`: 0 while they are free, then 1, 2, 4 … 900."""
    paid = failures - free
    if paid <= 0:
        return 0
    # The exponent is bounded first, as the count may be anything.
    return min(LONGEST_DELAY, 1 << min(paid - 1, LONGEST_DELAY.bit_length()))


def is_forgotten(failed_at: float, now: float) -> bool:
    """Whether a counter whose last failure was at `failed_at` (seconds) counts as zero by `now`."""
    return now - failed_at >= FORGET_SECONDS


def remaining(failures: int, free: int, failed_at: float, now: float) -> int:
    """Return the whole seconds, rounded up, until the next attempt is heard. Times are in seconds."""
    if is_forgotten(failed_at, now):
        return 0
    wait = delay(failures, free)
    # A clock that was set back must not lengthen the wait.
    return max(0, min(wait, math.ceil(failed_at + wait - now)))


def _account_text(account: str) -> str:
    # Long names are not normalised: no account has one, and normalising is not free.
    text = unicodedata.normalize("NFKC", account).strip().casefold() if len(account) <= 256 else account
    return text if _PLAIN.fullmatch(text) else _fingerprint(text)


def _address_text(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return _fingerprint(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> 64 << 64
    return f"{ipaddress.IPv6Address(network)}/64"


def _fingerprint(text: str) -> str:
    # Bounded and free of control characters, which a database may refuse. "~" is in no plain name.
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
