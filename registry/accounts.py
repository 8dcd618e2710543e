"""What `auth` needs of accounts, answered from the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auth import throttle
from auth.identity import Identity
from auth.policy import Role, Standing
from auth.tokens import new_secret, secret_hash
from registry.names import RepositoryName
from storage.metadata import accounts, login_failures, repositories
from storage.metadata.accounts import Account
from storage.metadata.engine import Metadata


@dataclass(frozen=True, slots=True)
class StoredAccounts:
    """Accounts in the database; satisfies `auth.identity.Accounts`."""

    metadata: Metadata
    refresh_token_lifetime: int
    """In seconds."""

    async def find_credentials(self, name: str) -> Account | None:
        """Return the account of this name."""
        return await self.metadata.lookup(accounts.find, name)

    async def replace_password_hash(self, account_id: int, old: str, new: str) -> None:
        """Keep a hash with today's costs, unless the password was changed meanwhile."""
        await self.metadata.write(accounts.replace_password_hash, account_id, old=old, new=new)

    async def find_identity(self, name: str) -> Identity | None:
        """Return who has this name now; None if nobody has, or if the account is disabled."""
        return _identity(await self.metadata.lookup(accounts.find, name))

    async def standing(self, identity: Identity, repository: RepositoryName) -> Standing:
        """Return how the identity stands to the repository now."""
        rights = await self.metadata.lookup(repositories.rights, repository, identity.account_id)
        return Standing(
            exists=rights.exists,
            public=rights.is_public,
            namespace_exists=rights.namespace_exists,
            role=None if rights.role is None else Role(rights.role),
            repository_id=rights.repository_id,
            name=rights.name,
            archived=rights.is_archived,
        )

    async def add_refresh_token(self, identity: Identity, client_id: str) -> str | None:
        """Return a new refresh token, which is stored hashed; None for who has no account."""
        if identity.account_id is None:
            return None
        secret, now = new_secret("lsr_"), datetime.now(UTC)
        await self.metadata.write(
            accounts.add_refresh_token,
            identity.account_id,
            secret_hash(secret),
            client_id,
            now=now,
            expires_at=now + timedelta(seconds=self.refresh_token_lifetime),
        )
        return secret

    async def find_by_refresh_token(self, secret: str) -> Identity | None:
        """Return who a refresh token stands for, if it still stands for anybody."""
        found = await self.metadata.lookup(
            accounts.find_by_refresh_token, secret_hash(secret), now=datetime.now(UTC)
        )
        return _identity(found)


@dataclass(frozen=True, slots=True)
class StoredThrottle:
    """Counters of failed logins, shared by all processes; satisfies `auth.identity.Throttle`."""

    metadata: Metadata

    async def retry_after(self, keys: Sequence[throttle.Key]) -> int:
        """Return the longest wait in seconds that any of the counters asks for."""
        found = await self.metadata.lookup(login_failures.find, [key.text for key in keys])
        now = datetime.now(UTC).timestamp()
        waits = [
            throttle.remaining(found[key.text][0], key.free, found[key.text][1].timestamp(), now)
            for key in keys
            if key.text in found
        ]
        return max(waits, default=0)

    async def record_failure(self, keys: Sequence[throttle.Key]) -> None:
        """Count one failure in each of the counters.

        A pair that has used up what is free to it counts for itself only: one client with an old password
        must not shut out everybody who shares its address.
        """
        own = [key for key in keys if key.forgiven]
        now = datetime.now(UTC)
        counted = await self.metadata.lookup(login_failures.find, [key.text for key in own])
        exhausted = any(key.text in counted and counted[key.text][0] >= key.free for key in own)
        await self.metadata.write(
            login_failures.record,
            [key.text for key in (own if exhausted else keys)],
            forget_before=now - timedelta(seconds=throttle.FORGET_SECONDS),
            now=now,
        )

    async def record_success(self, keys: Sequence[throttle.Key]) -> None:
        """Set these counters back to zero."""
        texts = [key.text for key in keys]
        # Most logins follow no failure: a read spares them a write.
        if await self.metadata.lookup(login_failures.find, texts):
            await self.metadata.write(login_failures.clear, texts)


def _identity(account: Account | None) -> Identity | None:
    if account is None or account.disabled:
        return None
    return Identity(account.id, account.name, is_admin=account.is_admin)
