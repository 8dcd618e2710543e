"""Backups under way. Each has a row that it renews: what a dead one held is free again soon after.

A backup reads blobs where they were at the moment of its snapshot, for hours perhaps. Its row is there before
the snapshot is taken, and as long as it is, bytes that were removed since stay where they are.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, select, update

from storage.metadata.schema import backups

# The clocks of nodes differ: what one of them removed a little before, as it says, may have been after.
# For as long a backup lasts that does not renew its row (`registry.backup.taking`).
_MARGIN: Final = timedelta(hours=1)


def begin(db: Connection, backup: str, destination: str, *, now: datetime, until: datetime) -> bool:
    """Note that a backup begins; False while another one removes what it does not need from there."""
    db.execute(delete(backups).where(backups.c.expires_at <= now))
    others = backups.c.destination == destination
    if db.execute(select(backups.c.id).where(others, backups.c.is_pruning)).first():
        return False
    db.execute(backups.insert().values(id=backup, destination=destination, began_at=now, expires_at=until))
    return True


def renew(db: Connection, backup: str, *, now: datetime, until: datetime) -> bool:
    """Note that the backup goes on; False when it counted as dead, and what it needs may be gone."""
    own = update(backups).where(backups.c.id == backup, backups.c.expires_at > now)
    return db.execute(own.values(expires_at=until)).rowcount > 0


def end(db: Connection, backup: str) -> None:
    """Note that the backup is done, or has failed."""
    db.execute(delete(backups).where(backups.c.id == backup))


def forget_others(db: Connection, backup: str, destination: str) -> None:
    """Take back what others noted of this destination, which are known to be dead."""
    db.execute(delete(backups).where(backups.c.destination == destination, backups.c.id != backup))


def start_pruning(db: Connection, backup: str, *, now: datetime, until: datetime) -> bool:
    """Keep others from beginning; False while one of them writes to the same destination."""
    own = select(backups.c.destination).where(backups.c.id == backup).scalar_subquery()
    others = select(backups.c.id).where(
        backups.c.destination == own, backups.c.id != backup, backups.c.expires_at > now
    )
    if db.execute(others).first():
        return False
    values = {"is_pruning": True, "expires_at": until}
    return db.execute(update(backups).where(backups.c.id == backup).values(**values)).rowcount > 0


def needed_since(db: Connection, *, now: datetime) -> datetime | None:
    """Return since when whatever was removed must stay where it is; None while no backup goes on.

    Who removes bytes asks in the transaction in which it says that they go.
    """
    live = backups.c.expires_at > now
    began_at: datetime | None = db.execute(
        select(func.min(backups.c.began_at)).where(live, ~backups.c.is_pruning)
    ).scalar()
    return None if began_at is None else began_at - _MARGIN
