"""What `auth` needs of accounts, answered from the database."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auth import throttle
from auth.identity import Identity, Limit, Permission
from auth.policy import Role, Standing
from auth.tokens import VerifiedToken, new_secret, secret_hash
from registry.names import RepositoryName
from storage.metadata import access_tokens, accounts, login_failures, repositories
from storage.metadata.access_tokens import Bearer
from storage.metadata.accounts import Account
from storage.metadata.engine import Connection, Metadata, MetadataFull, MetadataUnavailable

# That a token was used is written down this often at most: a login should cost no write.
_TOUCHED_AFTER: Final = timedelta(minutes=1)


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

    async def find_access_token(self, secret: str) -> Identity | None:
        """Return whom an access token stands for, bounded by it."""
        now = datetime.now(UTC)
        found = await self.metadata.lookup(access_tokens.find_by_secret, secret_hash(secret), now=now)
        await self._note_use(found, now)
        return _bounded(found)

    async def find_bounded(self, access_token_id: int) -> Identity | None:
        """Return whom the access token of that id stands for now; None once it was revoked or is too old."""
        now = datetime.now(UTC)
        return _bounded(await self.metadata.lookup(access_tokens.find, access_token_id, now=now))

    async def find_by_token(self, token: VerifiedToken) -> Identity | None:
        """Return whom one of our tokens speaks for, as things are now and not as when it was made."""
        if token.access_token_id is None:
            identity = await self.find_identity(token.subject)
        else:
            identity = await self.find_bounded(token.access_token_id)
        return identity if identity is not None and identity.account_id == token.account_id else None

    async def standing(self, identity: Identity, repository: RepositoryName) -> Standing:
        """Return how the identity stands to the repository now."""
        return await self.metadata.lookup(standing_of, identity, repository)

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
            access_token_id=None if identity.limit is None else identity.limit.token_id,
        )
        return secret

    async def find_by_refresh_token(self, secret: str) -> Identity | None:
        """Return who a refresh token stands for, if it still stands for anybody."""
        now = datetime.now(UTC)
        found = await self.metadata.lookup(accounts.find_by_refresh_token, secret_hash(secret), now=now)
        if found is None:
            return None
        account, access_token_id = found
        if access_token_id is None:
            return _identity(account)
        bearer = await self.metadata.lookup(access_tokens.find, access_token_id, now=now)
        await self._note_use(bearer, now)
        return _bounded(bearer)

    async def _note_use(self, token: Bearer | None, now: datetime) -> None:
        if token is None or (token.last_used_at is not None and now - token.last_used_at <= _TOUCHED_AFTER):
            return
        # A login is worth more than the note: it goes on where the database can only be read now.
        with contextlib.suppress(MetadataUnavailable, MetadataFull):
            await self.metadata.write(access_tokens.touch, token.token_id, now=now)


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


def standing_of(
    db: Connection, identity: Identity, repository: RepositoryName, *, former: bool = True
) -> Standing:
    """Return how the identity stands to the repository, within a transaction.

    `former` says that a former name of a repository means it as well.
    """
    rights = repositories.rights(db, repository, identity.account_id, former=former)
    return Standing(
        exists=rights.exists,
        public=rights.is_public,
        namespace_exists=rights.namespace_exists,
        role=None if rights.role is None else Role(rights.role),
        repository_id=rights.repository_id,
        name=rights.name,
        archived=rights.is_archived,
    )


def _bounded(found: Bearer | None) -> Identity | None:
    if found is None:
        return None
    limit = Limit(found.token_id, Permission(found.permission), found.repositories)
    account = found.account
    return Identity(account.id, account.name, is_admin=account.is_admin, limit=limit)


def _identity(account: Account | None) -> Identity | None:
    if account is None or account.disabled:
        return None
    return Identity(account.id, account.name, is_admin=account.is_admin)
