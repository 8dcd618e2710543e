"""Leases: one holder at a time for a background job, whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, or_, select, update

from storage.metadata.engine import insert
from storage.metadata.schema import leases

CLOCK_ERROR: Final = timedelta(minutes=5)
"""More than the clocks of nodes differ, as long as they are right."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A job and the process that has it until then, with what came of the last turn that ended."""

    name: str
    holder: str
    expires_at: datetime
    began_at: datetime | None = None
    seconds: float | None = None
    failed: bool | None = None
    position: str | None = None
    """How far a job has come that does its work in pieces, in its own words."""


def take(db: Connection, name: str, holder: str, *, now: datetime, expires_at: datetime) -> bool:
    """Take or renew the lease; False when another holds it still.

    One that ends long after the one that is asked for was taken by a clock that was wrong: it does not count.
    """
    values = {"holder": holder, "expires_at": expires_at}
    new = insert(db, leases).values(name=name, **values)
    free = or_(
        leases.c.holder == holder, leases.c.expires_at <= now, leases.c.expires_at > expires_at + CLOCK_ERROR
    )
    return (
        db.execute(new.on_conflict_do_update(index_elements=["name"], set_=values, where=free)).rowcount > 0
    )


def note(db: Connection, name: str, *, began_at: datetime, seconds: float, failed: bool) -> None:
    """Keep what came of a turn; it is lost if the lease is."""
    values = {"began_at": began_at, "seconds": seconds, "failed": failed}
    db.execute(update(leases).where(leases.c.name == name).values(**values))


def position_of(db: Connection, name: str) -> str | None:
    """Return how far the job has come."""
    return db.execute(select(leases.c.position).where(leases.c.name == name)).scalar()


def keep_position(db: Connection, name: str, position: str | None) -> None:
    """Say how far the job has come; it is lost if the lease is."""
    db.execute(update(leases).where(leases.c.name == name).values(position=position))


def taken(db: Connection) -> Sequence[Lease]:
    """Return every lease by name, those that ended as well."""
    return [Lease(**row) for row in db.execute(select(leases).order_by(leases.c.name)).mappings()]
