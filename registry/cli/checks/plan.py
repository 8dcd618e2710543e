"""Which checks there are for a deployment, in the order in which they are told."""

from collections.abc import Sequence
from functools import partial

from registry.cli.checks.address import check_address
from registry.cli.checks.configuration import check_settings
from registry.cli.checks.findings import Check, Finding, aside
from registry.cli.checks.machine import check_machine
from registry.cli.checks.postgres import check_postgres
from registry.cli.checks.proxy import check_proxy
from registry.cli.checks.sqlite_file import check_sqlite
from registry.config import Settings, is_s3
from registry.installation import database_of
from storage.metadata.databases import SqliteDatabase


def checks_of(settings: Settings) -> Sequence[Check]:
    """Return the checks, each with the seconds that it may take."""
    checks = [
        Check("settings", 5, partial(aside, partial(check_settings, settings))),
        Check("machine", 15, partial(aside, partial(check_machine, settings))),
        Check("database", 60, partial(_check_database, settings)),
        Check("external URL", 30, partial(check_address, settings)),
        Check("request bodies", 60, partial(check_proxy, settings)),
    ]
    storage = settings.storage
    if storage is not None and is_s3(storage):
        checks.append(Check("storage", 120, partial(_check_bucket, settings, storage)))
    return checks


async def _check_database(settings: Settings) -> Sequence[Finding]:
    database = database_of(settings)
    if isinstance(database, SqliteDatabase):
        return await aside(partial(check_sqlite, database.path))
    return await check_postgres(settings, database)


async def _check_bucket(settings: Settings, storage: str) -> Sequence[Finding]:
    # Not at the top: boto3 takes its time, which only those pay who have a bucket.
    from registry.cli.checks.bucket import check_bucket  # noqa: PLC0415 - as above

    return await check_bucket(settings, storage)
