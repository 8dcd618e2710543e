"""Sessions of the pages: who is signed in where."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auth.identity import Identity, Permission
from auth.tokens import new_secret, secret_hash
from registry.guards import not_here, require_account, require_login
from storage.metadata import sessions
from storage.metadata.engine import Metadata, MetadataFull, MetadataUnavailable

_PREFIX: Final = "lss_"
_MAX_AGENT: Final = 300

# That a session was used is written down this often at most: a page should cost no write.
_TOUCHED_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its owner lists it."""

    id: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str
    current: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is signed in, and by which session."""

    identity: Identity
    session_id: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions. `lifetime`: seconds without a visit after which one ends."""

    metadata: Metadata
    lifetime: int

    async def start(self, identity: Identity, *, address: str, agent: str) -> str:
        """Begin a session and return its secret, which the browser keeps."""
        account_id, secret, now = require_account(identity), new_secret(_PREFIX), datetime.now(UTC)
        await self.metadata.write(
            sessions.add,
            account_id,
            secret_hash(secret),
            address=address,
            agent="".join(each for each in agent if each.isprintable())[:_MAX_AGENT],
            now=now,
            expires_at=now + timedelta(seconds=self.lifetime),
        )
        return secret

    async def find(self, secret: str) -> SignedIn | None:
        """Return who is signed in with the secret; None once the session has ended."""
        now = datetime.now(UTC)
        found = await self.metadata.lookup(sessions.find, secret_hash(secret), now=now)
        if found is None:
            return None
        account, session = found
        if now - session.seen_at > _TOUCHED_AFTER:
            expires_at = now + timedelta(seconds=self.lifetime)
            # A page is worth more than the note: it is shown where the database can only be read now.
            with contextlib.suppress(MetadataUnavailable, MetadataFull):
                await self.metadata.write(sessions.touch, session.id, now=now, expires_at=expires_at)
        return SignedIn(Identity(account.id, account.name, is_admin=account.is_admin), session.id)

    async def end(self, secret: str) -> None:
        """End the session of the secret."""
        await self.metadata.write(sessions.remove_by_secret, secret_hash(secret))

    async def sessions(self, caller: Identity, current: int | None = None) -> Sequence[Session]:
        """List the caller's sessions, the one used last first."""
        require_login(caller, Permission.ADMIN)
        found = await self.metadata.read(sessions.of_account, require_account(caller), now=datetime.now(UTC))
        return [
            Session(
                each.id,
                each.created_at,
                each.seen_at,
                each.expires_at,
                each.address,
                each.agent,
                each.id == current,
            )
            for each in found
        ]

    async def revoke(self, caller: Identity, session_id: int) -> None:
        """End one of the caller's sessions."""
        require_login(caller, Permission.ADMIN)
        if not await self.metadata.write(sessions.remove, require_account(caller), session_id):
            raise not_here()

    async def revoke_others(self, caller: Identity, keep: int | None = None) -> int:
        """End the caller's sessions but the one to keep; return how many."""
        require_login(caller, Permission.ADMIN)
        return await self.metadata.write(sessions.remove_others, require_account(caller), keep)
