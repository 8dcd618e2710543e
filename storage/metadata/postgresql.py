"""Metadata on PostgreSQL, through asyncpg: for teams, where several nodes share one database.

- `lookup` is one statement, or a few, each of which sees the newest commit.
- `read` is one snapshot (REPEATABLE READ, read only).
- `write` is SERIALIZABLE: query functions may rely on what they read in their transaction, as they do on
  SQLite, which has one writer. Where two contend, PostgreSQL ends one of them, and it is run again.

SQLAlchemy's dialect for asyncpg waits for the driver wherever it runs within `greenlet_spawn`. The classes of
`sqlalchemy.ext.asyncio` are not needed for that: they would bring the ORM, and hop for each step of a query.

A server that is away is waited for some seconds, so that its restart is a pause and no failure. A write whose
COMMIT was under way when the connection broke is never run again: it may have happened.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import greenlet_spawn

from storage.metadata.engine import MetadataFull, MetadataUnavailable
from storage.threads import see_through

P = ParamSpec("P")
T = TypeVar("T")

# Seconds to reach the server, and to wait for one of our own connections to be free.
_CONNECT_SECONDS: Final = 5.0
_POOL_SECONDS: Final = 15.0

PATIENCE: Final = 15.0
"""Seconds for which a server that is away is waited for, and a write that loses against others is tried."""

# Seconds between two tries: about the first at first, never more than the second.
_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.5

# Any number that nothing else in the database uses ("longshor" in ASCII).
_MIGRATION_LOCK: Final = 0x6C6F6E6773686F72

# Milliseconds that a migration waits for a lock on a table: those who wait behind it are served meanwhile.
_MIGRATION_LOCK_TIMEOUT: Final = 3_000
_MIGRATION_TRIES: Final = 20


class PostgresMetadata:
    """The database, opened for one process and its event loop.

    Args:
        dsn: as libpq writes it: `postgresql://user:password@host:port/database?sslmode=verify-full`.
        pool_size: connections at most.
        statement_timeout: seconds that one statement may take.
        patience: seconds as PATIENCE has them.
    """

    def __init__(
        self, dsn: str, *, pool_size: int, statement_timeout: float, patience: float = PATIENCE
    ) -> None:
        self._patience = patience
        self._engine = make_engine(dsn, pool_size, statement_timeout)
        self._lookups = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reads = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writes = self._engine.execution_options(isolation_level="SERIALIZABLE")

    async def lookup(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a point read; it sees everything that was committed before the call."""
        return await self._persist(
            partial(greenlet_spawn, _run, self._lookups, lambda db: query(db, *args, **kwargs))
        )

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a longer read in one snapshot."""
        return await self._persist(
            partial(greenlet_spawn, _run, self._reads, lambda db: query(db, *args, **kwargs))
        )

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` in a transaction; when this returns, the server has made its effect durable."""
        attempt = partial(greenlet_spawn, _commit, self._writes, lambda db: query(db, *args, **kwargs))
        return await see_through(asyncio.ensure_future(self._persist(attempt)))

    def version(self) -> int | None:
        """Return None: another node's commit takes a question to the server to be known."""
        return None

    async def close(self) -> None:
        """Close every connection."""
        await greenlet_spawn(self._engine.dispose)

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, until another try cannot help, or until patience ends."""
        clock = asyncio.get_running_loop()
        until = clock.time() + self._patience
        pause = _FIRST_PAUSE
        was_taken = False
        while True:
            try:
                return await attempt()
            except Exception as error:
                fault = _fault_of(error)
                # A name that is taken may have been taken a moment ago, by a transaction that overlapped:
                # the next try sees it, and says so in the query's own way.
                is_news = fault is _Fault.TAKEN and not was_taken
                again = is_news or fault in (_Fault.AWAY, _Fault.CONTENDED)
                if not again or clock.time() + pause > until:
                    raise _translated(error, fault) from error
                was_taken = was_taken or is_news
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads those who contend
            pause = min(2 * pause, _LONGEST_PAUSE)


def make_engine(dsn: str, pool_size: int, statement_timeout: float) -> Engine:
    """Return an engine for the current event loop, to be used within `greenlet_spawn`."""
    milliseconds = str(int(statement_timeout * 1000))

    async def connect() -> Any:
        return await asyncpg.connect(
            dsn,
            timeout=_CONNECT_SECONDS,
            # The server ends what takes too long; this notices where it does not answer at all.
            command_timeout=statement_timeout + _CONNECT_SECONDS if statement_timeout else None,
            server_settings={
                "application_name": "longshore",
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
                "jit": "off",  # our statements are short
            },
        )

    return create_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": connect},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        pool_use_lifo=True,
    )


async def migrate_postgres(dsn: str) -> None:
    """Apply what is missing, in one transaction; nodes that start together take turns.

    Raises:
        DatabaseTooNew: in words for the operator; nothing was changed.
        MetadataUnavailable: the server cannot be reached, or others held a table for too long.
    """
    engine = make_engine(dsn, 1, 0)
    try:
        for left in reversed(range(_MIGRATION_TRIES)):
            try:
                await greenlet_spawn(_migrate_once, engine)
            except Exception as error:
                fault = _fault_of(error)
                if not left or fault not in (_Fault.AWAY, _Fault.CONTENDED, _Fault.LOCKED):
                    raise _translated(error, fault) from error
                await asyncio.sleep(_LONGEST_PAUSE)
            else:
                return
    finally:
        await greenlet_spawn(engine.dispose)


def _migrate_once(engine: Engine) -> None:
    # Not at the top: Alembic takes megabytes, and those who serve requests never migrate.
    from storage.metadata.migrate import migrate  # noqa: PLC0415 - as above

    with engine.begin() as db:
        # The lock ends with the transaction. Whoever comes second finds nothing left to do.
        db.execute(text("SELECT pg_advisory_xact_lock(:lock)").bindparams(lock=_MIGRATION_LOCK))
        db.execute(text(f"SET LOCAL lock_timeout = {_MIGRATION_LOCK_TIMEOUT}"))
        migrate(db)


def _run(engine: Engine, query: Callable[[Connection], T]) -> T:
    with engine.connect() as db:
        return query(db)


def _commit(engine: Engine, query: Callable[[Connection], T]) -> T:
    with engine.connect() as db:
        result = query(db)
        try:
            db.commit()
        except Exception as error:
            if _fault_of(error) is _Fault.AWAY:
                raise MetadataUnavailable("the connection broke at the end of a write") from error
            raise
        return result


class _Fault(Enum):
    """What is wrong, as far as it matters for what to do."""

    AWAY = auto()
    """The server cannot be reached or serves nobody now."""
    CONTENDED = auto()
    """The transaction lost against another one."""
    TAKEN = auto()
    """A row with this key is there."""
    REFUSED = auto()
    """The server does not let us in, or there is no such database."""
    LOCKED = auto()
    """Somebody holds a lock for too long."""
    SLOW = auto()
    """A statement took too long, or no connection became free."""
    FULL = auto()
    """The server's disk is full."""
    OTHER = auto()
    """Nothing that the database has to answer for."""


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_FAULTS: Final = {
    "28000": _Fault.REFUSED,  # invalid_authorization_specification
    "28P01": _Fault.REFUSED,  # invalid_password
    "3D000": _Fault.REFUSED,  # invalid_catalog_name
    "40001": _Fault.CONTENDED,  # serialization_failure
    "40P01": _Fault.CONTENDED,  # deadlock_detected
    "0A000": _Fault.CONTENDED,  # a prepared statement from before a migration: prepared anew when run again
    "23505": _Fault.TAKEN,  # unique_violation
    "25006": _Fault.AWAY,  # read_only_sql_transaction: a standby, until it is promoted
    "25P03": _Fault.SLOW,  # idle_in_transaction_session_timeout
    "53100": _Fault.FULL,  # disk_full
    "53200": _Fault.SLOW,  # out_of_memory
    "53300": _Fault.AWAY,  # too_many_connections
    "55P03": _Fault.LOCKED,  # lock_not_available
    "57014": _Fault.SLOW,  # query_canceled, by statement_timeout
    "57P01": _Fault.AWAY,  # admin_shutdown
    "57P02": _Fault.AWAY,  # crash_shutdown
    "57P03": _Fault.AWAY,  # cannot_connect_now
    "57P05": _Fault.AWAY,  # idle_session_timeout
    "58030": _Fault.SLOW,  # io_error
}


def _fault_of(error: BaseException) -> _Fault:
    if isinstance(error, PoolTimeout):
        return _Fault.SLOW
    driver = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(driver, "sqlstate", None)
    if isinstance(code, str):
        return _Fault.AWAY if code.startswith("08") else _FAULTS.get(code, _Fault.OTHER)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(driver, OSError | TimeoutError | asyncpg.InterfaceError):
        return _Fault.AWAY
    return _Fault.OTHER


def _translated(error: Exception, fault: _Fault) -> Exception:
    if fault in (_Fault.OTHER, _Fault.TAKEN):
        return error
    driver = error.orig if isinstance(error, DBAPIError) else error
    kind = MetadataFull if fault is _Fault.FULL else MetadataUnavailable
    return kind(str(driver) or type(driver).__name__)
