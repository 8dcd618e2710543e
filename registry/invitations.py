"""Invitations, and how a person comes to an account: by one of them, or freely where that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from auth import throttle
from auth.identity import Identity, Permission, Throttle, TooManyAttempts
from auth.tokens import new_secret, secret_hash
from registry.errors import Problem, RegistryError
from registry.guards import (
    check_line,
    invalid,
    not_here,
    require_account,
    require_administrator,
    require_login,
)
from registry.membership import owned
from registry.organizations import now
from registry.people import PasswordHashing, add_account, check_new_name
from storage.metadata import invitations, organizations, teams
from storage.metadata.engine import Connection, Metadata
from storage.metadata.invitations import Invitation

__all__ = [
    "Invitation",
    "Invitations",
    "NewInvitation",
]

_PREFIX: Final = "lsi_"
_MAX_NOTE: Final = 200
_MAX_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation with its secret, which is shown this once."""

    invitation: Invitation
    secret: str


@dataclass(frozen=True, slots=True)
class Invitations:
    """The invitations. `signup`: people may make accounts without one, a few from each address."""

    metadata: Metadata
    hashing: PasswordHashing
    throttle: Throttle
    signup: bool = False

    async def invite(
        self,
        caller: Identity,
        *,
        organization: str | None = None,
        team: str | None = None,
        as_owner: bool = False,
        note: str = "",
        days: int = 7,
    ) -> NewInvitation:
        """Make a link that is good once: into an organization, maybe a team, or just for an account."""
        note = check_line("note", note, _MAX_NOTE)
        if not 1 <= days <= _MAX_DAYS:
            raise invalid(days=f"1 to {_MAX_DAYS}")
        secret = new_secret(_PREFIX)

        def run(db: Connection) -> Invitation:
            organization_id = _organization_id(db, caller, organization)
            added = invitations.add(
                db,
                secret_hash(secret),
                organization_id=organization_id,
                team_id=_team_id(db, organization_id, team),
                as_owner=as_owner and organization_id is not None,
                note=note,
                by=caller.name,
                now=now(),
                expires_at=now() + timedelta(days=days),
            )
            return _found(invitations.find(db, added))

        return NewInvitation(await self.metadata.write(run), secret)

    async def invitations(self, caller: Identity, organization: str | None = None) -> Sequence[Invitation]:
        """List the invitations to an organization, to its owners; or those to none, to administrators."""

        def run(db: Connection) -> Sequence[Invitation]:
            return invitations.of_organization(db, _organization_id(db, caller, organization))

        return await self.metadata.read(run)

    async def withdraw_invitation(self, caller: Identity, invitation_id: int) -> None:
        """Make an invitation worthless."""
        require_login(caller, Permission.ADMIN)

        def run(db: Connection) -> None:
            found = _found(invitations.find(db, invitation_id))
            try:
                _organization_id(db, caller, found.organization)
            except RegistryError as error:
                raise not_here() from error  # its number tells nothing to those it is none of whose business
            invitations.remove(db, found.id)

        await self.metadata.write(run)

    async def invitation(self, secret: str) -> Invitation:
        """Return the invitation that the secret is of, if it is still good."""
        return _found(await self.metadata.lookup(invitations.open_by, secret_hash(secret), now=now()))

    async def accept_invitation(self, caller: Identity, secret: str) -> Invitation:
        """Join the organization that the invitation is to."""
        require_login(caller, Permission.ADMIN)
        account_id = require_account(caller)

        def run(db: Connection) -> Invitation:
            found = _open(db, secret)
            if found.organization_id is None:
                raise RegistryError(Problem.CONFLICT, "the invitation is for who has no account yet")
            _use(db, found, account_id, caller.name)
            return found

        return await self.metadata.write(run)

    async def sign_up(
        self, name: str, password: str, *, address: str, invitation: str | None = None
    ) -> Identity:
        """Make an account for who asks from `address`, and join what the invitation is to.

        Raises:
            RegistryError: DENIED, INVALID, NAME_TAKEN; NOT_HERE where the invitation is not good any more.
            TooManyAttempts: from that address, without an invitation.
        """
        if invitation is not None:
            await self.invitation(invitation)
        elif not self.signup:
            raise RegistryError(Problem.DENIED, "an account takes an invitation here")
        check_new_name(name)
        if invitation is None:
            await self._count_sign_up(address)
        hashed = await self.hashing.hash(password, name)

        def run(db: Connection) -> Identity:
            found = None if invitation is None else _open(db, invitation)
            account = add_account(db, name, hashed)
            if found is not None:
                _use(db, found, account.id, name)
            return Identity(account.id, account.name)

        return await self.metadata.write(run)

    async def _count_sign_up(self, address: str) -> None:
        counters = throttle.sign_up_keys(address)
        seconds = await self.throttle.retry_after(counters)
        if seconds > 0:
            raise TooManyAttempts(seconds)
        await self.throttle.record_failure(counters)


def _organization_id(db: Connection, caller: Identity, name: str | None) -> int | None:
    """Return the organization's id if the caller may invite to it; to none, administrators may."""
    if name is None:
        require_administrator(caller)
        return None
    return owned(db, caller, name).id


def _team_id(db: Connection, organization_id: int | None, name: str | None) -> int | None:
    if name is None:
        return None
    found = None if organization_id is None else teams.find(db, organization_id, name)
    if found is None:
        raise RegistryError(Problem.NOT_HERE, f"there is no team {name}")
    return found.id


def _found(invitation: Invitation | None) -> Invitation:
    if invitation is None:
        raise RegistryError(Problem.NOT_HERE, "the invitation is unknown, used up or too old")
    return invitation


def _open(db: Connection, secret: str) -> Invitation:
    return _found(invitations.open_by(db, secret_hash(secret), now=now()))


def _use(db: Connection, invitation: Invitation, account_id: int, name: str) -> None:
    if invitation.organization_id is not None:
        is_owner = organizations.membership(db, invitation.organization_id, account_id)
        if invitation.as_owner or is_owner is None:
            organizations.put_member(
                db, invitation.organization_id, account_id, is_owner=invitation.as_owner, now=now()
            )
        if invitation.team_id is not None:
            teams.put_member(db, invitation.team_id, account_id)
    invitations.accept(db, invitation.id, by=name, now=now())
