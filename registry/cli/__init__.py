"""The command line, a module for each noun. The only place that reads the environment."""

import click

from registry.cli.doctor import doctor
from registry.cli.keys import key
from registry.cli.move import move
from registry.cli.organizations import org
from registry.cli.repositories import repo
from registry.cli.robots import robot
from registry.cli.roles import grant
from registry.cli.serve import serve
from registry.cli.settings import config
from registry.cli.teams import team
from registry.cli.tokens import token
from registry.cli.users import user


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[serve, user, org, team, robot, token, grant, repo, key, move, doctor, config],
)
@click.version_option(package_name="longshore")
def main() -> None:
    """longshore: a self-hosted image registry."""
