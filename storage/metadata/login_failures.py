"""How often a login failed, by key (an account, an address, both)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, case, delete, select

from storage.metadata.engine import insert
from storage.metadata.schema import login_failures


def find(db: Connection, keys: Sequence[str]) -> Mapping[str, tuple[int, datetime]]:
    """Return for each key that has failed how often, and when last."""
    columns = login_failures.c
    statement = select(columns.key, columns.failures, columns.failed_at).where(columns.key.in_(keys))
    return {key: (failures, failed_at) for key, failures, failed_at in db.execute(statement)}


def record(db: Connection, keys: Sequence[str], *, forget_before: datetime, now: datetime) -> None:
    """Count a failure for each key; failures whose last one came before `forget_before` no longer count."""
    columns = login_failures.c
    one_more = case((columns.failed_at < forget_before, 1), else_=columns.failures + 1)
    for key in keys:
        new = insert(db, login_failures).values(key=key, failures=1, failed_at=now)
        values = {"failures": one_more, "failed_at": now}
        db.execute(new.on_conflict_do_update(index_elements=["key"], set_=values))


def clear(db: Connection, keys: Sequence[str]) -> None:
    """Forget the failures of these keys."""
    db.execute(delete(login_failures).where(login_failures.c.key.in_(keys)))


def remove_before(db: Connection, moment: datetime) -> int:
    """Delete what no longer counts; return how many."""
    return db.execute(delete(login_failures).where(login_failures.c.failed_at < moment)).rowcount
