"""Accounts and the secrets by which they are known."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, select, update

from storage.metadata import documents
from storage.metadata.schema import Instant, accounts, namespaces, refresh_tokens, robots, sessions


class NameTaken(Exception):
    """An account or a namespace of that name is there already."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account's row."""

    id: int
    name: str
    password_hash: str | None
    is_admin: bool
    disabled: bool
    created_at: datetime
    full_name: str = ""
    about: str = ""
    website: str = ""
    version: int = 1

    @property
    def is_robot(self) -> bool:
        """Whether it belongs to an organization: no account of a person has the sign in its name."""
        return "+" in self.name


ROW = (
    accounts.c.id,
    accounts.c.name,
    accounts.c.password_hash,
    accounts.c.is_admin,
    accounts.c.disabled_at.is_not(None),
    accounts.c.created_at,
    accounts.c.full_name,
    accounts.c.about,
    accounts.c.website,
    accounts.c.version,
)


# Built once, as it is asked on every request: building costs more than a run.
_FIND: Final = select(*ROW).where(accounts.c.name == bindparam("name"))


def add(db: Connection, name: str, password_hash: str, *, is_admin: bool, now: datetime) -> None:
    """Add an account and the namespace of its name, which it owns.

    Raises:
        NameTaken: nothing was changed.
    """
    if name_is_taken(db, name):
        raise NameTaken(name)
    statement = accounts.insert().values(
        name=name, password_hash=password_hash, is_admin=is_admin, created_at=now
    )
    account_id = db.execute(statement.returning(accounts.c.id)).scalar_one()
    db.execute(namespaces.insert().values(name=name, owner_id=account_id, created_at=now))


def name_is_taken(db: Connection, name: str) -> bool:
    """Tell whether an account or a namespace has the name."""
    return any(
        db.execute(select(table.c.id).where(table.c.name == name)).first() is not None
        for table in (accounts, namespaces)
    )


def find(db: Connection, name: str) -> Account | None:
    """Return the account called `name`."""
    row = db.execute(_FIND, {"name": name}).first()
    return None if row is None else Account(*row)


def everyone(db: Connection) -> Sequence[Account]:
    """Return all accounts by name."""
    return [Account(*row) for row in db.execute(select(*ROW).order_by(accounts.c.name))]


def people(db: Connection, *, prefix: str, last: str, limit: int) -> Sequence[Account]:
    """Return accounts of people, by name after `last`, whose name begins with `prefix`."""
    name = accounts.c.name
    of_people = accounts.c.id.not_in(select(robots.c.account_id))
    statement = select(*ROW).where(name > last, begins_with(name, prefix), of_people)
    return [Account(*row) for row in db.execute(statement.order_by(accounts.c.name).limit(limit))]


def begins_with(name: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a name begins so: a range of the index, as LIKE is not everywhere."""
    return and_(name >= prefix, name < prefix + chr(sys.maxunicode))


def last_seen(db: Connection, account_ids: Sequence[int]) -> Mapping[int, datetime]:
    """Return when each of the accounts was last seen on the pages."""
    statement = (
        select(sessions.c.account_id, func.max(sessions.c.seen_at, type_=Instant()))
        .where(sessions.c.account_id.in_(account_ids))
        .group_by(sessions.c.account_id)
    )
    return {row.account_id: row[1] for row in db.execute(statement)}


def edit(db: Connection, account_id: int, values: Mapping[str, str]) -> None:
    """Change what an account says of itself."""
    statement = update(accounts).where(accounts.c.id == account_id)
    db.execute(statement.values(**values, version=accounts.c.version + 1))
    if "full_name" in values:
        owned = select(namespaces.c.id).where(namespaces.c.owner_id == account_id)
        for namespace_id in db.execute(owned).scalars().all():
            documents.refresh_namespace(db, namespace_id)


def set_admin(db: Connection, account_id: int, *, is_admin: bool) -> None:
    """Let an account administer the registry, or no more."""
    db.execute(update(accounts).where(accounts.c.id == account_id).values(is_admin=is_admin))


def administrators(db: Connection) -> Sequence[int]:
    """Return the ids of the accounts that administer the registry and are not closed."""
    statement = select(accounts.c.id).where(accounts.c.is_admin, accounts.c.disabled_at.is_(None))
    return db.execute(statement).scalars().all()


def exist(db: Connection) -> bool:
    """Tell whether there is any account."""
    return db.execute(select(accounts.c.id).limit(1)).first() is not None


def replace_password_hash(db: Connection, account_id: int, *, old: str, new: str) -> None:
    """Keep another hash of the same password, unless another password was set meanwhile."""
    statement = update(accounts).where(accounts.c.id == account_id, accounts.c.password_hash == old)
    db.execute(statement.values(password_hash=new))


def change_password(db: Connection, name: str, password_hash: str) -> bool:
    """Set a new password and end the logins by the old one; tell whether a person has such an account."""
    found = find(db, name)
    if found is None or found.is_robot:
        return False
    db.execute(update(accounts).where(accounts.c.id == found.id).values(password_hash=password_hash))
    _log_out(db, found.id)
    return True


def disable(db: Connection, name: str, *, disabled: bool, now: datetime) -> bool:
    """Close or open an account; tell whether there is such an account."""
    account_id = _id(db, name)
    if account_id is None:
        return False
    moment = now if disabled else None
    db.execute(update(accounts).where(accounts.c.id == account_id).values(disabled_at=moment))
    if disabled:
        _log_out(db, account_id)
    return True


def _id(db: Connection, name: str) -> int | None:
    return db.execute(select(accounts.c.id).where(accounts.c.name == name)).scalar()


def _log_out(db: Connection, account_id: int) -> None:
    for table in (refresh_tokens, sessions):
        db.execute(delete(table).where(table.c.account_id == account_id))


def add_refresh_token(
    db: Connection,
    account_id: int,
    secret_hash: str,
    client_id: str,
    *,
    now: datetime,
    expires_at: datetime,
    access_token_id: int | None = None,
) -> None:
    """Keep the hash of a refresh token; it ends with the access token that it was made for."""
    db.execute(
        refresh_tokens.insert().values(
            account_id=account_id,
            secret_hash=secret_hash,
            access_token_id=access_token_id,
            client_id=client_id,
            created_at=now,
            expires_at=expires_at,
        )
    )


def find_by_refresh_token(
    db: Connection, secret_hash: str, *, now: datetime
) -> tuple[Account, int | None] | None:
    """Return whom a refresh token stands for, unless it has expired, and the access token that bounds it."""
    statement = (
        select(*ROW, refresh_tokens.c.access_token_id)
        .join(refresh_tokens)
        .where(refresh_tokens.c.secret_hash == secret_hash, refresh_tokens.c.expires_at > now)
    )
    row = db.execute(statement).first()
    return None if row is None else (Account(*row[: len(ROW)]), row.access_token_id)


def remove_expired_refresh_tokens(db: Connection, *, now: datetime) -> int:
    """Delete what no longer counts; return how many."""
    return db.execute(delete(refresh_tokens).where(refresh_tokens.c.expires_at <= now)).rowcount
