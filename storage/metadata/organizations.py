"""Organizations: namespaces that belong to their members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, select, update

from storage.metadata import documents
from storage.metadata.accounts import NameTaken, begins_with, name_is_taken
from storage.metadata.engine import insert
from storage.metadata.repositories import Viewer, visible_to
from storage.metadata.schema import (
    accounts,
    namespaces,
    organization_members,
    repositories,
    robots,
    team_members,
    teams,
)


class NotEmpty(Exception):
    """The organization still has repositories."""


class LastOwner(Exception):
    """An organization keeps one owner at least."""


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as one viewer sees it; `is_owner` is None for who does not belong to it."""

    id: int
    name: str
    full_name: str
    about: str
    website: str
    created_at: datetime
    version: int
    is_owner: bool | None
    member_count: int
    team_count: int
    repository_count: int
    """Of those that the viewer may see."""

    @property
    def role(self) -> str | None:
        """What the viewer is in it: "owner", "member" or nothing."""
        return None if self.is_owner is None else "owner" if self.is_owner else "member"


@dataclass(frozen=True, slots=True)
class Member:
    """A member, with the names of its teams."""

    account_id: int
    name: str
    full_name: str
    is_owner: bool
    joined_at: datetime
    teams: tuple[str, ...] = ()


_N: Final = namespaces.c
_M: Final = organization_members.c
_ALL: Final = organization_members.alias()


def _counted(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).where(*conditions).scalar_subquery()


def _organizations(viewer: Viewer) -> Select[*tuple[Any, ...]]:
    me = and_(_M.namespace_id == _N.id, _M.account_id == viewer.account_id)
    statement = select(
        _N.id,
        _N.name,
        _N.full_name,
        _N.about,
        _N.website,
        _N.created_at,
        _N.version,
        _M.is_owner,
        _counted(_ALL.c.namespace_id == _N.id),
        _counted(teams.c.namespace_id == _N.id),
        _counted(repositories.c.namespace_id == _N.id, visible_to(viewer)),
    )
    return statement.outerjoin(organization_members, me).where(_N.is_organization)


def find(db: Connection, name: str, viewer: Viewer) -> Organization | None:
    """Return the organization of that name."""
    row = db.execute(_organizations(viewer).where(_N.name == name)).first()
    return None if row is None else Organization(*row)


def listed(
    db: Connection, viewer: Viewer, *, mine: bool, prefix: str, last: str, limit: int
) -> Sequence[Organization]:
    """Return organizations by name after `last`: the viewer's own, or all that the name's beginning fits."""
    statement = _organizations(viewer).where(_N.name > last, begins_with(_N.name, prefix))
    if mine:
        statement = statement.where(_M.account_id.is_not(None))
    return [Organization(*row) for row in db.execute(statement.order_by(_N.name).limit(limit))]


def of_account(db: Connection, account_id: int) -> Sequence[str]:
    """Return the names of the organizations that the account belongs to."""
    statement = select(_N.name).join(organization_members).where(_M.account_id == account_id)
    return db.execute(statement.order_by(_N.name)).scalars().all()


def add(
    db: Connection, name: str, owner_id: int | None, *, full_name: str, about: str, now: datetime
) -> None:
    """Add an organization, which whoever makes it owns.

    Raises:
        NameTaken: nothing was changed.
    """
    if name_is_taken(db, name):
        raise NameTaken(name)
    new = namespaces.insert().values(
        name=name, is_organization=True, full_name=full_name, about=about, created_at=now
    )
    namespace_id: int = db.execute(new.returning(_N.id)).scalar_one()
    if owner_id is not None:
        put_member(db, namespace_id, owner_id, is_owner=True, now=now)


def edit(db: Connection, organization_id: int, values: Mapping[str, str]) -> None:
    """Change what it says of itself."""
    statement = update(namespaces).where(_N.id == organization_id)
    db.execute(statement.values(**values, version=_N.version + 1))
    if "full_name" in values:
        documents.refresh_namespace(db, organization_id)


def remove(db: Connection, organization_id: int) -> None:
    """Delete the organization with its teams and robots.

    Raises:
        NotEmpty: nothing was changed.
    """
    statement = select(repositories.c.id).where(repositories.c.namespace_id == organization_id)
    if db.execute(statement.limit(1)).first() is not None:
        raise NotEmpty
    its_robots = select(robots.c.account_id).where(robots.c.namespace_id == organization_id)
    db.execute(delete(accounts).where(accounts.c.id.in_(its_robots)))
    db.execute(delete(namespaces).where(_N.id == organization_id))


# -- members ---------------------------------------------------------------------------------------------


def members(db: Connection, organization_id: int, *, last: str, limit: int) -> Sequence[Member]:
    """Return the members by name after `last`."""
    return _members(db, organization_id, accounts.c.name > last, limit)


def members_of_team(db: Connection, organization_id: int, team_id: int) -> Sequence[Member]:
    """Return the members of a team by name."""
    in_team = select(team_members.c.account_id).where(team_members.c.team_id == team_id)
    return _members(db, organization_id, accounts.c.id.in_(in_team), None)


def _members(
    db: Connection, organization_id: int, condition: ColumnElement[bool], limit: int | None
) -> Sequence[Member]:
    statement = (
        select(accounts.c.id, accounts.c.name, accounts.c.full_name, _M.is_owner, _M.joined_at)
        .join(organization_members, _M.account_id == accounts.c.id)
        .where(_M.namespace_id == organization_id, condition)
        .order_by(accounts.c.name)
        .limit(limit)
    )
    rows = db.execute(statement).all()
    named: dict[int, tuple[str, ...]] = {}
    of_teams = (
        select(team_members.c.account_id, teams.c.name)
        .join(teams)
        .where(
            teams.c.namespace_id == organization_id, team_members.c.account_id.in_([row.id for row in rows])
        )
        .order_by(teams.c.name)
    )
    for account_id, team in db.execute(of_teams):
        named[account_id] = (*named.get(account_id, ()), team)
    return [Member(*row, teams=named.get(row.id, ())) for row in rows]


def membership(db: Connection, organization_id: int, account_id: int) -> bool | None:
    """Tell whether the account owns the organization; None if it does not belong to it."""
    statement = select(_M.is_owner).where(_M.namespace_id == organization_id, _M.account_id == account_id)
    found: bool | None = db.execute(statement).scalar()
    return found


def put_member(
    db: Connection, organization_id: int, account_id: int, *, is_owner: bool, now: datetime
) -> None:
    """Let the account belong to the organization, or change what it is there.

    Raises:
        LastOwner: nothing was changed.
    """
    if not is_owner:
        _keep_an_owner(db, organization_id, account_id)
    new = insert(db, organization_members).values(
        namespace_id=organization_id, account_id=account_id, is_owner=is_owner, joined_at=now
    )
    key = ["namespace_id", "account_id"]
    db.execute(new.on_conflict_do_update(index_elements=key, set_={"is_owner": is_owner}))


def remove_member(db: Connection, organization_id: int, account_id: int) -> bool:
    """Let the account leave the organization and its teams; tell whether it belonged to it.

    Raises:
        LastOwner: nothing was changed.
    """
    _keep_an_owner(db, organization_id, account_id)
    its_teams = select(teams.c.id).where(teams.c.namespace_id == organization_id)
    db.execute(
        delete(team_members).where(
            team_members.c.account_id == account_id, team_members.c.team_id.in_(its_teams)
        )
    )
    statement = delete(organization_members).where(
        _M.namespace_id == organization_id, _M.account_id == account_id
    )
    return db.execute(statement).rowcount > 0


def _keep_an_owner(db: Connection, organization_id: int, leaving: int) -> None:
    owners = select(_M.account_id).where(_M.namespace_id == organization_id, _M.is_owner).limit(2)
    if db.execute(owners).scalars().all() == [leaving]:
        raise LastOwner


def has_visible(db: Connection, namespace: str, viewer: Viewer) -> bool:
    """Tell whether a namespace has a repository that the viewer may see."""
    statement = select(repositories.c.id).join(namespaces).where(_N.name == namespace, visible_to(viewer))
    return db.execute(statement.limit(1)).first() is not None
