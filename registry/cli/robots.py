"""`longshore robot`: accounts of organizations that come with access tokens alone."""

import click

from auth.identity import SYSTEM
from registry.cli.data import ask
from registry.cli.output import print_table, require
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings


@click.group()
def robot() -> None:
    """Robots of organizations; each is called ORG+NAME."""


@robot.command()
@click.argument("name", metavar="ORG+NAME")
@click.option("--about", default="", help="What it is for.")
@with_settings
def create(loaded: Loaded, name: str, about: str) -> None:
    """Make a robot, which can do nothing before it is given a token."""
    organization = _organization_of(name)
    ask(
        loaded.settings,
        lambda hub: hub.organizations.create_robot(SYSTEM, organization, name, about),
        missing=f"there is no organization {organization}",
    )
    click.echo(f"created {name}")


@robot.command("list")
@click.argument("organization", metavar="ORG")
@with_settings
def list_(loaded: Loaded, organization: str) -> None:
    """List the robots of ORG."""
    found = ask(
        loaded.settings,
        lambda hub: hub.organizations.robots(SYSTEM, organization),
        missing=f"there is no organization {organization}",
    )
    print_table(
        ("name", "state", "tokens", "last used", "about"),
        [
            (
                each.name,
                "disabled" if each.disabled else "active",
                str(each.token_count),
                "never" if each.last_used_at is None else f"{each.last_used_at:%Y-%m-%d}",
                each.about,
            )
            for each in found
        ],
    )


@robot.command()
@click.argument("name", metavar="ORG+NAME")
@with_settings
def disable(loaded: Loaded, name: str) -> None:
    """Close a robot: its tokens count no more."""
    _set_disabled(loaded.settings, name, disabled=True)
    click.echo(f"disabled {name}")


@robot.command()
@click.argument("name", metavar="ORG+NAME")
@with_settings
def enable(loaded: Loaded, name: str) -> None:
    """Open a disabled robot again."""
    _set_disabled(loaded.settings, name, disabled=False)
    click.echo(f"enabled {name}")


@robot.command()
@click.argument("name", metavar="ORG+NAME")
@with_settings
def delete(loaded: Loaded, name: str) -> None:
    """Delete a robot with its tokens."""
    organization = _organization_of(name)
    ask(
        loaded.settings,
        lambda hub: hub.organizations.delete_robot(SYSTEM, organization, name),
        missing=f"there is no robot {name}",
    )
    click.echo(f"deleted {name}")


def _set_disabled(settings: Settings, name: str, *, disabled: bool) -> None:
    organization = _organization_of(name)
    ask(
        settings,
        lambda hub: hub.organizations.set_robot_disabled(SYSTEM, organization, name, disabled=disabled),
        missing=f"there is no robot {name}",
    )


def _organization_of(name: str) -> str:
    organization, separator, _ = name.partition("+")
    require(bool(organization and separator), f"a robot is called ORG+NAME, not {name}")
    return organization
