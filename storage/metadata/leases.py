"""Leases: one holder at a time for a background job, whatever the number of processes."""

from datetime import datetime

from sqlalchemy import Connection, or_

from storage.metadata.engine import insert
from storage.metadata.schema import leases


def take(db: Connection, name: str, holder: str, *, now: datetime, expires_at: datetime) -> bool:
    """Take or renew the lease; False when another holds it still."""
    values = {"holder": holder, "expires_at": expires_at}
    new = insert(db, leases).values(name=name, **values)
    free = or_(leases.c.holder == holder, leases.c.expires_at <= now)
    return (
        db.execute(new.on_conflict_do_update(index_elements=["name"], set_=values, where=free)).rowcount > 0
    )
