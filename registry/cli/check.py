"""`longshore check`: rows against bytes, both ways."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import TextColumn

from registry.check import Check, Plan, Report
from registry.cli.data import opened
from registry.cli.output import print_table, require, show_size
from registry.cli.progress import Bar
from registry.cli.settings import with_settings
from registry.cli.sources import Sources
from registry.config import Loaded, Settings
from registry.holds import UploadHolds
from registry.installation import grace_of, store_of
from registry.setting_kinds import SIZE_UNITS, Unfit, parse_quantity

FOUND: Final = 1
"""The exit code where something was found."""

NOT_DONE: Final = 2
"""The exit code where the check could not be done."""

_MAX_RATE: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class _Wish:
    """How to check."""

    settings: Settings
    quick: bool
    repair: bool
    sources: Sources
    rate: int | None


class _NotDone(click.ClickException):
    exit_code = NOT_DONE


class _CheckCommand(click.Command):
    """A command whose exit code tells a check that could not be done from one that found something."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if error.exit_code == NOT_DONE:
                raise
            raise _NotDone(error.format_message()) from error


def _rate(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_quantity(value, SIZE_UNITS, 1, _MAX_RATE)
    except Unfit as error:
        raise click.BadParameter("bytes per second, such as 10MiB") from error


@click.command(cls=_CheckCommand)
@click.option("--quick", is_flag=True, help="Do not read blobs: look for them and at their sizes only.")
@click.option("--repair", is_flag=True, help="Fence and heal damaged blobs, remove old orphaned bytes.")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="URL|DIR",
    help="Where damaged blobs may be had again: another registry, a backup, a directory with blobs.",
)
@click.option("--from-user", metavar="NAME", help="Whom to log in as there.")
@click.option(
    "--from-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file with the password, or an access token.",
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key of a sealed backup there.",
)
@click.option("--rate", callback=_rate, metavar="SIZE", help="Bytes to read per second at most, as 10MiB.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@with_settings
def check(
    loaded: Loaded,
    quick: bool,
    repair: bool,
    sources: Sequence[str],
    from_user: str | None,
    from_password_file: Path | None,
    key_file: Path | None,
    rate: int | None,
    as_json: bool,
) -> None:
    """Compare what the database says with what the store holds; the server may run.

    Finds blobs that are missing, truncated, corrupt or unreadable, bytes that no row names, and rows that
    contradict each other. Changes nothing without --repair. The exit code is 0 when nothing was found, 1 when
    something was, also if it is repaired now, and 2 when the check could not be done.
    """
    require(repair or not sources, "--from is for --repair")
    others = Sources(sources, from_user, from_password_file, key_file)
    others.check()
    wish = _Wish(loaded.settings, quick, repair, others, rate)
    report = asyncio.run(_check(wish))
    if as_json:
        click.echo(json.dumps(_document(report), indent=2))
    else:
        _tell(report)
    if not report.is_clean:
        click.get_current_context().exit(FOUND)


async def _check(wish: _Wish) -> Report:
    settings = wish.settings
    with Bar(TextColumn("{task.percentage:>3.0f} %")) as bar:
        async with opened(settings) as metadata, wish.sources.opened(settings, metadata) as sources:
            store = store_of(settings, UploadHolds(metadata))
            await store.prepare()
            plan = Plan(
                hashing=not wish.quick,
                repair=wish.repair,
                sources=sources,
                sparse=settings.sparse,
                rate=wish.rate,
                orphans_kept=timedelta(seconds=settings.upload_ttl),
                removed_kept=grace_of(settings).quarantine,
            )
            return await Check(metadata, store, plan, bar).run()


def _document(report: Report) -> dict[str, Any]:
    return {
        "blobs": report.blobs,
        "bytes": report.size,
        "objects": report.objects,
        "manifests": report.manifests,
        "clean": report.is_clean,
        "counts": dict(report.counts),
        "outcomes": dict(report.outcomes),
        "findings": [asdict(each) for each in report.findings],
    }


def _tell(report: Report) -> None:
    if report.findings:
        columns = ("finding", "what", "detail", "outcome")
        print_table(
            columns, [(each.kind, each.subject, each.detail, each.outcome) for each in report.findings]
        )
    unlisted = sum(report.counts.values()) - len(report.findings)
    if unlisted:
        click.echo(f"and {unlisted} more")
    click.echo(
        f"checked {report.blobs} blobs ({show_size(report.size)}), {report.objects} objects in the store, "
        f"{report.manifests} manifests"
    )
    found = ", ".join(f"{number} {kind}" for kind, number in sorted(report.counts.items()))
    done = ", ".join(f"{number} {outcome}" for outcome, number in sorted(report.outcomes.items()))
    click.echo(f"found: {found or 'nothing'}" + (f" ({done})" if done else ""))
