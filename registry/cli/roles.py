"""`longshore grant`: roles of accounts. Those of teams are given with `longshore team grant`."""

from typing import Final

import click

from auth.policy import Role
from registry.cli.data import change
from registry.cli.output import require
from registry.cli.settings import with_settings
from registry.config import Loaded
from storage.metadata import repositories

ROLES: Final = {role.name.lower(): role for role in Role}

ROLE_OR_NONE: Final = click.Choice([*ROLES, "none"])


def told(role: str) -> str:
    """Say what role somebody has."""
    return "no role" if role == "none" else f"the role {role}"


@click.command()
@click.argument("role", type=ROLE_OR_NONE)
@click.argument("target")
@click.argument("name")
@with_settings
def grant(loaded: Loaded, role: str, target: str, name: str) -> None:
    """Give the account NAME a ROLE on TARGET, a repository (a/b) or a namespace (a); none takes it away."""
    missing = change(loaded.settings, repositories.grant, target, name, ROLES.get(role))
    require(missing is None, f"there is no {missing} {name if missing == 'account' else target}")
    click.echo(f"{name} has {told(role)} on {target}")
