"""People who were given a role on one repository."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from storage.metadata.engine import insert
from storage.metadata.schema import accounts, repository_roles


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on a repository; its number is as in `auth.policy.Role`."""

    name: str
    role: int


def of_repository(db: Connection, repository_id: int) -> Sequence[Grant]:
    """Return the accounts with a role of their own on the repository, by name."""
    statement = (
        select(accounts.c.name, repository_roles.c.role)
        .join(repository_roles, repository_roles.c.account_id == accounts.c.id)
        .where(repository_roles.c.repository_id == repository_id)
        .order_by(accounts.c.name)
    )
    return [Grant(*row) for row in db.execute(statement)]


def put(db: Connection, repository_id: int, account_id: int, role: int) -> None:
    """Give the account the role, whatever it had before."""
    new = insert(db, repository_roles).values(repository_id=repository_id, account_id=account_id, role=role)
    key = ["repository_id", "account_id"]
    db.execute(new.on_conflict_do_update(index_elements=key, set_={"role": role}))


def remove(db: Connection, repository_id: int, account_id: int) -> bool:
    """Take the account's role away; tell whether it had one."""
    c = repository_roles.c
    statement = delete(repository_roles).where(c.repository_id == repository_id, c.account_id == account_id)
    return db.execute(statement).rowcount > 0
