"""`longshore gc`: what goes, what stays and why; taking it now, and taking it back."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click
from rich.console import Console

from registry.cli.data import with_metadata
from registry.cli.output import print_table, require, show_size
from registry.cli.settings import with_settings
from registry.collected import Collected
from registry.config import Loaded, Settings
from registry.fate import Fate, Fates, Outlook
from registry.holds import UploadHolds
from registry.installation import grace_of, store_of
from registry.jobs.collect import Collector
from registry.names import RepositoryName, parse_digest, parse_name
from registry.undo import Returned, Undo
from storage.digest import Digest
from storage.metadata.engine import Metadata

# Lines of what would go; --json has more of them.
_LINES: Final = 50
_MANY: Final = 10_000

_UNDO_HELP: Final = "Bring back what was collected: a manifest with its blobs, or a blob."


@click.command()
@click.argument("digests", metavar="[DIGEST]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Tell what would go now; of digests, why they are kept.")
@click.option("--now", "at_once", is_flag=True, help="Collect all that is due.")
@click.option("--undo", metavar="DIGEST", help=_UNDO_HELP)
@click.option("--repository", metavar="NAME", help="Where --undo brings it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings
def gc(
    loaded: Loaded,
    digests: tuple[str, ...],
    dry_run: bool,
    at_once: bool,
    undo: str | None,
    repository: str | None,
    as_json: bool,
) -> None:
    """Garbage collection: it runs by itself while the server does. This looks into it, and helps.

    All of it works while the server runs.
    """
    require(dry_run + at_once + (undo is not None) == 1, "say one of --dry-run, --now and --undo")
    require(dry_run or not digests, "digests go with --dry-run")
    require(undo is not None or repository is None, "--repository goes with --undo")
    settings = loaded.settings
    if undo is not None:
        target, place = parse_digest(undo), None if repository is None else parse_name(repository)
        returned = with_metadata(settings, lambda metadata: _bring_back(settings, metadata, target, place))
        _print_returned(returned, as_json)
    elif at_once:
        _print_collected(with_metadata(settings, lambda metadata: _collect(settings, metadata)), as_json)
    elif digests:
        wanted = [parse_digest(each) for each in digests]
        _print_fates(with_metadata(settings, lambda metadata: _explain(settings, metadata, wanted)), as_json)
    else:
        limit = _MANY if as_json else _LINES
        fates = with_metadata(settings, lambda db: Fates(db, grace_of(settings)).outlook(limit))
        _print_outlook(fates, as_json)


async def _collect(settings: Settings, metadata: Metadata) -> Collected:
    store = store_of(settings, UploadHolds(metadata))
    await store.prepare()
    with Console(stderr=True).status("looking for what nothing needs") as status:

        def advance(so_far: Collected) -> None:
            words = (
                f"{so_far.manifests} manifests and {so_far.blobs} blobs collected, "
                f"{so_far.deleted} blobs ({show_size(so_far.freed)}) deleted"
            )
            status.update(words)

        return await Collector(metadata, store, grace_of(settings)).collect_all(advance)


async def _bring_back(
    settings: Settings, metadata: Metadata, digest: Digest, repository: RepositoryName | None
) -> Returned:
    store = store_of(settings, UploadHolds(metadata))
    await store.prepare()
    with Console(stderr=True).status("reading what comes back"):
        return await Undo(metadata, store).bring_back(digest, repository)


async def _explain(
    settings: Settings, metadata: Metadata, digests: Sequence[Digest]
) -> dict[str, Sequence[Fate]]:
    fates = Fates(metadata, grace_of(settings))
    return {digest: await fates.explain(digest) for digest in digests}


def _print_collected(collected: Collected, as_json: bool) -> None:
    if as_json:
        _print_json(dataclasses.asdict(collected))
        return
    print_table(
        ("what", "number", "bytes"),
        [
            ("manifests that no tag led to", str(collected.manifests), ""),
            ("links that no manifest needed", str(collected.links), ""),
            ("blobs that no repository had", str(collected.blobs), ""),
            ("blobs deleted from the store", str(collected.deleted), show_size(collected.freed)),
            ("blobs that could not be deleted", str(collected.failed), ""),
            (
                "blobs that wait and can come back",
                str(collected.waiting.count),
                show_size(collected.waiting.size),
            ),
        ],
    )


def _print_fates(fates: dict[str, Sequence[Fate]], as_json: bool) -> None:
    if as_json:
        _print_json({digest: [dataclasses.asdict(each) for each in found] for digest, found in fates.items()})
        return
    for digest, found in fates.items():
        click.echo(digest)
        if not found:
            click.echo("  is not here")
        for each in found:
            until = "" if each.until is None else f" until {_moment(each.until)}"
            state = f"{each.state}{until}" if each.state != "goes" else "goes with the next turn"
            where = "" if each.repository is None else f" in {each.repository}"
            click.echo(f"  {each.kind}{where} {state}: {each.because}")
            if len(each.way) > 1:
                click.echo(f"    {' > '.join(each.way)}")


def _print_outlook(outlook: Outlook, as_json: bool) -> None:
    if as_json:
        _print_json(dataclasses.asdict(outlook))
        return
    if outlook.going:
        lines = [
            (each.kind, each.repository or "", each.digest, show_size(each.size)) for each in outlook.going
        ]
        print_table(("goes", "repository", "digest", "bytes of its own"), lines)
        click.echo()
    rows = {
        "manifests that no tag leads to": outlook.manifests,
        "links that no manifest needs": outlook.links,
        "blobs that no repository has": outlook.blobs,
        "removed blobs that are due": outlook.due,
        "removed blobs altogether": outlook.waiting,
    }
    print_table(
        ("what", "number", "bytes"),
        [(what, str(each.count), show_size(each.size)) for what, each in rows.items()],
    )


def _print_returned(returned: Returned, as_json: bool) -> None:
    if as_json:
        _print_json(dataclasses.asdict(returned))
    else:
        where = "" if returned.repository is None else f" in {returned.repository}"
        click.echo(f"{len(returned.manifests)} manifests and {len(returned.blobs)} blobs are back{where}")
    require(not returned.damaged, f"damaged blobs stay away: {', '.join(returned.damaged)}")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=_moment))


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
