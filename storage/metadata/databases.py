"""The databases that metadata can be in: how each is brought to our schema and opened."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from storage.metadata.engine import Metadata
from storage.metadata.postgresql import PATIENCE, PostgresMetadata, migrate_postgres
from storage.metadata.sqlite import SqliteMetadata


class Database(Protocol):
    """Where metadata is. As text it is what an operator calls it, without any password."""

    def migrate(self) -> None:
        """Bring it to this program's schema; processes that start together take turns.

        Raises:
            DatabaseTooNew: in words for the operator; nothing was changed.
        """

    def open(self) -> Metadata:
        """Open it, for this process and its event loop."""


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    """A file, made when it is not there."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def migrate(self) -> None:
        """Apply what is missing."""
        # Not at the top: Alembic takes megabytes, and those who serve requests never migrate.
        from storage.metadata.migrate import migrate_sqlite  # noqa: PLC0415 - as above

        migrate_sqlite(self.path)

    def open(self) -> Metadata:
        """Open the file."""
        return SqliteMetadata(self.path)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of a PostgreSQL server; see `PostgresMetadata` for the fields."""

    dsn: str = field(repr=False)
    pool_size: int = 10
    statement_timeout: float = 30.0
    patience: float = PATIENCE

    def __str__(self) -> str:
        parts = urlsplit(self.dsn)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def migrate(self) -> None:
        """Apply what is missing. No event loop may run in this thread."""
        asyncio.run(migrate_postgres(self.dsn))

    def open(self) -> Metadata:
        """Open it; the first query connects."""
        return PostgresMetadata(
            self.dsn,
            pool_size=self.pool_size,
            statement_timeout=self.statement_timeout,
            patience=self.patience,
        )
