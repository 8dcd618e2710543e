"""`longshore repo`: repositories."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from auth.identity import SYSTEM
from registry.catalog import CATEGORIES, Details, RepositoryEdit, TagRow
from registry.cli.data import ask, change, everything
from registry.cli.output import print_fields, print_table, require, show_size
from registry.cli.settings import with_settings
from registry.config import Loaded
from registry.listing import MAX_PAGE
from registry.names import RepositoryName, parse_name
from registry.organizations import UNSET
from storage.metadata import repositories

_COLUMNS: Final = ("name", "visibility", "tags", "manifests", "size")
_TAG_COLUMNS: Final = ("name", "digest", "pushed", "by", "pulled", "pulls in 30 days", "deprecation")


@click.group()
def repo() -> None:
    """Repositories."""


@repo.command("list")
@with_settings
def list_(loaded: Loaded) -> None:
    """List the repositories."""
    found = change(loaded.settings, repositories.summaries)
    print_table(
        _COLUMNS,
        [
            (
                each.name,
                _visibility(each.is_public),
                str(each.tags),
                str(each.manifests),
                show_size(each.size),
            )
            for each in found
        ],
    )


@repo.command()
@click.argument("name")
@with_settings
def show(loaded: Loaded, name: str) -> None:
    """Show one repository."""
    full_name = parse_name(name)
    found = ask(
        loaded.settings, lambda hub: hub.catalog.repository(SYSTEM, full_name), missing=_missing(name)
    )
    fields = _fields(found)
    print_fields(list(fields), list(fields.values()))


@repo.command()
@click.argument("name")
@click.option("--summary", metavar="TEXT", help="What it is, in a line.")
@click.option(
    "--overview-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="What there is to say, in Markdown; - is standard input.",
)
@click.option(
    "--category",
    "categories",
    metavar="NAME",
    multiple=True,
    type=click.Choice([*CATEGORIES, "none"]),
    help=f"What it is about, up to three: {', '.join(CATEGORIES)}. They replace those of before; or none.",
)
@click.option("--deprecate", metavar="TEXT", help='What to tell whoever pulls; "" for nothing.')
@click.option("--archive/--unarchive", "archived", default=None, help="Take no push any more, or again.")
@with_settings
def edit(
    loaded: Loaded,
    name: str,
    summary: str | None,
    overview_file: Path | None,
    categories: tuple[str, ...],
    deprecate: str | None,
    archived: bool | None,
) -> None:
    """Change what a repository says of itself. What is not said stays as it is."""
    full_name = parse_name(name)
    change = RepositoryEdit(
        summary=UNSET if summary is None else summary,
        overview=UNSET if overview_file is None else _read(overview_file),
        categories=[each for each in categories if each != "none"] if categories else UNSET,
        deprecation=UNSET if deprecate is None else deprecate,
        archived=UNSET if archived is None else archived,
    )
    require(change.describes or change.governs, "say what to change: see --help")
    found = ask(
        loaded.settings, lambda hub: hub.catalog.edit(SYSTEM, full_name, change), missing=_missing(name)
    )
    click.echo(f"edited {found.card.name}")


@repo.command()
@click.argument("name")
@click.argument("new_name")
@with_settings
def rename(loaded: Loaded, name: str, new_name: str) -> None:
    """Call a repository NEW_NAME, maybe in another namespace. Clients can still pull by the old name."""
    full_name, new = parse_name(name), parse_name(new_name)
    found = ask(
        loaded.settings, lambda hub: hub.catalog.rename(SYSTEM, full_name, new), missing=_missing(name)
    )
    click.echo(f"{full_name} is called {found.card.name} now")


@repo.command()
@click.argument("name")
@click.argument("visibility", type=click.Choice(["public", "private"]))
@with_settings
def visibility(loaded: Loaded, name: str, visibility: str) -> None:
    """Let everybody pull, or only those with a role."""
    full_name, change = parse_name(name), RepositoryEdit(public=visibility == "public")
    found = ask(
        loaded.settings, lambda hub: hub.catalog.edit(SYSTEM, full_name, change), missing=_missing(name)
    )
    click.echo(f"{found.card.name} is {visibility}")


@repo.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def delete(loaded: Loaded, name: str, yes: bool) -> None:
    """Delete a repository with its tags and manifests."""
    full_name, settings, missing = parse_name(name), loaded.settings, _missing(name)
    if not yes:
        told = ask(settings, lambda hub: hub.catalog.consequences(SYSTEM, full_name), missing=missing)
        question = f"Delete {full_name} with {told.tags} tags and {told.manifests} manifests?"
        click.confirm(question, abort=True)
    ask(settings, lambda hub: hub.catalog.delete(SYSTEM, full_name), missing=missing)
    click.echo(f"deleted {full_name}")


# -- tags ------------------------------------------------------------------------------------------------


@repo.command()
@click.argument("name")
@click.option("--filter", "q", metavar="TEXT", default="", help="Only those that hold TEXT.")
@with_settings
def tags(loaded: Loaded, name: str, q: str) -> None:
    """List the tags of a repository, the newest first."""
    full_name = parse_name(name)
    found = ask(
        loaded.settings,
        lambda hub: everything(
            lambda cursor: hub.catalog.tags(SYSTEM, full_name, q=q, cursor=cursor, limit=MAX_PAGE)
        ),
        missing=_missing(name),
    )
    print_table(_TAG_COLUMNS, [_tag_line(each) for each in found])


@repo.command("delete-tag")
@click.argument("name")
@click.argument("tag")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def delete_tag(loaded: Loaded, name: str, tag: str, yes: bool) -> None:
    """Delete a tag, not what it means."""
    full_name, settings = parse_name(name), loaded.settings
    missing = f"there is no tag {tag} in a repository {name}"
    if not yes:
        told = ask(settings, lambda hub: hub.catalog.consequences(SYSTEM, full_name, tag), missing=missing)
        others = f"Other tags of the same: {', '.join(told.other_tags[:5])}."
        click.echo(others if told.other_tags else "No other tag means the same.")
        click.confirm(f"Delete {full_name}:{tag}?", abort=True)
    ask(settings, lambda hub: hub.catalog.delete_tag(SYSTEM, full_name, tag), missing=missing)
    click.echo(f"deleted {full_name}:{tag}")


# -- words -----------------------------------------------------------------------------------------------


def _fields(found: Details) -> dict[str, str]:
    """Return what there is to show, under the names of the fields; what is empty is left out."""
    card = found.card
    fields = {
        "name": card.name,
        "visibility": _visibility(card.is_public),
        "state": "archived" if card.is_archived else "",
        "kind": card.kind,
        "summary": card.summary,
        "categories": ", ".join(card.categories),
        "deprecation": card.deprecation or "",
        "former names": ", ".join(found.aliases),
        "stars": str(card.stars),
        "pulls": str(card.pulls),
        "last pull": _moment(card.last_pulled_at),
        "last push": _moment(card.last_pushed_at),
        "tags": str(found.tag_count),
        "manifests": str(found.manifest_count),
        "size": show_size(found.size),
    }
    return {name: value for name, value in fields.items() if value}


def _tag_line(row: TagRow) -> Sequence[str]:
    return (
        row.name,
        row.digest,
        _moment(row.tagged_at),
        row.tagged_by or "",
        _moment(row.last_pulled_at),
        str(row.pulls),
        row.deprecation or "",
    )


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _visibility(is_public: bool) -> str:
    return "public" if is_public else "private"


def _missing(name: str | RepositoryName) -> str:
    return f"there is no repository {name}"


def _read(path: Path) -> str:
    with click.open_file(str(path), encoding="utf-8") as file:
        try:
            return str(file.read())
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{path}: it is not text in UTF-8") from error
