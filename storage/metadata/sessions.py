"""Sessions: who is signed in to the pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from storage.metadata.accounts import ROW, Account
from storage.metadata.schema import accounts, sessions


@dataclass(frozen=True, slots=True)
class Session:
    """A session without its secret."""

    id: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str


_S: Final = sessions.c
_SESSION: Final = (_S.id, _S.created_at, _S.seen_at, _S.expires_at, _S.address, _S.agent)

# Built once, as it is asked with every page: building costs more than a run.
_FIND: Final = (
    select(*ROW, *_SESSION)
    .join(sessions, _S.account_id == accounts.c.id)
    .where(
        _S.secret_hash == bindparam("secret_hash"),
        _S.expires_at > bindparam("now"),
        accounts.c.disabled_at.is_(None),
    )
)


def add(
    db: Connection,
    account_id: int,
    secret_hash: str,
    *,
    address: str,
    agent: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Keep a session."""
    db.execute(
        sessions.insert().values(
            account_id=account_id,
            secret_hash=secret_hash,
            created_at=now,
            seen_at=now,
            expires_at=expires_at,
            address=address,
            agent=agent,
        )
    )


def find(db: Connection, secret_hash: str, *, now: datetime) -> tuple[Account, Session] | None:
    """Return who is signed in with the secret, unless it is too old or the account is closed."""
    row = db.execute(_FIND, {"secret_hash": secret_hash, "now": now}).first()
    if row is None:
        return None
    return Account(*row[: len(ROW)]), Session(*row[len(ROW) :])


def touch(db: Connection, session_id: int, *, now: datetime, expires_at: datetime) -> None:
    """Remember that the session was used, which prolongs it."""
    statement = update(sessions).where(_S.id == session_id)
    db.execute(statement.values(seen_at=now, expires_at=expires_at))


def of_account(db: Connection, account_id: int, *, now: datetime) -> Sequence[Session]:
    """Return the sessions of an account, the one used last first."""
    statement = select(*_SESSION).where(_S.account_id == account_id, _S.expires_at > now)
    return [Session(*row) for row in db.execute(statement.order_by(_S.seen_at.desc(), _S.id))]


def remove(db: Connection, account_id: int, session_id: int) -> bool:
    """End a session of the account; tell whether it was there."""
    statement = delete(sessions).where(_S.id == session_id, _S.account_id == account_id)
    return db.execute(statement).rowcount > 0


def remove_others(db: Connection, account_id: int, keep: int | None) -> int:
    """End the account's sessions but the one to keep; return how many."""
    statement = delete(sessions).where(_S.account_id == account_id)
    if keep is not None:
        statement = statement.where(_S.id != keep)
    return db.execute(statement).rowcount


def remove_by_secret(db: Connection, secret_hash: str) -> None:
    """End the session of that secret."""
    db.execute(delete(sessions).where(_S.secret_hash == secret_hash))


def remove_expired(db: Connection, *, now: datetime) -> int:
    """Forget sessions that have ended; return how many."""
    return db.execute(delete(sessions).where(_S.expires_at <= now)).rowcount
