"""Metadata: one transactional database, and three ways in which query functions run over it.

A query function is an ordinary synchronous function that takes a SQLAlchemy `Connection` first. The same ones
run over SQLite (`storage.metadata.sqlite`) and PostgreSQL (`storage.metadata.postgresql`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.schema import Table

__all__ = [
    "Connection",
    "Metadata",
    "MetadataFull",
    "MetadataReadOnly",
    "MetadataUnavailable",
    "Upsert",
    "insert",
]

P = ParamSpec("P")
T = TypeVar("T")


class MetadataUnavailable(Exception):
    """The database cannot answer now: it is away, somebody holds it for too long, or its disk fails."""


class MetadataReadOnly(MetadataUnavailable):
    """The database's disk takes no writes, as a file system does after errors. Reads go on."""


class MetadataFull(Exception):
    """The database's disk is full; nothing of the write was kept."""


class Metadata(Protocol):
    """The database, opened for one process. It is opened after a fork, never before.

    Each way raises what the query raises, and MetadataUnavailable or MetadataFull.
    """

    async def lookup(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a point read; it sees everything that was committed before the call."""

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a longer read in one snapshot."""

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` in a transaction; when this returns, its effect survives a loss of power.

        Transactions happen as if one after the other. An exception of the query undoes what it did and is
        raised here. A query may be run again after all that it did was undone: it changes nothing but the
        database. Whoever is cancelled waits for a write that has begun: what it holds covers the whole write.
        """

    def version(self) -> int | None:
        """Return a number that is another one after each commit, whoever makes it; at once.

        None where nothing tells that for little: then nothing may be concluded.
        """

    async def close(self) -> None:
        """Finish the writes that were asked for and close every connection."""


def insert(db: Connection, table: Table) -> PostgresInsert:
    """Return an INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`.

    Both dialects have the same two methods, each on a class of its own.
    """
    return _insert(table, db.dialect.name)


def _insert(table: Table, dialect: str) -> PostgresInsert:
    if dialect == "sqlite":
        return cast(PostgresInsert, sqlite_insert(table))
    return postgres_insert(table)


class Upsert:
    """An INSERT that every push runs: where the row is there, by its primary key, it takes some new values.

    Those of the columns `renewed` come with each run, those of the columns `cleared` are NULL; without either
    the row stays as it is. Built once for each dialect: building costs more than a run.
    """

    def __init__(self, table: Table, *renewed: str, cleared: Iterable[str] = ()) -> None:
        self._by_dialect = {}
        for dialect in ("sqlite", "postgresql"):
            new = _insert(table, dialect)
            values = {name: new.excluded[name] for name in renewed} | dict.fromkeys(cleared)
            key = table.primary_key.columns
            self._by_dialect[dialect] = (
                new.on_conflict_do_update(index_elements=key, set_=values)
                if values
                else new.on_conflict_do_nothing(index_elements=key)
            )

    def run(self, db: Connection, *rows: Mapping[str, object]) -> None:
        """Insert the rows, each as values by column."""
        db.execute(self._by_dialect[db.dialect.name], rows)
