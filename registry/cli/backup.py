"""`longshore backup` and `longshore restore`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Final

import click

from registry.backup.pruning import Pruned, prune
from registry.backup.restoring import Restore, Restored
from registry.backup.taking import Backup, Hold, Taken
from registry.backup.vault import BackupError, Vault
from registry.backup.verifying import verify
from registry.cli.data import Alone, opened
from registry.cli.output import print_table, require, show_size
from registry.cli.places import Place, with_place, workspace
from registry.cli.progress import Bar
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.holds import UploadHolds
from registry.installation import database_of, store_of
from registry.move import Journal
from registry.running import is_running
from storage.metadata.copying import NotEmpty
from storage.objects import ObjectsBusy

_JOURNAL: Final = "restore.jsonl"
_COLUMNS: Final = ("snapshot", "repositories", "tags", "blobs", "size", "lacking")


@click.command()
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N", help="Remove all but the newest N snapshots."
)
@click.option("--list", "wants_list", is_flag=True, help="Tell of the snapshots, and take none.")
@click.option("--verify", "wants_check", is_flag=True, help="Read and hash all that is there, and take none.")
@with_settings
@with_place("dest")
def backup(loaded: Loaded, dest: Place, keep: int | None, wants_list: bool, wants_check: bool) -> None:
    """Back the registry up into DEST, a directory or s3://bucket/prefix, while it serves.

    A snapshot of the metadata and the blobs that it names; those that DEST has are not copied again. Secrets
    are in it, as hashes: keep it as safe as the registry, or say --key-file, which seals all of it.
    """
    require(not (wants_list and wants_check), "say --list or --verify")
    require(keep is None or not (wants_list or wants_check), "--keep goes with taking a backup")
    vault = dest.open(loaded.settings)
    with _told():
        if wants_list:
            asyncio.run(_list(vault))
        elif wants_check:
            asyncio.run(_verify(vault))
        else:
            asyncio.run(_back_up(loaded.settings, vault, keep))


@click.command()
@click.option(
    "--snapshot", "moment", metavar="TIME", help="The newest one that is not younger.  [default: now]"
)
@click.option("--skip-damaged", is_flag=True, help="Leave out blobs whose bytes are missing or wrong.")
@with_settings
@with_place("src")
def restore(loaded: Loaded, src: Place, moment: str | None, skip_damaged: bool) -> None:
    """Restore a registry from the backup SRC into the empty place that the settings name.

    That may be another store or database than it came from. A restore that is cut off goes on where it was
    when it is run again.
    """
    require(not is_running(loaded.settings), "stop the server first")
    vault, until = src.open(loaded.settings), None if moment is None else _parse_moment(moment)
    with _told():
        asyncio.run(_restore(loaded.settings, vault, until, skip_damaged))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (BackupError, ObjectsBusy) as error:
        raise click.ClickException(str(error)) from error


# -- backup ----------------------------------------------------------------------------------------------


async def _back_up(settings: Settings, vault: Vault, keep: int | None) -> None:
    await vault.make()
    async with vault.objects.hold() as alone, opened(settings) as metadata:
        store = store_of(settings, UploadHolds(metadata))
        await store.prepare()
        hold = Hold(metadata, str(vault))
        async with hold.held(alone=alone):
            with Bar() as bar, workspace(settings) as path:
                taken = await Backup(metadata, store, vault, path, bar).take(hold)
            _tell_taken(taken)
            if keep is not None:
                _tell_pruned(await prune(vault, keep, hold.require) if await hold.start_pruning() else None)
    lacking = len(taken.manifest.lacking)
    require(not lacking, f"{lacking} blobs could not be read, and are not in the backup")


def _tell_taken(taken: Taken) -> None:
    copied, manifest = taken.copied, taken.manifest
    there = manifest.blobs - copied.count
    click.echo(f"snapshot {taken.snapshot}: {manifest.blobs} blobs ({show_size(manifest.blobs_size)})")
    click.echo(f"copied {copied.count} blobs ({show_size(copied.size)}), {there} were there")
    for digest, reason in manifest.lacking.items():
        click.echo(f"{digest}: {reason}", err=True)


def _tell_pruned(pruned: Pruned | None) -> None:
    if pruned is None:
        click.echo(
            "another backup writes here, or did so less than an hour ago: nothing was removed", err=True
        )
    else:
        size = show_size(pruned.size)
        click.echo(f"removed {pruned.snapshots} snapshots and {pruned.blobs} blobs ({size})")


async def _list(vault: Vault) -> None:
    await vault.check()
    lines = []
    for name in await vault.snapshots():
        found = await vault.manifest(name)
        counts = (found.tables["repositories"][0], found.tables["tags"][0], found.blobs)
        size, lacking = show_size(found.blobs_size), str(len(found.lacking))
        lines.append((name, *map(str, counts), size, lacking))
    print_table(_COLUMNS, lines)


async def _verify(vault: Vault) -> None:
    await vault.check()
    names = await vault.snapshots()
    require(bool(names), f"{vault} has no snapshot")
    with Bar() as bar:
        found = await verify(vault, names, bar)
    for what, reason in found.wrong.items():
        click.echo(reason if reason.startswith(what) else f"{what}: {reason}", err=True)
    require(not found.wrong, f"{len(found.wrong)} things are wrong with {vault}")
    click.echo(f"{found.snapshots} snapshots and {found.blobs} blobs ({show_size(found.size)}) are whole")


# -- restore ---------------------------------------------------------------------------------------------


async def _restore(settings: Settings, vault: Vault, moment: datetime | None, skip_damaged: bool) -> None:
    await vault.check()
    snapshot = await vault.snapshot_at(moment)
    async with opened(settings) as metadata:
        store = store_of(settings, Alone())
        await store.prepare()
        async with _journal(settings, vault, snapshot) as journal:
            with Bar() as bar, workspace(settings) as path:
                try:
                    restore = Restore(vault, snapshot, metadata, store, path, bar)
                    restored = await restore.run(journal, skip_damaged=skip_damaged)
                except NotEmpty as error:
                    raise BackupError(f"{database_of(settings)}: {error}; give it an empty one") from error
    _tell_restored(snapshot, restored)
    (settings.data / _JOURNAL).unlink()


@contextlib.asynccontextmanager
async def _journal(settings: Settings, vault: Vault, snapshot: str) -> AsyncIterator[Journal]:
    journal = Journal(settings.data / _JOURNAL, f"{vault} {snapshot} {settings.storage}")
    try:
        yield journal
    finally:
        journal.close()


def _tell_restored(snapshot: str, restored: Restored) -> None:
    for digest, reason in {**restored.manifest.lacking, **restored.blobs.damaged}.items():
        click.echo(f"{digest}: {reason}", err=True)
    damaged = len(restored.blobs.damaged)
    require(bool(restored.rows), f"{damaged} blobs are damaged; --skip-damaged leaves them out")
    blobs = restored.blobs
    there = len(blobs.locations) - blobs.moved
    click.echo(f"restored {blobs.moved} blobs ({show_size(blobs.size)}), {there} were there, each read back")
    print_table(("table", "rows"), [(name, str(rows)) for name, rows in restored.rows.items()])
    click.echo(f"the registry is as it was at {snapshot}")


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.ClickException(
            f"{text!r} is no time such as 2026-11-24T16:30 or that of a snapshot"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
