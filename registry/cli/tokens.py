"""`longshore token`: access tokens of people and of robots."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from auth.identity import SYSTEM, Identity, Permission
from registry.cli.data import ask, change
from registry.cli.output import print_table
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from storage.metadata import accounts

_PERMISSIONS: Final = {each.name.lower(): each for each in Permission}


@click.group()
def token() -> None:
    """Access tokens of ACCOUNT, a person or a robot (ORG+NAME); they do in place of a password."""


@token.command()
@click.argument("account")
@click.argument("name")
@click.option(
    "--permission",
    type=click.Choice([*_PERMISSIONS]),
    default="read",
    show_default=True,
    help="How far it goes at most.",
)
@click.option(
    "--repository", "repositories", multiple=True, metavar="REPOSITORY", help="Only for this one, or these."
)
@click.option("--days", type=click.IntRange(1, 36_500), help="How long it is good for.  [default: no end]")
@with_settings
def create(
    loaded: Loaded,
    account: str,
    name: str,
    permission: str,
    repositories: Sequence[str],
    days: int | None,
) -> None:
    """Make a token called NAME and print it, this once."""
    caller, robot = _keeper(loaded.settings, account)
    made = ask(
        loaded.settings,
        lambda hub: hub.access_tokens.create(
            caller,
            name,
            _PERMISSIONS[permission],
            repositories=repositories or None,
            expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
            robot=robot,
        ),
    )
    click.echo(made.secret)
    click.echo("shown this once; kept nowhere", err=True)


@token.command("list")
@click.argument("account")
@with_settings
def list_(loaded: Loaded, account: str) -> None:
    """List the tokens, newest first."""
    caller, robot = _keeper(loaded.settings, account)
    found = ask(loaded.settings, lambda hub: hub.access_tokens.tokens(caller, robot))
    print_table(
        ("id", "name", "permission", "repositories", "until", "last used"),
        [
            (
                str(each.id),
                each.name,
                each.permission.name.lower(),
                "all" if each.repositories is None else ", ".join(each.repositories) or "none",
                _day(each.expires_at, "no end"),
                _day(each.last_used_at, "never"),
            )
            for each in found
        ],
    )


@token.command()
@click.argument("account")
@click.argument("token_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@with_settings
def revoke(loaded: Loaded, account: str, token_id: int) -> None:
    """Make the token of that ID worthless, at once."""
    caller, robot = _keeper(loaded.settings, account)
    ask(
        loaded.settings,
        lambda hub: hub.access_tokens.revoke(caller, token_id, robot),
        missing=f"{account} has no token {token_id}",
    )
    click.echo(f"revoked {token_id}")


def _keeper(settings: Settings, name: str) -> tuple[Identity, str | None]:
    """Return who keeps the tokens of an account: the person, or the system for the robot that it names."""
    found = change(settings, accounts.find, name)
    if found is None:
        raise click.ClickException(f"there is no account {name}")
    if found.is_robot:
        return SYSTEM, name
    return Identity(found.id, found.name, is_admin=found.is_admin), None


def _day(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else f"{moment:%Y-%m-%d}"
