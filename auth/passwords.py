"""Password hashes. The only module that knows the hashing library.

Every function here that takes a secret is synchronous and slow on purpose (tens of milliseconds and
megabytes): callers run them in threads, a few at a time.
"""

import secrets
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal

from passlib.hash import argon2, bcrypt, bcrypt_sha256  # type: ignore[import-untyped]

MIN_CHARACTERS: Final = 8
MAX_CHARACTERS: Final = 1024

ACCESS_PREFIX: Final = "lsp_"
"""What every access token begins with, and no password: so it is known for one without a look at any hash."""

_BCRYPT_BYTES: Final = 72


class UnusablePassword(ValueError):
    """A password that cannot be set. The message is a sentence for the person who chose it."""


class WeakPassword(UnusablePassword):
    """A password that is too easy to guess."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification. `rehash`: the password is right and deserves a newer hash."""

    ok: bool
    rehash: bool = False

    def __bool__(self) -> bool:
        # `if passwords.verify(…)` must not be true for every answer.
        return self.ok


class Passwords:
    """Hash and verify passwords with one scheme; hashes of the other scheme verify and ask for a rehash.

    `argon2` is argon2id (RFC 9106) of `memory_cost` KiB, `time_cost` passes and `parallelism` lanes; the
    defaults are what OWASP recommends for servers that verify many logins. `bcrypt` hashes the
    HMAC-SHA-256 of the password, not the password: bcrypt reads 72 bytes and stops at a NUL, so two long
    passwords with the same beginning would otherwise be one. Bare `$2a$`, `$2b$` and `$2y$` hashes
    (htpasswd) are verified too, for passwords that bcrypt can hold, and always ask for a rehash.

    Passwords are compared after Unicode normalisation to NFC, as the OpaqueString profile of RFC 8265
    has it: keyboards and systems differ in how they compose "é". NFKC would merge characters that people
    chose on purpose.
    """

    def __init__(
        self,
        scheme: Literal["argon2", "bcrypt"] = "argon2",
        *,
        time_cost: int = 2,
        memory_cost: int = 19_456,
        parallelism: int = 1,
        rounds: int = 12,
    ) -> None:
        self._scheme = scheme
        self._costs = (time_cost, memory_cost, parallelism)
        self._rounds = rounds
        self._hasher: Any = (
            argon2.using(type="ID", time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
            if scheme == "argon2"
            else bcrypt_sha256.using(rounds=rounds)
        )
        # Made from a secret that nobody has, so that verifying against it takes the usual time and fails.
        self._dummy: str = self._hasher.hash(secrets.token_urlsafe())

    def hash(self, secret: str) -> str:
        """Return a salted hash in modular crypt format. Slow; raises UnusablePassword.

        Whether the password is good enough is not asked here: see `check_strength`.
        """
        hashed: str = self._hasher.hash(_normalise(secret))
        return hashed

    def verify(self, secret: str, hashed: str | None) -> Verdict:
        """Compare a password with a stored hash. Slow, also where the answer is known beforehand.

        None (there is no such account, or it has no password) and a hash that cannot be read cost the
        time of a real comparison and are false, so that time does not tell which accounts exist. Text
        that cannot be a password is refused at once: that depends on the caller's input only.
        """
        try:
            password = _normalise(secret)
        except UnusablePassword:
            return Verdict(ok=False)
        hasher = _hasher_of(hashed, password)
        if hasher is None or hashed is None:
            return self._waste(password)
        try:
            ok: bool = hasher.verify(password, hashed)
        except ValueError:
            return self._waste(password)
        return Verdict(ok=ok, rehash=ok and self._is_outdated(hasher, hashed))

    def _waste(self, password: str) -> Verdict:
        self._hasher.verify(password, self._dummy)
        return Verdict(ok=False)

    def _is_outdated(self, hasher: Any, hashed: str) -> bool:
        # Only costs that rose count: two nodes with different settings must not rewrite each other's hashes.
        if self._scheme == "bcrypt":
            return hasher is not bcrypt_sha256 or bcrypt_sha256.from_string(hashed).rounds < self._rounds
        if hasher is not argon2:
            return True
        found = argon2.from_string(hashed)
        costs = (found.rounds, found.memory_cost, found.parallelism)
        return found.type != "id" or any(a < b for a, b in zip(costs, self._costs, strict=True))


def check_strength(secret: str, name: str = "") -> None:
    """Accept a new password, or raise an UnusablePassword that says in words what is wrong.

    The rule is the one of NIST SP 800-63B: length counts, composition does not. `name` is the account's.
    """
    password = _normalise(secret)
    if len(password) < MIN_CHARACTERS:
        raise WeakPassword(f"The password needs at least {MIN_CHARACTERS} characters.")
    if password.startswith(ACCESS_PREFIX):
        raise UnusablePassword(f"The password begins with {ACCESS_PREFIX}, as access tokens do.")
    if len(set(password)) == 1:
        raise WeakPassword("The password repeats a single character.")
    if name and password.casefold() == name.casefold():
        raise WeakPassword("The password is the name of the account.")


def _hasher_of(hashed: str | None, password: str) -> Any:
    """Return the scheme that reads this hash, or None where no scheme may be asked."""
    if hashed is None or not hashed.isascii():
        return None
    hasher = next((each for each in (argon2, bcrypt_sha256, bcrypt) if each.identify(hashed)), None)
    if hasher is bcrypt and ("\0" in password or len(password.encode()) > _BCRYPT_BYTES):
        return None
    return hasher


def _normalise(secret: str) -> str:
    if len(secret) > MAX_CHARACTERS:
        raise UnusablePassword(f"The password is longer than {MAX_CHARACTERS} characters.")
    try:
        # Half a surrogate pair has no encoding, so it could not be hashed.
        secret.encode()
    except UnicodeEncodeError:
        raise UnusablePassword("The password holds a character that is not text.") from None
    return unicodedata.normalize("NFC", secret)
