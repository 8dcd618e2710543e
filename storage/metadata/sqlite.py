"""Metadata on SQLite: one file, one writer thread.

- `lookup` runs on the event loop: for point reads, which cost less than a hop to a thread.
- `read` runs in a thread, in one snapshot: for listings and scans.
- `write` runs in the one writer thread, in a transaction. Functions that wait at the same time share a
  transaction and so a sync to disk; each has a savepoint of its own, so one that fails takes nothing along.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from storage.metadata.engine import MetadataFull, MetadataReadOnly, MetadataUnavailable

P = ParamSpec("P")
T = TypeVar("T")

_READERS: Final = 4

# Writes that share one transaction at most: bounds how long the first of them waits.
_GROUP: Final = 64

# Another process (a worker, a command) may hold the write lock for as long as one transaction takes.
_BUSY_TIMEOUT_MS: Final = 30_000


# What SQLite reports of its file, and what that is called here.
_KINDS: Final[Mapping[int, type[MetadataFull | MetadataUnavailable]]] = {
    sqlite3.SQLITE_FULL: MetadataFull,
    sqlite3.SQLITE_READONLY: MetadataReadOnly,
    sqlite3.SQLITE_BUSY: MetadataUnavailable,
    sqlite3.SQLITE_LOCKED: MetadataUnavailable,
    sqlite3.SQLITE_IOERR: MetadataUnavailable,
}


class SqliteMetadata:
    """The database, opened for one process. Make it after a fork, never before."""

    def __init__(self, path: Path) -> None:
        # No BEGIN: each statement sees the newest commit, as a point read must.
        self._lookups = open_sqlite(path, begin=None, pool_size=1).connect()
        self._readers_engine = open_sqlite(path, begin="BEGIN", pool_size=_READERS)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="metadata-reader")
        self._writer = _Writer(open_sqlite(path, begin="BEGIN IMMEDIATE", pool_size=1))

    async def lookup(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a point read; it sees everything that was committed before the call."""
        try:
            return query(self._lookups, *args, **kwargs)
        except OperationalError as error:
            raise _translated(error) from error

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a longer read in one snapshot."""

        def run() -> T:
            try:
                with self._readers_engine.connect() as db:
                    return query(db, *args, **kwargs)
            except OperationalError as error:
                raise _translated(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` in a transaction; when this returns, its effect survives a loss of power.

        An exception of the query undoes what it did and is raised here. A caller that is cancelled gives the
        write up if it has not begun, and else waits for it: what the caller holds covers the whole write.
        """
        writing = self._writer.submit(lambda db: query(db, *args, **kwargs))
        written = asyncio.wrap_future(writing)
        try:
            return await asyncio.shield(written)
        except asyncio.CancelledError:
            if not writing.cancel():
                await asyncio.gather(written, return_exceptions=True)
            raise

    def version(self) -> int | None:
        """Return what SQLite counts of others' commits: the connection of lookups itself never writes."""
        try:
            number: int = driver_of(self._lookups).execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return None
        return number

    async def close(self) -> None:
        """Finish the writes that were asked for and close every connection."""
        await asyncio.to_thread(self._writer.close)
        self._readers.shutdown()
        self._readers_engine.dispose()
        self._lookups.close()
        self._lookups.engine.dispose()


class _Job:
    """A write that waits for its turn."""

    def __init__(self, run: Callable[[Connection], Any]) -> None:
        self.run = run
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: Exception | None = None

    def attempt(self, db: Connection) -> None:
        """Run under a savepoint, so that a failure here leaves the group's other writes alone."""
        # SQLAlchemy's own savepoints cost as much as three statements.
        driver = driver_of(db)
        driver.execute("SAVEPOINT job")
        try:
            self.result = self.run(db)
        except Exception as error:
            # A full or broken disk makes SQLite roll the whole transaction back, the group's earlier writes
            # included: then none of them may be called done.
            if not driver.in_transaction:
                raise
            driver.execute("ROLLBACK TO job")
            self.error = error
        driver.execute("RELEASE job")

    def settle(self) -> None:
        """Tell the asker, now that the transaction is committed."""
        if self.error is not None:
            self.future.set_exception(_translated(self.error))
        else:
            self.future.set_result(self.result)


class _Writer:
    """The thread that writes: there is one a process, so its writers never meet a locked database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="metadata-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[Connection], T]) -> Future[T]:
        job = _Job(run)
        with self._lock:
            if self._closed:
                raise RuntimeError("the database is closed")
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._engine.dispose()

    def _work(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            if group:
                self._commit(group)

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Wait for a write and take those that wait with it; False says that it was the last."""
        job = self._jobs.get()
        group: list[_Job] = []
        while job is not None:
            # A write whose asker is gone is left out; once running, it can no longer be cancelled.
            if job.future.set_running_or_notify_cancel():
                group.append(job)
            if len(group) == _GROUP:
                return group, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: list[_Job]) -> None:
        try:
            with self._engine.begin() as db:
                for job in group:
                    job.attempt(db)
        except Exception as error:  # noqa: BLE001 - nothing of the group was committed: all are told
            for job in group:
                job.future.set_exception(_translated(error))
            return
        for job in group:
            job.settle()


def open_sqlite(path: Path, *, begin: str | None, pool_size: int = 0) -> Engine:
    """Open the database file, made with mode 0600 if it is not there; transactions start with `begin`."""
    path.touch(mode=0o600)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
        **({"poolclass": QueuePool, "pool_size": pool_size} if pool_size else {"poolclass": NullPool}),
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own transaction control would begin late and without IMMEDIATE.
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_wal(cursor)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(db: Connection) -> None:
        if begin is not None:
            db.exec_driver_sql(begin)

    return engine


def _translated(error: Exception) -> Exception:
    """Return what a failure of the database itself is called here; every other error is the query's own."""
    driver = error.orig if isinstance(error, OperationalError) else error
    if not isinstance(driver, sqlite3.OperationalError):
        return error
    # The low byte is the primary code (https://sqlite.org/rescode.html); the rest says more exactly where.
    kind = _KINDS.get(getattr(driver, "sqlite_errorcode", 0) & 0xFF)
    if kind is None:
        return error
    translated = kind(str(driver))
    translated.__cause__ = error
    return translated


def _use_wal(cursor: DBAPICursor) -> None:
    """Switch to WAL; SQLite does not wait by itself while another process does the same to a new database."""
    until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def driver_of(db: Connection) -> sqlite3.Connection:
    """Return the connection as Python's own driver has it."""
    driver = db.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError("not a connection to SQLite")
    return driver
