"""Access tokens: secrets that stand for an account, bounded in what they are good for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, func, or_, select, update

from storage.metadata.accounts import ROW, Account
from storage.metadata.schema import access_token_repositories, access_tokens, accounts, repositories


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token without its secret; `permission` as in `auth.identity.Permission`.

    `repositories`: the only ones that it is for, by name; None is all of them.
    """

    id: int
    name: str
    permission: int
    repositories: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token stands for, and what bounds it."""

    account: Account
    token_id: int
    permission: int
    repositories: frozenset[int] | None
    last_used_at: datetime | None


_T: Final = access_tokens.c
_R: Final = access_token_repositories.c


def of_account(db: Connection, account_id: int) -> Sequence[AccessToken]:
    """Return the tokens of an account, newest first."""
    columns = (_T.id, _T.name, _T.permission, _T.is_limited, _T.created_at, _T.expires_at, _T.last_used_at)
    statement = select(*columns).where(_T.account_id == account_id).order_by(_T.id.desc())
    rows = db.execute(statement).all()
    limited = _names(db, [row.id for row in rows if row.is_limited])
    return [
        AccessToken(
            row.id,
            row.name,
            row.permission,
            limited.get(row.id, ()) if row.is_limited else None,
            row.created_at,
            row.expires_at,
            row.last_used_at,
        )
        for row in rows
    ]


def _names(db: Connection, token_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    statement = select(_R.token_id, repositories.c.name).join(repositories).where(_R.token_id.in_(token_ids))
    found: dict[int, tuple[str, ...]] = {}
    for token_id, name in db.execute(statement.order_by(repositories.c.name)):
        found[token_id] = (*found.get(token_id, ()), name)
    return found


def count(db: Connection, account_id: int) -> int:
    """Return how many tokens the account has."""
    return db.execute(select(func.count()).where(_T.account_id == account_id)).scalar_one()


def add(
    db: Connection,
    account_id: int,
    name: str,
    secret_hash: str,
    permission: int,
    *,
    repository_ids: Sequence[int] | None,
    now: datetime,
    expires_at: datetime | None,
) -> int:
    """Keep a token and return its id; without `repository_ids` it is for all repositories."""
    new = access_tokens.insert().values(
        account_id=account_id,
        name=name,
        secret_hash=secret_hash,
        permission=permission,
        is_limited=repository_ids is not None,
        created_at=now,
        expires_at=expires_at,
    )
    token_id: int = db.execute(new.returning(_T.id)).scalar_one()
    if repository_ids:
        rows = [{"token_id": token_id, "repository_id": each} for each in repository_ids]
        db.execute(access_token_repositories.insert(), rows)
    return token_id


def expiry(db: Connection, token_id: int) -> datetime | None:
    """Return when the token of that id ends, if it does."""
    return db.execute(select(_T.expires_at).where(_T.id == token_id)).scalar()


def remove(db: Connection, account_id: int, token_id: int) -> bool:
    """Delete a token of the account, and what it was exchanged for; tell whether it was there."""
    statement = delete(access_tokens).where(_T.id == token_id, _T.account_id == account_id)
    return db.execute(statement).rowcount > 0


def _bearer() -> Select[*tuple[Any, ...]]:
    good = or_(_T.expires_at.is_(None), _T.expires_at > bindparam("now"))
    return (
        select(*ROW, _T.id, _T.permission, _T.is_limited, _T.last_used_at)
        .join(access_tokens, and_(_T.account_id == accounts.c.id, good))
        .where(accounts.c.disabled_at.is_(None))
    )


# Built once, as they are asked on every request: building costs more than a run.
_BY_SECRET: Final = _bearer().where(_T.secret_hash == bindparam("secret_hash"))
_BY_ID: Final = _bearer().where(_T.id == bindparam("token_id"))
_LIMITS: Final = select(_R.repository_id).where(_R.token_id == bindparam("token_id"))


def find_by_secret(db: Connection, secret_hash: str, *, now: datetime) -> Bearer | None:
    """Return whom the secret stands for, unless it is too old or the account is closed."""
    return _read(db, db.execute(_BY_SECRET, {"secret_hash": secret_hash, "now": now}).first())


def find(db: Connection, token_id: int, *, now: datetime) -> Bearer | None:
    """Return whom the token of that id stands for, unless it is too old or the account is closed."""
    return _read(db, db.execute(_BY_ID, {"token_id": token_id, "now": now}).first())


def _read(db: Connection, row: Row[Any] | None) -> Bearer | None:
    if row is None:
        return None
    token_id, permission, is_limited, last_used_at = row[len(ROW) :]
    only = frozenset(db.execute(_LIMITS, {"token_id": token_id}).scalars()) if is_limited else None
    return Bearer(Account(*row[: len(ROW)]), token_id, permission, only, last_used_at)


def touch(db: Connection, token_id: int, *, now: datetime) -> None:
    """Remember when the token was used last."""
    db.execute(update(access_tokens).where(_T.id == token_id).values(last_used_at=now))


def remove_expired_before(db: Connection, moment: datetime) -> int:
    """Forget tokens that ran out before the moment; return how many."""
    return db.execute(delete(access_tokens).where(_T.expires_at < moment)).rowcount
