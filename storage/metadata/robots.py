"""Robots: accounts of an organization that come with access tokens alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, func, select

from storage.metadata.accounts import NameTaken
from storage.metadata.repositories import OWNER_ROLE
from storage.metadata.schema import access_tokens, accounts, namespace_roles, namespaces, robots

SEPARATOR: Final = "+"
"""Between the organization's name and the robot's: no account of a person has it in its name."""


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot; `name` is the whole one, `organization+robot`."""

    account_id: int
    name: str
    about: str
    disabled: bool
    created_at: datetime
    token_count: int
    last_used_at: datetime | None


_A: Final = accounts.c


def _robots() -> Select[*tuple[Any, ...]]:
    of_robot = access_tokens.c.account_id == _A.id
    return (
        select(
            _A.id,
            _A.name,
            robots.c.about,
            _A.disabled_at.is_not(None),
            _A.created_at,
            select(func.count()).where(of_robot).scalar_subquery(),
            select(func.max(access_tokens.c.last_used_at)).where(of_robot).scalar_subquery(),
        )
        .join(robots, robots.c.account_id == _A.id)
        .join(namespaces, namespaces.c.id == robots.c.namespace_id)
    )


def of_organization(db: Connection, organization_id: int) -> Sequence[Robot]:
    """Return the robots by name."""
    statement = _robots().where(robots.c.namespace_id == organization_id)
    return [Robot(*row) for row in db.execute(statement.order_by(_A.name))]


def find(db: Connection, name: str) -> Robot | None:
    """Return the robot of that whole name."""
    row = db.execute(_robots().where(_A.name == name)).first()
    return None if row is None else Robot(*row)


def organization_of(db: Connection, account_id: int) -> str | None:
    """Return whose robot the account is; None for the account of a person."""
    statement = select(namespaces.c.name).join(robots).where(robots.c.account_id == account_id)
    found: str | None = db.execute(statement).scalar()
    return found


def add(db: Connection, organization_id: int, name: str, *, about: str, now: datetime) -> None:
    """Add a robot; its tokens bound the role that it has on the whole namespace.

    Raises:
        NameTaken: nothing was changed.
    """
    if find(db, name) is not None:
        raise NameTaken(name)
    new = accounts.insert().values(name=name, is_admin=False, created_at=now).returning(_A.id)
    account_id = db.execute(new).scalar_one()
    db.execute(robots.insert().values(account_id=account_id, namespace_id=organization_id, about=about))
    db.execute(
        namespace_roles.insert().values(namespace_id=organization_id, account_id=account_id, role=OWNER_ROLE)
    )


def remove(db: Connection, account_id: int) -> None:
    """Delete a robot with its tokens."""
    db.execute(delete(accounts).where(_A.id == account_id))
