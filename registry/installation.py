"""What a data directory holds, and how it comes to hold it at the first start.

DATA/
├── longshore.db       metadata (SQLite)
├── keys/              signing keys
├── blobs/, uploads/   the file-system store
└── metrics/           numbers that worker processes share while they run
"""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from auth.keys import KeyDirectory
from auth.passwords import Passwords
from registry.config import Settings
from storage.metadata import accounts
from storage.metadata.engine import Engine, open_sqlite
from storage.metadata.migrate import migrate_sqlite

FIRST_ADMINISTRATOR: Final = "admin"

# Characters of a password made up for the first administrator: 120 bits.
_PASSWORD_BYTES: Final = 15


def database_of(settings: Settings) -> Path:
    """Return the SQLite database's file."""
    return settings.data / "longshore.db"


def metrics_of(settings: Settings) -> Path:
    """Return the directory in which worker processes share their numbers."""
    return settings.data / "metrics"


def keys_of(settings: Settings) -> KeyDirectory:
    """Return where the signing keys are."""
    return KeyDirectory(settings.data / "keys")


def passwords_of(settings: Settings) -> Passwords:
    """Return how passwords are hashed."""
    return Passwords(
        settings.password_scheme,
        time_cost=settings.password_time_cost,
        memory_cost=settings.password_memory_cost,
        parallelism=settings.password_parallelism,
        rounds=settings.password_rounds,
    )


def open_database(settings: Settings) -> Engine:
    """Return the database, brought to this program's schema, for use by one command.

    Raises:
        DatabaseTooNew: in words for the operator.
        OSError: the data directory cannot be made or used.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate_sqlite(database_of(settings))
    return open_sqlite(database_of(settings), begin="BEGIN IMMEDIATE")


def make_first_administrator(settings: Settings, engine: Engine) -> str | None:
    """Make the account `admin` if there is no account at all.

    Returns:
        The password that was made up, to be shown once; None where the settings say one or where there are
        accounts already.
    """
    with engine.begin() as db:
        if accounts.exist(db):
            return None
    given = settings.admin_password
    password = secrets.token_urlsafe(_PASSWORD_BYTES) if given is None else given.get_secret_value()
    password_hash = passwords_of(settings).hash(password)
    with engine.begin() as db:
        if accounts.exist(db):
            return None  # another process was faster
        accounts.add(db, FIRST_ADMINISTRATOR, password_hash, is_admin=True, now=datetime.now(UTC))
    return password if given is None else None
