"""Organizations as their owners keep them: members, teams and robots.

Who may do something is asked in the transaction that does it: a right that was withdrawn is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Final, Literal

from auth.identity import Identity, Permission
from auth.policy import Role
from registry.errors import Problem, RegistryError
from registry.guards import (
    MAX_ABOUT,
    check_line,
    check_profile,
    check_text,
    check_version,
    invalid,
    not_here,
    require_administrator,
    require_login,
)
from registry.listing import Listing, decode, page
from registry.local import viewer_of
from registry.membership import joined, keeping_an_owner, owned, person_id, visible
from registry.names import is_namespace, is_new_namespace, parse_name
from storage.metadata import accounts, organizations, repositories, robots, teams
from storage.metadata.accounts import NameTaken
from storage.metadata.engine import Connection, Metadata
from storage.metadata.organizations import Member, NotEmpty, Organization
from storage.metadata.robots import Robot
from storage.metadata.teams import Team, TeamNameTaken

__all__ = [
    "NAME_RULE",
    "UNSET",
    "Founders",
    "Member",
    "Organization",
    "Organizations",
    "ProfileEdit",
    "Robot",
    "Team",
    "TeamEdit",
    "Unset",
    "now",
    "whole_name",
]

Founders = Literal["everybody", "administrators"]

NAME_RULE: Final = "2 to 64 lower-case letters and digits, with single separators (. _ __ -) between them"


class Unset(Enum):
    """The absence of a value where None is one."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class ProfileEdit:
    """What a person or an organization says of itself; None leaves it as it is."""

    full_name: str | None = None
    about: str | None = None
    website: str | None = None

    def values(self) -> dict[str, str]:
        """Return what was said, checked. Raises INVALID."""
        return check_profile({"full_name": self.full_name, "about": self.about, "website": self.website})


@dataclass(frozen=True, slots=True)
class TeamEdit:
    """Changes of a team; None for the role takes its role on the whole namespace away."""

    name: str | None = None
    about: str | None = None
    role: Role | Unset | None = UNSET

    def values(self) -> dict[str, str | int | None]:
        """Return what was said, checked. Raises INVALID."""
        said: dict[str, str | int | None] = {}
        if self.name is not None:
            said["name"] = _check_name(self.name)
        if self.about is not None:
            said["about"] = check_text("about", self.about, MAX_ABOUT)
        if not isinstance(self.role, Unset):
            said["role"] = self.role
        return said


@dataclass(frozen=True, slots=True)
class Organizations:
    """The organizations. `founders`: who may make one."""

    metadata: Metadata
    founders: Founders = "everybody"

    async def organizations(
        self, caller: Identity, *, mine: bool = False, q: str = "", cursor: str | None = None, limit: int = 25
    ) -> Listing[Organization]:
        """List organizations by name: the caller's own, or all; nobody in particular sees none."""
        if caller.is_anonymous:
            return Listing([])
        last = decode(cursor, str)
        found = await self.metadata.read(
            organizations.listed,
            viewer_of(caller),
            mine=mine,
            prefix=q.lower(),
            last=last[0] if last else "",
            limit=limit + 1,
        )
        return page(found, limit, lambda each: (each.name,))

    async def organization(self, caller: Identity, name: str) -> Organization:
        """Return an organization; nobody in particular knows only those with a public repository."""
        return await self.metadata.read(partial(visible, caller=caller, name=name))

    async def create(
        self, caller: Identity, name: str, *, full_name: str = "", about: str = "", owner: str | None = None
    ) -> Organization:
        """Make an organization, which the caller then owns; administrators may name another owner."""
        require_login(caller, Permission.ADMIN)
        if self.founders == "administrators" or owner is not None:
            require_administrator(caller)
        if not is_new_namespace(name):
            raise invalid(name=f"{NAME_RULE}; some names are kept back")
        if caller.account_id is None and not caller.administers:
            raise RegistryError(Problem.DENIED, "this takes an account of this registry")
        values = check_profile({"full_name": full_name, "about": about})

        def run(db: Connection) -> Organization:
            owner_id = caller.account_id if owner is None else person_id(db, owner)
            try:
                organizations.add(db, name, owner_id, now=now(), **values)
            except NameTaken as error:
                raise RegistryError(Problem.NAME_TAKEN) from error
            return visible(db, caller, name)

        return await self.metadata.write(run)

    async def edit(
        self, caller: Identity, name: str, edit: ProfileEdit, *, version: int | None = None
    ) -> Organization:
        """Change what an organization says of itself."""
        values = edit.values()

        def run(db: Connection) -> Organization:
            found = owned(db, caller, name)
            check_version(version, found.version)
            if values:
                organizations.edit(db, found.id, values)
            return visible(db, caller, name)

        return await self.metadata.write(run)

    async def delete(self, caller: Identity, name: str) -> None:
        """Delete an organization that has no repositories any more, with its teams and robots."""

        def run(db: Connection) -> None:
            try:
                organizations.remove(db, owned(db, caller, name).id)
            except NotEmpty as error:
                message = "the organization still has repositories"
                raise RegistryError(Problem.CONFLICT, message) from error

        await self.metadata.write(run)

    async def members(
        self, caller: Identity, organization: str, *, cursor: str | None = None, limit: int = 25
    ) -> Listing[Member]:
        """List the members by name, to members."""
        last = decode(cursor, str)

        def run(db: Connection) -> Sequence[Member]:
            found = joined(db, caller, organization)
            return organizations.members(db, found.id, last=last[0] if last else "", limit=limit + 1)

        return page(await self.metadata.read(run), limit, lambda each: (each.name,))

    async def set_member(self, caller: Identity, organization: str, person: str, *, is_owner: bool) -> None:
        """Let a person belong to the organization, or change what it is there."""

        def run(db: Connection) -> None:
            found = owned(db, caller, organization)
            account_id = person_id(db, person)
            with keeping_an_owner():
                organizations.put_member(db, found.id, account_id, is_owner=is_owner, now=now())

        await self.metadata.write(run)

    async def remove_member(self, caller: Identity, organization: str, person: str) -> None:
        """Let a person leave the organization and its teams; everybody may leave by themselves."""

        def run(db: Connection) -> None:
            leaves = caller.name == person and caller.account_id is not None
            found = (joined if leaves else owned)(db, caller, organization)
            with keeping_an_owner():
                if not organizations.remove_member(db, found.id, person_id(db, person)):
                    raise not_here()

        await self.metadata.write(run)

    # -- teams -----------------------------------------------------------------------------------------

    async def teams(self, caller: Identity, organization: str) -> Sequence[Team]:
        """List the teams by name, to members."""

        def run(db: Connection) -> Sequence[Team]:
            return teams.of_organization(db, joined(db, caller, organization).id)

        return await self.metadata.read(run)

    async def team(self, caller: Identity, organization: str, team: str) -> Team:
        """Return a team, to members."""
        return await self.metadata.read(lambda db: _team(db, joined(db, caller, organization).id, team))

    async def create_team(
        self, caller: Identity, organization: str, name: str, *, about: str = "", role: Role | None = None
    ) -> Team:
        """Make a team; `role` is its role on every repository of the organization."""
        name, about = _check_name(name), check_text("about", about, MAX_ABOUT)

        def run(db: Connection) -> Team:
            organization_id = owned(db, caller, organization).id
            try:
                teams.add(db, organization_id, name, about=about, role=role, now=now())
            except TeamNameTaken as error:
                raise RegistryError(Problem.NAME_TAKEN) from error
            return _team(db, organization_id, name)

        return await self.metadata.write(run)

    async def edit_team(
        self, caller: Identity, organization: str, team: str, edit: TeamEdit, *, version: int | None = None
    ) -> Team:
        """Change a team."""
        values = edit.values()

        def run(db: Connection) -> Team:
            organization_id = owned(db, caller, organization).id
            found = _team(db, organization_id, team)
            check_version(version, found.version)
            try:
                teams.edit(db, found.id, values)
            except TeamNameTaken as error:
                raise RegistryError(Problem.NAME_TAKEN) from error
            return _team(db, organization_id, str(values.get("name", team)))

        return await self.metadata.write(run)

    async def delete_team(self, caller: Identity, organization: str, team: str) -> None:
        """Delete a team; its members stay in the organization."""

        def run(db: Connection) -> None:
            teams.remove(db, _team(db, owned(db, caller, organization).id, team).id)

        await self.metadata.write(run)

    async def team_members(self, caller: Identity, organization: str, team: str) -> Sequence[Member]:
        """List the members of a team by name, to members of the organization."""

        def run(db: Connection) -> Sequence[Member]:
            organization_id = joined(db, caller, organization).id
            return organizations.members_of_team(db, organization_id, _team(db, organization_id, team).id)

        return await self.metadata.read(run)

    async def add_team_member(self, caller: Identity, organization: str, team: str, person: str) -> None:
        """Let a member of the organization belong to the team."""

        def run(db: Connection) -> None:
            organization_id = owned(db, caller, organization).id
            found, account_id = _team(db, organization_id, team), person_id(db, person)
            if organizations.membership(db, organization_id, account_id) is None:
                raise RegistryError(Problem.CONFLICT, f"{person} is no member of the organization")
            teams.put_member(db, found.id, account_id)

        await self.metadata.write(run)

    async def remove_team_member(self, caller: Identity, organization: str, team: str, person: str) -> None:
        """Let a person leave the team; they stay in the organization."""

        def run(db: Connection) -> None:
            found = _team(db, owned(db, caller, organization).id, team)
            if not teams.remove_member(db, found.id, person_id(db, person)):
                raise not_here()

        await self.metadata.write(run)

    async def team_repositories(
        self, caller: Identity, organization: str, team: str
    ) -> Sequence[tuple[str, Role]]:
        """List the repositories that the team has a role on, to members of the organization."""

        def run(db: Connection) -> Sequence[tuple[str, Role]]:
            found = _team(db, joined(db, caller, organization).id, team)
            return [(name, Role(role)) for name, role in teams.roles(db, found.id)]

        return await self.metadata.read(run)

    async def set_team_role(
        self, caller: Identity, organization: str, team: str, repository: str, role: Role | None
    ) -> None:
        """Give the team a role on a repository of the organization; None takes it away."""
        name = parse_name(repository)

        def run(db: Connection) -> None:
            found = _team(db, owned(db, caller, organization).id, team)
            stored = repositories.find(db, name)
            if stored is None or repositories.namespace_of(name) != organization:
                raise RegistryError(Problem.NOT_HERE, f"the organization has no repository {name}")
            if not teams.set_role(db, found.id, stored.id, role):
                raise not_here()

        await self.metadata.write(run)

    # -- robots ----------------------------------------------------------------------------------------

    async def robots(self, caller: Identity, organization: str) -> Sequence[Robot]:
        """List the robots by name, to owners."""

        def run(db: Connection) -> Sequence[Robot]:
            return robots.of_organization(db, owned(db, caller, organization).id)

        return await self.metadata.read(run)

    async def create_robot(self, caller: Identity, organization: str, name: str, about: str = "") -> Robot:
        """Make a robot, which can do nothing before it is given a token; its whole name is told."""
        full, about = whole_name(organization, name), check_line("about", about, MAX_ABOUT)

        def run(db: Connection) -> Robot:
            organization_id = owned(db, caller, organization).id
            try:
                robots.add(db, organization_id, full, about=about, now=now())
            except NameTaken as error:
                raise RegistryError(Problem.NAME_TAKEN) from error
            return _robot(db, full)

        return await self.metadata.write(run)

    async def set_robot_disabled(
        self, caller: Identity, organization: str, name: str, *, disabled: bool
    ) -> None:
        """Close a robot, whose tokens are worth nothing then, or open it again."""

        def run(db: Connection) -> None:
            owned(db, caller, organization)
            found = _robot(db, whole_name(organization, name))
            accounts.disable(db, found.name, disabled=disabled, now=now())

        await self.metadata.write(run)

    async def delete_robot(self, caller: Identity, organization: str, name: str) -> None:
        """Delete a robot with its tokens."""

        def run(db: Connection) -> None:
            owned(db, caller, organization)
            robots.remove(db, _robot(db, whole_name(organization, name)).account_id)

        await self.metadata.write(run)


def whole_name(organization: str, robot: str) -> str:
    """Return the name that a robot logs in by, `organization+robot`; it may be given as that already.

    Raises:
        RegistryError: INVALID.
    """
    name = robot.removeprefix(f"{organization}{robots.SEPARATOR}")
    return f"{organization}{robots.SEPARATOR}{_check_name(name)}"


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def _check_name(name: str) -> str:
    if not is_namespace(name):
        raise invalid(name=NAME_RULE)
    return name


def _team(db: Connection, organization_id: int, name: str) -> Team:
    found = teams.find(db, organization_id, name)
    if found is None:
        raise not_here()
    return found


def _robot(db: Connection, name: str) -> Robot:
    found = robots.find(db, name)
    if found is None:
        raise not_here()
    return found
