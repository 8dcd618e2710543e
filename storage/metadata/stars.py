"""Stars: what accounts think well of."""

from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from storage.metadata import documents
from storage.metadata.engine import insert
from storage.metadata.schema import repositories, stars


def put(db: Connection, account_id: int, repository_id: int, *, now: datetime) -> None:
    """Star the repository, once."""
    new = insert(db, stars).values(account_id=account_id, repository_id=repository_id, starred_at=now)
    db.execute(new.on_conflict_do_nothing())
    _count(db, repository_id)


def remove(db: Connection, account_id: int, repository_id: int) -> None:
    """Take the star back."""
    key = (stars.c.account_id == account_id, stars.c.repository_id == repository_id)
    db.execute(delete(stars).where(*key))
    _count(db, repository_id)


def has(db: Connection, account_id: int, repository_id: int) -> bool:
    """Tell whether the account starred the repository."""
    key = (stars.c.account_id == account_id, stars.c.repository_id == repository_id)
    return db.execute(select(stars.c.account_id).where(*key)).first() is not None


def _count(db: Connection, repository_id: int) -> None:
    # Counted anew rather than by one more or less: stars also go with the account that gave them.
    number = select(func.count()).where(stars.c.repository_id == repository_id).scalar_subquery()
    db.execute(update(repositories).where(repositories.c.id == repository_id).values(star_count=number))
    documents.move(db, [repository_id])
