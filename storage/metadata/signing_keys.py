"""Signing keys that all nodes share. They are sealed: the database alone cannot sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from storage.metadata.schema import signing_keys


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A sealed key; it signs from `created_at` on, until a newer one does."""

    kid: str
    sealed: str
    created_at: datetime


def everything(db: Connection) -> Sequence[StoredKey]:
    """Return every key, the newest first."""
    c = signing_keys.c
    statement = select(c.kid, c.sealed, c.created_at).order_by(c.created_at.desc(), c.kid)
    return [StoredKey(*row) for row in db.execute(statement)]


def add(db: Connection, key: StoredKey) -> None:
    """Keep a key."""
    values = {"kid": key.kid, "sealed": key.sealed, "created_at": key.created_at}
    db.execute(insert(signing_keys).values(**values))


def remove(db: Connection, kids: Sequence[str]) -> None:
    """Forget keys: what they signed counts no more."""
    db.execute(delete(signing_keys).where(signing_keys.c.kid.in_(kids)))
