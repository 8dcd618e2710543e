"""Credentials → Identity.

AuthenticationFailed
├── WrongCredentials
└── TooManyAttempts
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from auth.passwords import ACCESS_PREFIX, Passwords, Verdict
from auth.throttle import Key, keys

MAX_NAME: Final = 256


class AuthenticationFailed(Exception):
    """The caller is not who they say they are, or nobody looked. The message is safe to show."""


class WrongCredentials(AuthenticationFailed):
    """Unknown account, wrong password or disabled account: which of them is not told."""


class TooManyAttempts(AuthenticationFailed):
    """Nobody looked at the password: try again after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts, try again in {retry_after} s")
        self.retry_after = retry_after


class Permission(IntEnum):
    """How far an access token goes at most; a higher permission includes the lower ones."""

    READ = 1
    """See and pull."""
    WRITE = 2
    """Push, and edit what a repository says of itself."""
    DELETE = 3
    """Delete tags, manifests and repositories."""
    ADMIN = 4
    """Everything else that the account may do: people, tokens, settings of repositories."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What bounds a caller who came with an access token, besides the rights of its account.

    `repositories`: ids of the only repositories that it is for; None is all of them.
    """

    token_id: int
    permission: Permission
    repositories: frozenset[int] | None = None

    def covers(self, permission: Permission, repository_id: int | None) -> bool:
        """Tell whether the token is good for this on the repository; None is one that does not exist yet."""
        return self.permission >= permission and (
            self.repositories is None or repository_id in self.repositories
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. The name "" is the anonymous caller.

    `external`: known through a token of an outside issuer; that token's scope is authoritative and there is
    no account here. `limit`: of the access token that the caller came with.
    """

    account_id: int | None
    name: str
    is_admin: bool = False
    external: bool = False
    limit: Limit | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody in particular is asking."""
        return not self.name

    @property
    def administers(self) -> bool:
        """Whether the caller may do everything: an administrator who came with no lesser token."""
        return self.is_admin and self.may(Permission.ADMIN) and self.sees_all

    @property
    def sees_all(self) -> bool:
        """Whether every repository may be known to the caller."""
        return self.is_admin and (self.limit is None or self.limit.repositories is None)

    def may(self, permission: Permission) -> bool:
        """Tell whether what the caller came with is good for this on anything."""
        return self.limit is None or self.limit.permission >= permission


ANONYMOUS: Final = Identity(account_id=None, name="")
# Who acts where access control is switched off, and in background work.
SYSTEM: Final = Identity(account_id=None, name="system", is_admin=True)


class Credentials(Protocol):
    """What is stored about an account, as far as a login needs it."""

    @property
    def id(self) -> int:
        """The number that stays when the name changes."""

    @property
    def name(self) -> str:
        """The name as it is stored."""

    @property
    def password_hash(self) -> str | None:
        """The hash, or None where the account has no password."""

    @property
    def is_admin(self) -> bool:
        """Whether the account administers the whole registry."""

    @property
    def disabled(self) -> bool:
        """Whether the account may not log in."""


class Accounts(Protocol):
    """What is needed of the place where accounts are kept."""

    async def find_credentials(self, name: str) -> Credentials | None:
        """Return the account of this name, or None.

        `name` is as the caller typed it: 1 to 256 printable characters.
        """

    async def find_access_token(self, secret: str) -> Identity | None:
        """Return whom an access token stands for, bounded by it; None where it is none, or none any more."""

    async def replace_password_hash(self, account_id: int, old: str, new: str) -> None:
        """Store `new` where `old` is still the stored hash: a password changed meanwhile must win."""


class Throttle(Protocol):
    """Counters of failed attempts, shared by every process. The policy is in auth.throttle."""

    async def retry_after(self, keys: Sequence[Key]) -> int:
        """Return the longest wait in seconds that any of the counters asks for; 0 is go ahead."""

    async def record_failure(self, keys: Sequence[Key]) -> None:
        """Count one failure in each of the counters, starting at 1 where the last one is forgotten."""

    async def record_success(self, keys: Sequence[Key]) -> None:
        """Set these counters back to zero. Called on every login: cheap where nothing was counted."""


class Authenticator:
    """Check names and passwords, a few at a time, without blocking the event loop.

    `executor` runs the hashing. `concurrency` is how many hashes are computed at once: each takes
    a core and megabytes. `waiting` is how many callers may queue for them before the next ones are
    turned away: without that bound a flood of guesses would be a queue that honest callers never get through.
    """

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        throttle: Throttle,
        executor: Executor,
        *,
        concurrency: int = 4,
        waiting: int = 256,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._throttle = throttle
        self._executor = executor
        self._slots = asyncio.Semaphore(concurrency)
        self._limit = concurrency + waiting
        self._pending = 0

    async def authenticate(self, name: str, password: str, address: str) -> Identity:
        """Return who this is. Raises WrongCredentials or TooManyAttempts, never returns ANONYMOUS.

        `address` is the client's, already seen through trusted proxies. A right password that comes during a
        delay is not looked at. A hash with outdated costs is replaced on success. An access token of the
        account is as good as its password, and bounds the Identity.
        """
        counters = keys(name, address)
        await self._admit(counters)
        if password.startswith(ACCESS_PREFIX):
            return await self._redeem(name, password, counters)
        if self._pending >= self._limit:
            raise TooManyAttempts(1)
        self._pending += 1
        try:
            queued = self._slots.locked()
            async with self._slots:
                if queued:
                    # Guesses sent all at once would otherwise all have been admitted before the first failed.
                    await self._admit(counters)
                return await self._compare(name, password, counters)
        finally:
            self._pending -= 1

    async def _admit(self, counters: Sequence[Key]) -> None:
        seconds = await self._throttle.retry_after(counters)
        if seconds > 0:
            raise TooManyAttempts(seconds)

    async def _redeem(self, name: str, secret: str, counters: Sequence[Key]) -> Identity:
        """Return whom the access token stands for; no hash to compute: the secret has 256 bits of its own."""
        found = await self._accounts.find_access_token(secret)
        if found is None or found.name != name:
            await self._throttle.record_failure(counters)
            raise WrongCredentials("wrong name or password")
        await self._throttle.record_success([key for key in counters if key.forgiven])
        return found

    async def _compare(self, name: str, password: str, counters: Sequence[Key]) -> Identity:
        found = await self._accounts.find_credentials(name) if _may_be_name(name) else None
        hashed = None if found is None else found.password_hash
        verdict = await self._verify(password, hashed)
        if found is None or hashed is None or found.disabled or not verdict.ok:
            await self._throttle.record_failure(counters)
            raise WrongCredentials("wrong name or password")
        await self._throttle.record_success([key for key in counters if key.forgiven])
        if verdict.rehash:
            await self._renew(found.id, password, hashed)
        return Identity(found.id, found.name, is_admin=found.is_admin)

    async def _verify(self, password: str, hashed: str | None) -> Verdict:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._passwords.verify, password, hashed)

    async def _renew(self, account_id: int, password: str, old: str) -> None:
        loop = asyncio.get_running_loop()
        new = await loop.run_in_executor(self._executor, self._passwords.hash, password)
        await self._accounts.replace_password_hash(account_id, old, new)


def _may_be_name(name: str) -> bool:
    # What no account can be called is not sent to a database, which may refuse it with an error.
    return 0 < len(name) <= MAX_NAME and name.isprintable()
