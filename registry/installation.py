"""What a data directory holds, and how it comes to hold it at the first start.

DATA/
├── longshore.db       metadata, unless it is in PostgreSQL
├── keys/              signing keys, unless they are in the database
├── blobs/, uploads/   the file-system store, unless the settings say another place
├── backups/<process>/ what a backup or a restore is made of, while it runs: see registry.running
└── metrics/<server>/  numbers of the processes of one server: see registry.running
"""

import errno
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auth.keys import KeyDirectory
from auth.passwords import Passwords
from registry.config import Settings, is_s3
from registry.grace import Grace
from registry.shared_keys import SharedKeys
from storage.blobs import BlobStore, Holds, StoreUnavailable, StoreUntrusted
from storage.filesystem import FileStore
from storage.metadata import accounts
from storage.metadata.databases import Database, PostgresDatabase, SqliteDatabase
from storage.metadata.engine import Connection, Metadata
from storage.metadata.leases import CLOCK_ERROR

if TYPE_CHECKING:
    from storage.s3_client import S3Place

FIRST_ADMINISTRATOR: Final = "admin"

# A store takes what was signed by a clock up to 15 minutes off; and the clock of one node says when bytes
# were removed, that of another how long ago that is.
_CLOCK_ERRORS: Final = timedelta(minutes=15) + 2 * CLOCK_ERROR

UNTRUSTED_ADVICE: Final = "set s3_ca to a file with the certificates of the authority that signed the store's"

# Characters of a password made up for the first administrator: 120 bits.
_PASSWORD_BYTES: Final = 15


def database_of(settings: Settings) -> SqliteDatabase | PostgresDatabase:
    """Return where the metadata is."""
    if settings.database is None:
        return SqliteDatabase(settings.data / "longshore.db")
    return PostgresDatabase(
        settings.database.get_secret_value(), settings.database_pool, settings.database_timeout
    )


def keys_of(settings: Settings) -> KeyDirectory:
    """Return the signing keys in files."""
    return KeyDirectory(settings.data / "keys")


def shared_keys_of(settings: Settings, metadata: Metadata) -> SharedKeys | None:
    """Return the signing keys in the database; None where they are in files."""
    if settings.keys_secret is None:
        return None
    return SharedKeys(metadata, settings.keys_secret.get_secret_value())


def store_of(settings: Settings, holds: Holds) -> BlobStore:
    """Return where blobs are. It is to be prepared."""
    storage = settings.storage
    if storage is None or not is_s3(storage):
        return FileStore(settings.data if storage is None else Path(storage))
    # Not at the top: boto3 takes its time and its megabytes, which only those pay who have a bucket.
    from storage.s3 import S3Store  # noqa: PLC0415 - as above
    from storage.s3_parts import PartPlan  # noqa: PLC0415 - as above

    plan = PartPlan.of(settings.s3_part_size, growing=settings.s3_grow_parts)
    return S3Store(place_of(settings, storage), holds, plan, url_lifetime=_url_lifetime_of(settings))


def check_storage(settings: Settings) -> None:
    """Return if blobs can be kept where the settings say, as far as that is outside of this machine.

    Raises:
        StoreUnavailable: in words for the operator.
    """
    storage = settings.storage
    if storage is None or not is_s3(storage):
        if settings.s3_endpoint is not None:
            raise StoreUnavailable(
                "blobs would not go to s3_endpoint: set storage to s3://bucket/prefix as well"
            )
        return
    from storage.s3_client import S3Client  # noqa: PLC0415 - see store_of()

    try:
        S3Client(place_of(settings, storage)).check_now()
    except StoreUntrusted as error:
        raise StoreUnavailable(f"{error}; {UNTRUSTED_ADVICE}") from error


def place_of(settings: Settings, storage: str) -> "S3Place":
    """Return the bucket of an s3:// URL, and how the settings say to get there."""
    from storage.s3_client import S3Place  # noqa: PLC0415 - see store_of()

    bucket, _, prefix = storage.removeprefix("s3://").partition("/")
    return S3Place(
        bucket,
        prefix,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        path_style={"auto": None, "on": True, "off": False}[settings.s3_path_style],
        ca=settings.s3_ca,
        encryption=settings.s3_encryption,
        kms_key=settings.s3_kms_key,
        threads=settings.s3_threads,
        public_endpoint=settings.s3_public_endpoint,
    )


def _url_lifetime_of(settings: Settings) -> int | None:
    """Return for how many seconds a client that is sent to the store can come for a blob's bytes."""
    in_bucket = settings.storage is not None and is_s3(settings.storage)
    return settings.s3_url_lifetime if in_bucket and settings.s3_redirect else None


def grace_of(settings: Settings) -> Grace:
    """Return how long what nothing needs is kept."""
    untagged, lifetime = settings.gc_untagged, _url_lifetime_of(settings)
    return Grace(
        blobs=timedelta(seconds=settings.gc_grace),
        quarantine=timedelta(seconds=settings.gc_quarantine),
        untagged=None if untagged is None else timedelta(seconds=untagged),
        redirected=timedelta() if lifetime is None else timedelta(seconds=lifetime) + _CLOCK_ERRORS,
    )


def passwords_of(settings: Settings) -> Passwords:
    """Return how passwords are hashed."""
    return Passwords(
        settings.password_scheme,
        time_cost=settings.password_time_cost,
        memory_cost=settings.password_memory_cost,
        parallelism=settings.password_parallelism,
        rounds=settings.password_rounds,
    )


def make_data_directory(settings: Settings) -> None:
    """Make the data directory, closed to other accounts of the machine, if it is not there."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(settings.data)) from None


def prepare_database(settings: Settings) -> Database:
    """Return the database, brought to this program's schema.

    Raises:
        DatabaseTooNew: in words for the operator.
        OSError: the data directory cannot be made or used.
    """
    make_data_directory(settings)
    database = database_of(settings)
    database.migrate()
    return database


async def make_first_administrator(settings: Settings, metadata: Metadata) -> str | None:
    """Make the account `admin` if there is no account at all.

    Returns:
        The password that was made up, to be shown once; None where the settings say one or where there are
        accounts already.
    """
    if await metadata.lookup(accounts.exist):
        return None
    given = settings.admin_password
    password = secrets.token_urlsafe(_PASSWORD_BYTES) if given is None else given.get_secret_value()
    password_hash = passwords_of(settings).hash(password)
    added = await metadata.write(_add_first, password_hash)
    return password if added and given is None else None


def _add_first(db: Connection, password_hash: str) -> bool:
    if accounts.exist(db):
        return False  # another process was faster
    accounts.add(db, FIRST_ADMINISTRATOR, password_hash, is_admin=True, now=datetime.now(UTC))
    return True
