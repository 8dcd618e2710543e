"""`longshore key`: keys that sign tokens."""

import click

from auth.tokens import LEEWAY
from registry.cli.settings import with_settings
from registry.config import Loaded
from registry.installation import keys_of, make_data_directory


@click.group()
def key() -> None:
    """Keys that sign tokens."""


@key.command()
@with_settings
def rotate(loaded: Loaded) -> None:
    """Sign with a new key from now on. Nobody is logged out: what the old ones signed still counts."""
    settings = loaded.settings
    make_data_directory(settings)
    keys = keys_of(settings)
    keys.ensure(settings.token_algorithm)
    ring = keys.rotate(settings.token_algorithm, settings.token_lifetime + LEEWAY)
    click.echo(f"tokens are signed with the key {ring.signing.kid}")
