"""Backups under way, and when the last one was finished.

Each has a row that it renews: what a dead one held is free again soon after. The row of one that was finished
stays until another one is, and holds nothing.

A backup reads blobs where they were at the moment of its snapshot, for hours perhaps. Its row is there before
the snapshot is taken, and as long as it is, bytes that were removed since stay where they are.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, delete, func, select, update

from storage.metadata.schema import backups

# The clocks of nodes differ: what one of them removed a little before, as it says, may have been after.
# For as long a backup lasts that does not renew its row (`registry.backup.taking`).
_MARGIN: Final = timedelta(hours=1)

_IS_UNFINISHED: Final = backups.c.finished_at.is_(None)


def begin(db: Connection, backup: str, destination: str, *, now: datetime, until: datetime) -> bool:
    """Note that a backup begins; False while another one removes what it does not need from there."""
    db.execute(delete(backups).where(backups.c.expires_at <= now, _IS_UNFINISHED))
    others = and_(backups.c.destination == destination, _IS_UNFINISHED)
    if db.execute(select(backups.c.id).where(others, backups.c.is_pruning)).first():
        return False
    db.execute(backups.insert().values(id=backup, destination=destination, began_at=now, expires_at=until))
    return True


def renew(db: Connection, backup: str, *, now: datetime, until: datetime) -> bool:
    """Note that the backup goes on; False when it counted as dead, and what it needs may be gone."""
    own = update(backups).where(backups.c.id == backup, backups.c.expires_at > now)
    return db.execute(own.values(expires_at=until)).rowcount > 0


def end(db: Connection, backup: str) -> None:
    """Note that the backup has failed, or was given up."""
    db.execute(delete(backups).where(backups.c.id == backup))


def finish(db: Connection, backup: str, *, now: datetime) -> None:
    """Note that the backup is done; nothing is noted of one that counted as dead."""
    own = update(backups).where(backups.c.id == backup).values(finished_at=now)
    if db.execute(own).rowcount:
        db.execute(delete(backups).where(~_IS_UNFINISHED, backups.c.id != backup))


def finished_at(db: Connection) -> datetime | None:
    """Return when the last backup was finished; None if there was none."""
    found: datetime | None = db.execute(select(func.max(backups.c.finished_at))).scalar()
    return found


def forget_others(db: Connection, backup: str, destination: str) -> None:
    """Take back what others noted of this destination, which are known to be dead."""
    others = (backups.c.destination == destination, backups.c.id != backup)
    db.execute(delete(backups).where(*others, _IS_UNFINISHED))


def start_pruning(db: Connection, backup: str, *, now: datetime, until: datetime) -> bool:
    """Keep others from beginning; False while one of them writes to the same destination."""
    own = select(backups.c.destination).where(backups.c.id == backup).scalar_subquery()
    others = select(backups.c.id).where(
        backups.c.destination == own, backups.c.id != backup, backups.c.expires_at > now, _IS_UNFINISHED
    )
    if db.execute(others).first():
        return False
    values = {"is_pruning": True, "expires_at": until}
    return db.execute(update(backups).where(backups.c.id == backup).values(**values)).rowcount > 0


def needed_since(db: Connection, *, now: datetime) -> datetime | None:
    """Return since when whatever was removed must stay where it is; None while no backup goes on.

    Who removes bytes asks in the transaction in which it says that they go.
    """
    live = and_(backups.c.expires_at > now, _IS_UNFINISHED)
    began_at: datetime | None = db.execute(
        select(func.min(backups.c.began_at)).where(live, ~backups.c.is_pruning)
    ).scalar()
    return None if began_at is None else began_at - _MARGIN
