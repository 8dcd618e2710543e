"""`longshore org`: organizations and who belongs to them."""

from collections.abc import Awaitable, Sequence
from typing import Final

import click

from auth.identity import SYSTEM
from registry.cli.data import Hub, ask, everything
from registry.cli.output import print_fields, print_table
from registry.cli.settings import with_settings
from registry.config import Loaded
from registry.listing import MAX_PAGE
from registry.organizations import Member, Organization

_COLUMNS: Final = ("name", "full name", "members", "teams", "repositories", "since")


@click.group()
def org() -> None:
    """Organizations."""


@org.command()
@click.argument("name")
@click.option("--owner", metavar="NAME", help="Account that owns the organization.")
@click.option("--full-name", default="", help="What people call it.")
@click.option("--about", default="", help="What it says of itself.")
@with_settings
def create(loaded: Loaded, name: str, owner: str | None, full_name: str, about: str) -> None:
    """Make an organization; without an owner it is kept by administrators."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.create(SYSTEM, name, full_name=full_name, about=about, owner=owner),
    )
    click.echo(f"created {name}")


@org.command("list")
@with_settings
def list_(loaded: Loaded) -> None:
    """List the organizations."""
    found = ask(
        loaded.settings,
        lambda hub: everything(
            lambda cursor: hub.organizations.organizations(SYSTEM, cursor=cursor, limit=MAX_PAGE)
        ),
    )
    print_table(_COLUMNS, [_row(each) for each in found])


@org.command()
@click.argument("name")
@with_settings
def show(loaded: Loaded, name: str) -> None:
    """Show one organization with its members."""

    async def look(hub: Hub) -> tuple[Organization, Sequence[Member]]:
        return await hub.organizations.organization(SYSTEM, name), await _members(hub, name)

    found, members = ask(loaded.settings, look, missing=_missing(name))
    print_fields(_COLUMNS, _row(found))
    click.echo()
    print_table(
        ("member", "role", "teams"),
        [(each.name, "owner" if each.is_owner else "member", ", ".join(each.teams)) for each in members],
    )


@org.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def delete(loaded: Loaded, name: str, yes: bool) -> None:
    """Delete an organization without repositories, with its teams and robots."""
    found = ask(
        loaded.settings, lambda hub: hub.organizations.organization(SYSTEM, name), missing=_missing(name)
    )
    if not yes:
        click.confirm(
            f"Delete {name} with {found.member_count} members and {found.team_count} teams?", abort=True
        )
    ask(loaded.settings, lambda hub: hub.organizations.delete(SYSTEM, name), missing=_missing(name))
    click.echo(f"deleted {name}")


@org.group()
def member() -> None:
    """Members of organizations."""


@member.command()
@click.argument("organization", metavar="ORG")
@click.argument("name")
@click.option("--owner", is_flag=True, help="As an owner, who keeps the organization.")
@with_settings
def add(loaded: Loaded, organization: str, name: str, owner: bool) -> None:
    """Let the account NAME belong to ORG, or change what it is there."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.set_member(SYSTEM, organization, name, is_owner=owner),
        missing=_missing(organization),
    )
    click.echo(f"{name} is {'an owner' if owner else 'a member'} of {organization}")


@member.command()
@click.argument("organization", metavar="ORG")
@click.argument("name")
@with_settings
def remove(loaded: Loaded, organization: str, name: str) -> None:
    """Let the account NAME leave ORG and its teams."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.remove_member(SYSTEM, organization, name),
        missing=f"there is no organization {organization}, or {name} does not belong to it",
    )
    click.echo(f"{name} does not belong to {organization} any more")


def _missing(name: str) -> str:
    return f"there is no organization {name}"


def _row(organization: Organization) -> Sequence[str]:
    return (
        organization.name,
        organization.full_name,
        str(organization.member_count),
        str(organization.team_count),
        str(organization.repository_count),
        f"{organization.created_at:%Y-%m-%d}",
    )


def _members(hub: Hub, name: str) -> Awaitable[Sequence[Member]]:
    return everything(lambda cursor: hub.organizations.members(SYSTEM, name, cursor=cursor, limit=MAX_PAGE))
