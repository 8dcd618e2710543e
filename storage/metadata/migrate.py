"""Bring a database to the schema of this program."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from storage.metadata.sqlite import open_sqlite

_SCRIPTS: Final = Path(__file__).parent / "migrations"


class DatabaseTooNew(Exception):
    """The database was written by a newer longshore than this one."""


def migrate_sqlite(path: Path, revision: str = "head") -> None:
    """Apply what is missing up to `revision`, in one transaction; processes that start together take turns.

    Raises:
        DatabaseTooNew: in words for the operator; nothing was changed.
    """
    engine = open_sqlite(path, begin="BEGIN IMMEDIATE")
    try:
        with engine.begin() as db:
            migrate(db, revision)
    finally:
        engine.dispose()


def migrate(db: Connection, revision: str = "head") -> None:
    """Apply the migrations that `db` lacks, in the transaction that is under way there."""
    config = _config()
    config.attributes["connection"] = db
    scripts = ScriptDirectory.from_config(config)
    found = revision_of(db)
    if found == scripts.get_current_head():
        return
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseTooNew(
            f"the database is at revision {found}, which this longshore does not know: "
            "it was last used by a newer one. Start that version, or restore a backup from before it."
        )
    command.upgrade(config, revision)


def revision_of(db: Connection) -> str | None:
    """Return the revision that the database is at; None for one without our schema."""
    return MigrationContext.configure(db).get_current_revision()


def revisions() -> Sequence[str]:
    """Return the revisions that this program knows, its own first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()]


def _config() -> Config:
    config = Config()
    # Not "%": the path may hold what the configuration's parser would interpolate.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
