"""The settings that a command goes by, and the command that shows them."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click
from sqlalchemy.exc import DBAPIError

from auth.keys import KeyFileError
from registry.cli.output import print_table
from registry.config import Loaded, Settings, rows
from registry.errors import RegistryError
from registry.installation import database_of
from registry.setting_layers import InvalidSettings, load
from storage.blobs import BlobStoreError
from storage.metadata.engine import MetadataFull, MetadataUnavailable
from storage.metadata.migrate import DatabaseTooNew

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
        try:
            command(loaded, *args, **kwargs)
        except BrokenPipeError:
            raise  # whoever reads our output has seen enough: click ends without a word
        except (RegistryError, DatabaseTooNew, KeyFileError, InvalidSettings, BlobStoreError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            known = error.filename is not None and error.strerror is not None
            message = f"{error.filename}: {error.strerror}" if known else str(error)
            raise click.ClickException(message) from error
        except (DBAPIError, MetadataFull, MetadataUnavailable) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise click.ClickException(f"{database_of(loaded.settings)}: {reason}") from error

    return run


@click.command()
@with_settings
def config(loaded: Loaded) -> None:
    """Show the settings in force and where each comes from, secrets masked."""
    print_table(("setting", "value", "source"), [tuple(row) for row in rows(loaded)])
