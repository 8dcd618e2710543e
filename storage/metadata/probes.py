"""Questions about a database itself, for whoever runs it. Nothing that these do stays."""

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from sqlalchemy import Connection, text

from storage.metadata import leases
from storage.metadata.migrate import revision_of
from storage.metadata.postgresql import PostgresMetadata
from storage.metadata.sqlite import open_sqlite

_PROBE: Final = "probe"
_ROUND_TRIPS: Final = 20


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """What a PostgreSQL server says of itself."""

    version: int
    """As the server numbers it: 150008 is 15.8."""
    is_standby: bool
    ahead: float
    """Seconds that its clock is ahead of ours, as exactly as a round trip is short."""
    connections: int
    """That accounts without privileges may open in all."""
    used_by_others: int


class Undone(Exception):
    """A write that went well, and of which nothing is to stay."""


_FACTS: Final = text(
    """
    SELECT current_setting('server_version_num')::int,
           pg_is_in_recovery(),
           extract(epoch FROM clock_timestamp())::float8,
           current_setting('max_connections')::int
             - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true), '0')::int,
           (SELECT count(*) FROM pg_stat_activity
             WHERE usesysid IS NOT NULL AND application_name IS DISTINCT FROM 'longshore')
    """
)


def briefly_open(dsn: str) -> PostgresMetadata:
    """Open a database that is not waited for."""
    return PostgresMetadata(dsn, pool_size=1, statement_timeout=10, patience=0)


def ask_postgres(db: Connection) -> PostgresFacts:
    """Ask what there is to know without a table."""
    db.execute(text("SELECT 1"))  # the first statement of a connection takes longer
    before = time.time()
    version, is_standby, now, connections, others = db.execute(_FACTS).one()
    middle = (before + time.time()) / 2
    return PostgresFacts(version, is_standby, now - middle, connections, others)


def round_trip(db: Connection) -> float:
    """Return the median of the seconds that the smallest statement takes."""
    statement = text("SELECT 1")
    taken = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        db.execute(statement)
        taken.append(time.perf_counter() - began)
    return median(taken)


def write_and_undo(db: Connection) -> None:
    """Write a row.

    Raises:
        Undone: it went well, and the transaction is to end without it.
    """
    now = datetime.now(UTC)
    leases.take(db, _PROBE, _PROBE, now=now, expires_at=now + timedelta(seconds=1))
    raise Undone


def find_damage(path: Path, seconds: float) -> str | None:
    """Return what is wrong with the file; None where it is whole.

    Raises:
        TimeoutError: it took longer than `seconds`.
    """
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    ) as db:
        timer = threading.Timer(seconds, db.interrupt)
        timer.daemon = True
        timer.start()
        # Between two pages an older SQLite asks for the one only, and between two rows for the other.
        until = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > until, 1000)
        try:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError from None
            return str(error)
        finally:
            timer.cancel()
    return None if found == "ok" else str(found)


def sqlite_revision(path: Path) -> str | None:
    """Return the revision of the file's schema."""
    engine = open_sqlite(path, begin="BEGIN")
    try:
        with engine.connect() as db:
            return revision_of(db)
    finally:
        engine.dispose()


def write_sqlite(path: Path) -> None:
    """Write a row into the file, and undo that."""
    engine = open_sqlite(path, begin="BEGIN IMMEDIATE")
    try:
        with engine.begin() as db:
            write_and_undo(db)
    except Undone:
        return
    finally:
        engine.dispose()
