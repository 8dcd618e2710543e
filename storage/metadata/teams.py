"""Teams: members of an organization who share roles on its repositories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from storage.metadata.engine import insert
from storage.metadata.schema import repositories, team_members, team_repository_roles, teams


class TeamNameTaken(Exception):
    """The organization has a team of that name."""


@dataclass(frozen=True, slots=True)
class Team:
    """A team's row, with counts; `role` is its role on the whole namespace."""

    id: int
    name: str
    about: str
    role: int | None
    created_at: datetime
    version: int
    member_count: int
    repository_count: int


_T: Final = teams.c


def _counted(column: ColumnElement[int]) -> ColumnElement[int]:
    return select(func.count()).where(column == _T.id).scalar_subquery()


def _teams(organization_id: int) -> Select[*tuple[Any, ...]]:
    return select(
        _T.id,
        _T.name,
        _T.about,
        _T.role,
        _T.created_at,
        _T.version,
        _counted(team_members.c.team_id),
        _counted(team_repository_roles.c.team_id),
    ).where(_T.namespace_id == organization_id)


def of_organization(db: Connection, organization_id: int) -> Sequence[Team]:
    """Return the teams by name."""
    return [Team(*row) for row in db.execute(_teams(organization_id).order_by(_T.name))]


def find(db: Connection, organization_id: int, name: str) -> Team | None:
    """Return the team of that name."""
    row = db.execute(_teams(organization_id).where(_T.name == name)).first()
    return None if row is None else Team(*row)


def add(
    db: Connection, organization_id: int, name: str, *, about: str, role: int | None, now: datetime
) -> None:
    """Add a team.

    Raises:
        TeamNameTaken: nothing was changed.
    """
    if find(db, organization_id, name) is not None:
        raise TeamNameTaken(name)
    db.execute(
        teams.insert().values(namespace_id=organization_id, name=name, about=about, role=role, created_at=now)
    )


def edit(db: Connection, team_id: int, values: Mapping[str, Any]) -> None:
    """Change the name, the text or the role of a team.

    Raises:
        TeamNameTaken: nothing was changed.
    """
    try:
        with db.begin_nested():
            db.execute(update(teams).where(_T.id == team_id).values(**values, version=_T.version + 1))
    except IntegrityError as error:
        raise TeamNameTaken from error


def remove(db: Connection, team_id: int) -> None:
    """Delete the team; its members stay in the organization."""
    db.execute(delete(teams).where(_T.id == team_id))


def put_member(db: Connection, team_id: int, account_id: int) -> None:
    """Let the account belong to the team."""
    new = insert(db, team_members).values(team_id=team_id, account_id=account_id)
    db.execute(new.on_conflict_do_nothing())


def remove_member(db: Connection, team_id: int, account_id: int) -> bool:
    """Let the account leave the team; tell whether it belonged to it."""
    c = team_members.c
    statement = delete(team_members).where(c.team_id == team_id, c.account_id == account_id)
    return db.execute(statement).rowcount > 0


def roles(db: Connection, team_id: int) -> Sequence[tuple[str, int]]:
    """Return the repositories that the team has a role on, by name, with the role."""
    c = team_repository_roles.c
    statement = select(repositories.c.name, c.role).join(team_repository_roles).where(c.team_id == team_id)
    return [(name, role) for name, role in db.execute(statement.order_by(repositories.c.name))]


def set_role(db: Connection, team_id: int, repository_id: int, role: int | None) -> bool:
    """Give the team a role on a repository, or take it away; tell whether that changed anything."""
    key = {"team_id": team_id, "repository_id": repository_id}
    if role is None:
        return db.execute(delete(team_repository_roles).filter_by(**key)).rowcount > 0
    new = insert(db, team_repository_roles).values(role=role, **key)
    db.execute(new.on_conflict_do_update(index_elements=list(key), set_={"role": role}))
    return True
