"""People: their profiles, their passwords, and what administrators do about accounts."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

from auth import throttle
from auth.identity import Identity, Permission, Throttle, TooManyAttempts
from auth.passwords import Passwords, UnusablePassword, check_strength
from registry.errors import Problem, RegistryError
from registry.guards import (
    check_version,
    invalid,
    not_here,
    require_account,
    require_administrator,
    require_login,
)
from registry.listing import Listing, decode, page
from registry.local import viewer_of
from registry.membership import person
from registry.names import is_new_namespace
from registry.organizations import NAME_RULE, ProfileEdit, now
from storage.metadata import accounts, organizations, repositories
from storage.metadata.accounts import Account, NameTaken
from storage.metadata.engine import Connection, Metadata

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person or an organization says of itself, and what may be known of it."""

    name: str
    full_name: str
    about: str
    website: str
    is_organization: bool
    created_at: datetime
    version: int
    is_self: bool
    disabled: bool
    is_admin: bool
    organizations: tuple[str, ...]
    repository_count: int


@dataclass(frozen=True, slots=True)
class Person:
    """An account as administrators list it."""

    name: str
    full_name: str
    is_admin: bool
    disabled: bool
    created_at: datetime
    last_seen_at: datetime | None


class PasswordHashing:
    """Making and checking hashes, where they do not hold others up.

    `waiting` is how many hashes may be under way: without that bound a flood of requests would be a queue
    that honest callers never get through.
    """

    def __init__(self, passwords: Passwords, executor: Executor, *, waiting: int = 64) -> None:
        self._passwords = passwords
        self._executor = executor
        self._waiting = waiting
        self._pending = 0

    async def hash(self, password: str, name: str) -> str:
        """Return the hash of a password that is strong enough. Raises INVALID or TOO_MANY_REQUESTS."""
        try:
            check_strength(password, name)
            return await self._run(self._passwords.hash, password)
        except UnusablePassword as error:
            raise invalid(password=str(error)) from error

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Tell whether the password is the one. Raises TOO_MANY_REQUESTS."""
        return (await self._run(self._passwords.verify, password, hashed)).ok

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pending >= self._waiting:
            raise RegistryError(Problem.TOO_MANY_REQUESTS, retry_after=1)
        self._pending += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))
        finally:
            self._pending -= 1


@dataclass(frozen=True, slots=True)
class People:
    """The accounts of people."""

    metadata: Metadata
    hashing: PasswordHashing
    throttle: Throttle

    async def profile(self, caller: Identity, name: str) -> Profile:
        """Return the profile of a person or an organization."""
        return await self.metadata.read(partial(_profile, caller=caller, name=name))

    async def edit_profile(
        self, caller: Identity, edit: ProfileEdit, *, version: int | None = None
    ) -> Profile:
        """Change one's own profile."""
        require_login(caller, Permission.ADMIN)
        account_id, values = require_account(caller), edit.values()

        def run(db: Connection) -> Profile:
            found = person(db, caller.name)
            check_version(version, found.version)
            if values:
                accounts.edit(db, account_id, values)
            return _profile(db, caller, caller.name)

        return await self.metadata.write(run)

    async def change_password(self, caller: Identity, current: str, new: str, *, address: str) -> None:
        """Set another password; what is logged in by the old one is logged out.

        Raises:
            TooManyAttempts: `current` was wrong too often: it counts as a failed login from the address does.
        """
        require_login(caller, Permission.ADMIN)
        require_account(caller)
        if caller.limit is not None:
            raise RegistryError(Problem.DENIED, "an access token changes no password")
        await self._check_password(caller.name, current, address)
        hashed = await self.hashing.hash(new, caller.name)
        await self.metadata.write(accounts.change_password, caller.name, hashed)

    async def _check_password(self, name: str, password: str, address: str) -> None:
        counters = throttle.keys(name, address)
        seconds = await self.throttle.retry_after(counters)
        if seconds > 0:
            raise TooManyAttempts(seconds)
        found = await self.metadata.lookup(accounts.find, name)
        if found is None or not await self.hashing.matches(password, found.password_hash):
            await self.throttle.record_failure(counters)
            raise invalid(current="this is not your password")
        await self.throttle.record_success([key for key in counters if key.forgiven])

    async def suggest_people(self, caller: Identity, q: str, limit: int = 8) -> Sequence[str]:
        """Return names of accounts that begin with `q`, to whoever is logged in."""
        require_login(caller, Permission.READ)
        if not q:
            return []
        found = await self.metadata.read(accounts.people, prefix=q.lower(), last="", limit=limit)
        return [each.name for each in found if not each.disabled]

    # -- administration --------------------------------------------------------------------------------

    async def people(
        self, caller: Identity, *, q: str = "", cursor: str | None = None, limit: int = 25
    ) -> Listing[Person]:
        """List the accounts by name, to administrators."""
        require_administrator(caller)
        last = decode(cursor, str)

        def run(db: Connection) -> Sequence[Person]:
            found = accounts.people(db, prefix=q.lower(), last=last[0] if last else "", limit=limit + 1)
            seen = accounts.last_seen(db, [each.id for each in found])
            return [
                Person(
                    each.name,
                    each.full_name,
                    each.is_admin,
                    each.disabled,
                    each.created_at,
                    seen.get(each.id),
                )
                for each in found
            ]

        return page(await self.metadata.read(run), limit, lambda each: (each.name,))

    async def add_person(
        self, caller: Identity, name: str, password: str, *, is_admin: bool = False
    ) -> Profile:
        """Add an account and the namespace of its name."""
        require_administrator(caller)
        check_new_name(name)
        hashed = await self.hashing.hash(password, name)

        def run(db: Connection) -> Profile:
            add_account(db, name, hashed, is_admin=is_admin)
            return _profile(db, caller, name)

        return await self.metadata.write(run)

    async def set_disabled(self, caller: Identity, name: str, *, disabled: bool) -> None:
        """Close an account, which ends all that is logged in, or open it again."""
        require_administrator(caller)

        def run(db: Connection) -> None:
            found = person(db, name)
            if disabled:
                _keep_an_administrator(db, found)
            accounts.disable(db, name, disabled=disabled, now=now())

        await self.metadata.write(run)

    async def set_admin(self, caller: Identity, name: str, *, is_admin: bool) -> None:
        """Let an account administer the registry, or no more."""
        require_administrator(caller)

        def run(db: Connection) -> None:
            found = person(db, name)
            if not is_admin:
                _keep_an_administrator(db, found)
            accounts.set_admin(db, found.id, is_admin=is_admin)

        await self.metadata.write(run)

    async def set_password(self, caller: Identity, name: str, password: str) -> None:
        """Give a person another password; what is logged in by the old one is logged out."""
        require_administrator(caller)
        hashed = await self.hashing.hash(password, name)

        def run(db: Connection) -> None:
            accounts.change_password(db, person(db, name).name, hashed)

        await self.metadata.write(run)


def check_new_name(name: str) -> None:
    """Return if a person may be called so. Raises INVALID."""
    if not is_new_namespace(name):
        raise invalid(name=f"{NAME_RULE}; some names are kept back")


def add_account(db: Connection, name: str, password_hash: str, *, is_admin: bool = False) -> Account:
    """Add an account and the namespace of its name. Raises NAME_TAKEN."""
    try:
        accounts.add(db, name, password_hash, is_admin=is_admin, now=now())
    except NameTaken as error:
        raise RegistryError(Problem.NAME_TAKEN) from error
    return person(db, name)


def _keep_an_administrator(db: Connection, leaving: Account) -> None:
    if list(accounts.administrators(db)) == [leaving.id]:
        raise RegistryError(Problem.CONFLICT, "the registry keeps one administrator at least")


def _profile(db: Connection, caller: Identity, name: str) -> Profile:
    viewer = viewer_of(caller)
    if caller.is_anonymous and not organizations.has_visible(db, name, viewer):
        raise not_here()
    told = organizations.find(db, name, viewer) or person(db, name)
    account = told if isinstance(told, Account) else None
    is_self = account is not None and caller.account_id == account.id
    return Profile(
        name=told.name,
        full_name=told.full_name,
        about=told.about,
        website=told.website,
        is_organization=account is None,
        created_at=told.created_at,
        version=told.version,
        is_self=is_self,
        disabled=account is not None and account.disabled,
        is_admin=account is not None and account.is_admin,
        # To others it would tell who works with whom: that is for the organization's members to know.
        organizations=tuple(organizations.of_account(db, told.id)) if is_self else (),
        repository_count=repositories.count(db, name, viewer),
    )
