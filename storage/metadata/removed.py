"""What was removed and can still come back, until it is due to go for good."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from storage.digest import Digest
from storage.metadata.engine import insert
from storage.metadata.schema import removed_content


class Reason(StrEnum):
    """Why something was removed."""

    UNUSED = "unused"
    """No repository links the blob."""
    UNTAGGED = "untagged"
    """No tag leads to the manifest."""
    REPLACED = "replaced"
    """The same bytes were pushed again, to another location."""
    UNNAMED = "unnamed"
    """No row named the bytes."""
    DAMAGED = "damaged"
    """The bytes were not what the digest says."""


def add_bytes(
    db: Connection,
    digest: Digest,
    size: int,
    location: str,
    reason: Reason,
    *,
    now: datetime,
    due_at: datetime,
) -> None:
    """Keep account of bytes that no row of `blobs` names any more; twice is once."""
    new = insert(db, removed_content).values(
        digest=digest, size=size, location=location, reason=reason, removed_at=now, due_at=due_at
    )
    db.execute(new.on_conflict_do_nothing(index_elements=["location"]))
