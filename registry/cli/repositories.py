"""`longshore repo`: repositories."""

from collections.abc import Sequence
from typing import Final

import click

from registry.cli.data import transaction
from registry.cli.output import print_fields, print_table, require, show_size
from registry.cli.settings import with_settings
from registry.config import Loaded
from registry.names import parse_name
from storage.metadata import repositories

_COLUMNS: Final = ("name", "visibility", "tags", "manifests", "size")


@click.group()
def repo() -> None:
    """Repositories."""


@repo.command("list")
@with_settings
def list_(loaded: Loaded) -> None:
    """List the repositories."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db)
    print_table(_COLUMNS, [_row(each) for each in found])


@repo.command()
@click.argument("name")
@with_settings
def show(loaded: Loaded, name: str) -> None:
    """Show one repository."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db, name=parse_name(name))
    require(bool(found), f"there is no repository {name}")
    print_fields(_COLUMNS, _row(found[0]))


@repo.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def delete(loaded: Loaded, name: str, yes: bool) -> None:
    """Delete a repository with its tags and manifests."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db, name=parse_name(name))
    require(bool(found), f"there is no repository {name}")
    if not yes:
        question = f"Delete {found[0].name} with {found[0].tags} tags and {found[0].manifests} manifests?"
        click.confirm(question, abort=True)
    with transaction(loaded.settings) as db:
        require(repositories.remove(db, found[0].name), f"there is no repository {name}")
    click.echo(f"deleted {found[0].name}")


@repo.command()
@click.argument("name")
@click.argument("visibility", type=click.Choice(["public", "private"]))
@with_settings
def visibility(loaded: Loaded, name: str, visibility: str) -> None:
    """Let everybody pull, or only those with a role."""
    full_name = parse_name(name)
    with transaction(loaded.settings) as db:
        found = repositories.set_public(db, full_name, public=visibility == "public")
        require(found, f"there is no repository {name}")
    click.echo(f"{full_name} is {visibility}")


def _row(summary: repositories.Summary) -> Sequence[str]:
    return (
        summary.name,
        "public" if summary.is_public else "private",
        str(summary.tags),
        str(summary.manifests),
        show_size(summary.size),
    )
