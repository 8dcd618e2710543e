"""`longshore key`: keys that sign tokens."""

from functools import partial

import click

from auth.tokens import LEEWAY
from registry.cli.data import with_metadata
from registry.cli.output import require
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.installation import keys_of, make_data_directory, shared_keys_of
from registry.shared_keys import PUBLISHED_AHEAD
from storage.metadata.engine import Metadata


@click.group()
def key() -> None:
    """Keys that sign tokens."""


@key.command()
@click.option("--replace", is_flag=True, help="Drop all other keys: tokens end at once, logins do not.")
@with_settings
def rotate(loaded: Loaded, replace: bool) -> None:
    """Sign with a new key from now on. Nobody is logged out: what the old ones signed still counts.

    Keys in the database sign a minute later, when all nodes know them.
    """
    settings = loaded.settings
    if settings.keys_secret is not None:
        kid, seconds = with_metadata(settings, partial(_rotate_shared, settings, replace))
        click.echo(f"tokens are signed with the key {kid}{f', in {seconds} seconds' if seconds else ''}")
        return
    require(not replace, "--replace is for keys in the database: remove files by hand")
    make_data_directory(settings)
    keys = keys_of(settings)
    keys.ensure(settings.token_algorithm)
    ring = keys.rotate(settings.token_algorithm, settings.token_lifetime + LEEWAY)
    click.echo(f"tokens are signed with the key {ring.signing.kid}")


async def _rotate_shared(settings: Settings, replace: bool, metadata: Metadata) -> tuple[str, int]:
    keys = shared_keys_of(settings, metadata)
    if keys is None:
        raise click.ClickException("there is no keys_secret")
    if replace:
        return (await keys.replace(settings.token_algorithm)).kid, 0
    await keys.ensure(settings.token_algorithm)
    new = await keys.rotate(settings.token_algorithm, settings.token_lifetime + LEEWAY)
    return new.kid, PUBLISHED_AHEAD
