"""`longshore move`: to another store of blobs, another database, or both."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import click

from registry.cli.data import Alone, opened
from registry.cli.output import print_table, require, show_size
from registry.cli.progress import Bar
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.installation import database_of, store_of
from registry.move import BlobMove, Journal, MovedBlobs, copy_metadata
from registry.running import is_running
from storage.metadata import copying
from storage.metadata.copying import NotEmpty
from storage.metadata.databases import SqliteDatabase
from storage.metadata.engine import Metadata
from storage.metadata.sqlite import open_sqlite

_JOURNAL: Final = "move.jsonl"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be moved where."""

    old: Settings
    new: Settings
    to_storage: str | None
    to_database: str | None
    prepare: bool
    skip_damaged: bool


@click.command()
@click.option("--to-storage", metavar="URL", help="Where blobs go: s3://bucket/prefix, or a directory.")
@click.option("--to-database", metavar="URL", help="Where metadata goes: postgresql://user:pw@host:port/db.")
@click.option("--prepare", is_flag=True, help="Move blobs only, while the server may run.")
@click.option("--skip-damaged", is_flag=True, help="Leave out blobs whose bytes are missing or wrong.")
@with_settings
def move(
    loaded: Loaded, to_storage: str | None, to_database: str | None, prepare: bool, skip_damaged: bool
) -> None:
    """Take the registry to another store, another database, or both.

    Other settings of the new place (S3 endpoint, credentials) come from the environment, as for `serve`.
    Nothing is removed from the old place. A move that is cut off goes on where it was when it is run again.
    """
    old = loaded.settings
    require(to_storage is not None or to_database is not None, "say --to-storage, --to-database, or both")
    require(to_storage is not None or not prepare, "--prepare moves blobs: say --to-storage")
    require(prepare or not is_running(old), "stop the server first; with --prepare, blobs go while it runs")
    values = old.model_dump() | ({"storage": to_storage} if to_storage else {})
    new = Settings.model_validate(values | ({"database": to_database} if to_database else {}))
    is_local = isinstance(database_of(old), SqliteDatabase)
    require(to_database is None or is_local, "metadata moves from SQLite only: from PostgreSQL use pg_dump")
    asyncio.run(_move(_Wish(old, new, to_storage, to_database, prepare, skip_damaged)))


async def _move(wish: _Wish) -> None:
    with Bar() as bar:
        async with opened(wish.old) as metadata:
            blobs = None if wish.to_storage is None else await _move_blobs(wish, metadata, bar)
            if blobs is not None:
                _tell(blobs, wish)
            if wish.prepare:
                return
            if wish.to_database is None and blobs is not None:
                await metadata.write(copying.relocate, blobs.locations)
        written = None
        if wish.to_database is not None:
            written = await _copy_metadata(wish, None if blobs is None else blobs.locations, bar)
    if written is not None:
        print_table(("table", "rows"), [(name, str(rows)) for name, rows in written.items()])
        click.echo("the copy equals the original, row by row")
    click.echo("done. From now on set:")
    if wish.to_storage is not None:
        click.echo(f"  LONGSHORE_STORAGE={wish.to_storage}")
    if wish.to_database is not None:
        click.echo(f"  LONGSHORE_DATABASE=   (to {database_of(wish.new)}, with its user and password)")


async def _move_blobs(wish: _Wish, metadata: Metadata, bar: Bar) -> MovedBlobs:
    source, target = store_of(wish.old, Alone()), store_of(wish.new, Alone())
    for store in (source, target):
        await store.prepare()
    journal = Journal(wish.old.data / _JOURNAL, str(wish.to_storage))
    try:
        return await BlobMove(metadata, source, target, journal, bar).run()
    finally:
        journal.close()


async def _copy_metadata(wish: _Wish, locations: Mapping[str, str] | None, bar: Bar) -> Mapping[str, int]:
    bar.expect("rows", 0)
    source = database_of(wish.old)
    if not isinstance(source, SqliteDatabase):
        raise click.ClickException("metadata moves from SQLite only")
    engine = open_sqlite(source.path, begin="BEGIN")
    try:
        async with opened(wish.new) as metadata:
            with engine.connect() as original:
                copy = partial(copy_metadata, source=original, locations=locations, advance=bar.count)
                return await metadata.write(copy)
    except NotEmpty as error:
        raise click.ClickException(f"{database_of(wish.new)}: {error}; give it an empty one") from error
    finally:
        engine.dispose()


def _tell(blobs: MovedBlobs, wish: _Wish) -> None:
    there = len(blobs.locations) - blobs.moved
    click.echo(f"moved {blobs.moved} blobs ({show_size(blobs.size)}), {there} were there, each read back")
    for digest, reason in blobs.damaged.items():
        click.echo(f"{digest}: {reason}", err=True)
    damaged = len(blobs.damaged)
    require(wish.skip_damaged or not damaged, f"{damaged} blobs are damaged; --skip-damaged leaves them out")
