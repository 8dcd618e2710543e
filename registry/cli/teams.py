"""`longshore team`: teams of organizations."""

import click

from auth.identity import SYSTEM
from auth.policy import Role
from registry.cli.data import Hub, ask
from registry.cli.output import print_table
from registry.cli.roles import ROLE_OR_NONE, ROLES, told
from registry.cli.settings import with_settings
from registry.config import Loaded
from registry.organizations import TeamEdit


@click.group()
def team() -> None:
    """Teams of organizations."""


@team.command()
@click.argument("organization", metavar="ORG")
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), help="Role on all repositories of ORG.")
@click.option("--about", default="", help="What the team is for.")
@with_settings
def create(loaded: Loaded, organization: str, name: str, role: str | None, about: str) -> None:
    """Make a team NAME in ORG."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.create_team(
            SYSTEM, organization, name, about=about, role=None if role is None else ROLES[role]
        ),
        missing=f"there is no organization {organization}",
    )
    click.echo(f"created the team {name} of {organization}")


@team.command("list")
@click.argument("organization", metavar="ORG")
@with_settings
def list_(loaded: Loaded, organization: str) -> None:
    """List the teams of ORG."""
    found = ask(
        loaded.settings,
        lambda hub: hub.organizations.teams(SYSTEM, organization),
        missing=f"there is no organization {organization}",
    )
    print_table(
        ("name", "role", "members", "repositories", "about"),
        [
            (
                each.name,
                "none" if each.role is None else Role(each.role).name.lower(),
                str(each.member_count),
                str(each.repository_count),
                " ".join(each.about.split()),
            )
            for each in found
        ],
    )


@team.command()
@click.argument("organization", metavar="ORG")
@click.argument("name")
@with_settings
def delete(loaded: Loaded, organization: str, name: str) -> None:
    """Delete the team NAME; its members stay in ORG."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.delete_team(SYSTEM, organization, name),
        missing=_missing(organization, name),
    )
    click.echo(f"deleted the team {name} of {organization}")


@team.group()
def member() -> None:
    """Members of teams."""


@member.command()
@click.argument("organization", metavar="ORG")
@click.argument("team_name", metavar="TEAM")
@click.argument("name")
@with_settings
def add(loaded: Loaded, organization: str, team_name: str, name: str) -> None:
    """Let NAME, a member of ORG, belong to TEAM."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.add_team_member(SYSTEM, organization, team_name, name),
        missing=_missing(organization, team_name),
    )
    click.echo(f"{name} is in the team {team_name}")


@member.command()
@click.argument("organization", metavar="ORG")
@click.argument("team_name", metavar="TEAM")
@click.argument("name")
@with_settings
def remove(loaded: Loaded, organization: str, team_name: str, name: str) -> None:
    """Let NAME leave TEAM."""
    ask(
        loaded.settings,
        lambda hub: hub.organizations.remove_team_member(SYSTEM, organization, team_name, name),
        missing=f"{_missing(organization, team_name)}, or {name} is not in it",
    )
    click.echo(f"{name} is not in the team {team_name} any more")


@team.command()
@click.argument("role", type=ROLE_OR_NONE)
@click.argument("target")
@click.argument("name")
@with_settings
def grant(loaded: Loaded, role: str, target: str, name: str) -> None:
    """Give the team NAME a ROLE on TARGET, its organization (a) or a repository of that (a/b)."""
    organization = target.partition("/")[0]

    async def run(hub: Hub) -> None:
        if organization == target:
            await hub.organizations.edit_team(SYSTEM, organization, name, TeamEdit(role=ROLES.get(role)))
        else:
            await hub.organizations.set_team_role(SYSTEM, organization, name, target, ROLES.get(role))

    ask(loaded.settings, run, missing=_missing(organization, name))
    click.echo(f"{name} has {told(role)} on {target}")


def _missing(organization: str, name: str) -> str:
    return f"there is no team {name} in an organization {organization}"
