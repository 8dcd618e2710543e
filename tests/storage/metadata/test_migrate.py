import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Inspector, inspect, select
from sqlalchemy.exc import OperationalError

from storage.metadata import accounts, repositories
from storage.metadata.migrate import DatabaseTooNew, migrate_sqlite
from storage.metadata.schema import is_of_the_schema, metadata, namespaces
from storage.metadata.sqlite import open_sqlite
from tests.postgres import connected
from tests.storage.metadata.content import NOW
from tests.storage.processes import migrate, run_together

TABLES: Final = sorted(metadata.tables)

# FTS5 keeps an index in tables of its own (https://sqlite.org/fts5.html, "FTS5 Data Structures"): what is in
# them is its business, and `schema` has none of them.
INDEX_OF_WORDS: Final = [
    "search",
    *(f"search_{each}" for each in ("config", "content", "data", "docsize", "idx")),
]


def dump(path: Path) -> list[str]:
    """Return all that the database holds, as statements."""
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@pytest.fixture
def from_schema(request: pytest.FixtureRequest, db: Connection, tmp_path: Path) -> Iterator[Connection]:
    """A database of the same kind that the tables of `schema` made, to hold migrated ones against."""
    if db.dialect.name == "postgresql":
        with connected(request.getfixturevalue("postgres").create()) as connection:
            metadata.create_all(connection)
            yield connection
        return
    engine = open_sqlite(tmp_path / "schema.db", begin="BEGIN IMMEDIATE")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def test_fresh_database_is_the_schema(db: Connection) -> None:
    context = MigrationContext.configure(db, opts={"include_name": is_of_the_schema})
    assert compare_metadata(context, metadata) == []


def test_fresh_database_has_the_tables_of_the_schema(db: Connection) -> None:
    index = INDEX_OF_WORDS if db.dialect.name == "sqlite" else ["search"]
    assert sorted(inspect(db).get_table_names()) == sorted([*TABLES, *index, "alembic_version"])


def structure(inspector: Inspector, table: str) -> dict[str, object]:
    """Return what Alembic does not compare, too: foreign keys with what a deletion does, and names."""
    columns = [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)]
    return {
        "columns": columns,
        "primary key": inspector.get_pk_constraint(table),
        "foreign keys": by_name(inspector.get_foreign_keys(table)),
        "unique": by_name(inspector.get_unique_constraints(table)),
        "indexes": by_name(inspector.get_indexes(table)),
    }


def by_name(found: object) -> list[str]:
    assert isinstance(found, list)
    return sorted(str(sorted(each.items())) for each in found)


@pytest.mark.parametrize("table", TABLES)
def test_fresh_table_is_that_of_the_schema(db: Connection, from_schema: Connection, table: str) -> None:
    assert structure(inspect(db), table) == structure(inspect(from_schema), table)


@pytest.mark.parametrize("table", TABLES)
def test_fresh_table_checks_what_the_schema_does(db: Connection, from_schema: Connection, table: str) -> None:
    assert inspect(db).get_check_constraints(table) == inspect(from_schema).get_check_constraints(table)


def test_namespace_library_is_there_and_nobodys(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    migrate_sqlite(tmp_path / "fresh.db")
    engine = open_sqlite(tmp_path / "fresh.db", begin="BEGIN")
    with engine.connect() as db:
        ((name, owner, created_at),) = db.execute(
            select(namespaces.c.name, namespaces.c.owner_id, namespaces.c.created_at)
        )
        assert repositories.rights(db, "library/app", None).namespace_exists
        with pytest.raises(accounts.NameTaken):
            accounts.add(db, "library", "hash", is_admin=False, now=NOW)
    engine.dispose()
    assert (name, owner) == ("library", None)
    assert before <= created_at <= datetime.now(UTC)


def test_fresh_database_is_closed_to_others(tmp_path: Path) -> None:
    migrate_sqlite(tmp_path / "fresh.db")
    assert (tmp_path / "fresh.db").stat().st_mode & 0o777 == 0o600


def test_migrating_again_changes_nothing(path: Path) -> None:
    before, bytes_before = dump(path), path.read_bytes()
    migrate_sqlite(path)
    migrate_sqlite(path)
    assert dump(path) == before
    assert path.read_bytes() == bytes_before


def test_processes_that_start_together_migrate_once(tmp_path: Path, path: Path) -> None:
    assert run_together(4, migrate, tmp_path / "fresh.db") == [0] * 4
    assert structure_only(dump(tmp_path / "fresh.db")) == structure_only(dump(path))


def test_migration_waits_for_a_process_that_came_first(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as first, ThreadPoolExecutor() as threads:
        first.execute("BEGIN IMMEDIATE")
        second = threads.submit(migrate_sqlite, path)
        failed_at_once = second in wait([second], timeout=0.1).done
        first.execute("COMMIT")
        assert second.exception() is None
    assert not failed_at_once
    assert len(dump(path)) > len(TABLES)


def structure_only(statements: list[str]) -> list[list[str]]:
    """Leave out the row that holds the moment of the migration, and in which order things were made.

    The constraints and indexes of a table that Alembic copies come in one that differs between processes.
    """
    kept = [line for line in statements if not line.startswith('INSERT INTO "namespaces"')]
    return sorted(sorted(part.strip(" ,\t") for part in line.split("\n")) for line in kept)


@pytest.mark.parametrize("revision", ["9999", "abcdef", "0001-of-a-fork"])
def test_newer_database_is_refused_in_words_and_left_alone(path: Path, revision: str) -> None:
    execute(path, f"UPDATE alembic_version SET version_num = '{revision}'")
    before = dump(path)
    with pytest.raises(DatabaseTooNew, match=f"revision {revision}.*a newer one.*restore a backup"):
        migrate_sqlite(path)
    assert dump(path) == before


def test_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "half.db"
    execute(path, "CREATE TABLE tags (x)")  # late in the migration, after a dozen other tables
    before = dump(path)
    with pytest.raises(OperationalError, match="already exists"):
        migrate_sqlite(path)
    assert dump(path) == before
    execute(path, "DROP TABLE tags")
    migrate_sqlite(path)
    assert len(dump(path)) > len(before)
