"""The settings that a command goes by, and the command that shows them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from registry.config import Loaded, Settings, rows
from registry.setting_layers import InvalidSettings, load

P = ParamSpec("P")


def with_settings(command: Callable[Concatenate[Loaded, P], None]) -> Callable[P, None]:
    """Give a command the options --data and --config, and the settings in force as its first argument.

    An option that is named like a setting overrules it and does not reach the command. What goes wrong is
    told in words.
    """

    @click.option("--data", metavar="DIR", help="Directory of the data.  [default: data]")
    @click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings in TOML.")
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        config_file: Any = kwargs.pop("config_file")
        flags = {name: kwargs.pop(name) for name in list(kwargs) if name in Settings.model_fields}
        try:
            loaded = load(environ=os.environ, config_file=config_file, flags=flags)
        except InvalidSettings as error:
            raise click.ClickException(str(error)) from error
        with telling(loaded.settings):
            command(loaded, *args, **kwargs)

    return run


@contextlib.contextmanager
def telling(settings: Settings) -> Iterator[None]:
    """Tell what goes wrong in words.

    Raises:
        ClickException: with the words.
    """
    try:
        yield
    except Exception as error:
        # Not at the top: what knows all errors takes megabytes, and a server is to do without them.
        from registry.cli.faults import words_for  # noqa: PLC0415 - as above

        words = words_for(error, settings)
        if words is None:
            raise
        raise click.ClickException(words) from error


@click.command()
@with_settings
def config(loaded: Loaded) -> None:
    """Show the settings in force and where each comes from, secrets masked."""
    # Not at the top: `serve` has no tables to draw.
    from registry.cli.output import print_table  # noqa: PLC0415 - as above

    print_table(("setting", "value", "source"), [tuple(row) for row in rows(loaded)])
