"""The command line, a module for each noun. The only place that reads the environment."""

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from types import MappingProxyType
from typing import Final

import click

_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "backup": "backup",
        "check": "check",
        "config": "settings",
        "doctor": "doctor",
        "export": "layouts",
        "gc": "collection",
        "grant": "roles",
        "import": "layouts",
        "key": "keys",
        "move": "move",
        "org": "organizations",
        "repo": "repositories",
        "restore": "backup",
        "robot": "robots",
        "serve": "serve",
        "team": "teams",
        "token": "tokens",
        "user": "users",
    }
)


class _Commands(click.Group):
    """Each command is imported when it is asked for: a server keeps in memory what was imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, if there is one."""
        if cmd_name not in _MODULES:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"registry.cli.{_MODULES[cmd_name]}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longshore")
def main() -> None:
    """longshore: a self-hosted image registry."""
