"""`longshore user`: accounts of people."""

import sys
from datetime import UTC, datetime
from typing import Final

import click

from auth.identity import SYSTEM
from auth.passwords import UnusablePassword, check_strength
from registry.cli.data import ask, change
from registry.cli.output import print_table, require
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.installation import passwords_of
from registry.names import is_namespace
from storage.metadata import accounts

_NAME_RULE: Final = (
    "a name has 2 to 64 lower-case letters and digits, with single separators (. _ __ -) between them"
)


@click.group()
def user() -> None:
    """Accounts of people."""


@user.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="May do everything.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_settings
def add(loaded: Loaded, name: str, admin: bool, password_stdin: bool) -> None:
    """Add an account and the namespace of its name."""
    require(is_namespace(name), _NAME_RULE)
    password_hash = _hash_new_password(loaded.settings, name, from_stdin=password_stdin)
    try:
        now = datetime.now(UTC)
        change(loaded.settings, accounts.add, name, password_hash, is_admin=admin, now=now)
    except accounts.NameTaken as error:
        raise click.ClickException(f"an account or namespace {name} is there already") from error
    click.echo(f"added {name}")


@user.command("list")
@with_settings
def list_(loaded: Loaded) -> None:
    """List the accounts of people."""
    people = [each for each in change(loaded.settings, accounts.everyone) if not each.is_robot]
    print_table(
        ("name", "administrator", "state", "since"),
        [
            (
                each.name,
                "yes" if each.is_admin else "no",
                "disabled" if each.disabled else "active",
                f"{each.created_at:%Y-%m-%d}",
            )
            for each in people
        ],
    )


@user.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_settings
def passwd(loaded: Loaded, name: str, password_stdin: bool) -> None:
    """Set a new password. What is logged in with the old one is logged out."""
    password_hash = _hash_new_password(loaded.settings, name, from_stdin=password_stdin)
    changed = change(loaded.settings, accounts.change_password, name, password_hash)
    require(changed, f"there is no account {name}")
    click.echo(f"changed the password of {name}")


@user.command()
@click.argument("name")
@with_settings
def disable(loaded: Loaded, name: str) -> None:
    """Close an account: it can no longer log in, and its tokens count no more."""
    _set_disabled(loaded.settings, name, disabled=True)
    click.echo(f"disabled {name}")


@user.command()
@click.argument("name")
@with_settings
def enable(loaded: Loaded, name: str) -> None:
    """Open a disabled account again."""
    _set_disabled(loaded.settings, name, disabled=False)
    click.echo(f"enabled {name}")


@user.command()
@click.option("--org", "organization", metavar="ORG", help="Organization to join.")
@click.option("--team", help="Team of the organization to join.")
@click.option("--owner", is_flag=True, help="Join the organization as an owner.")
@click.option("--note", default="", help="What to tell whoever follows the link.")
@click.option("--days", default=7, show_default=True, help="How long the link is good for.")
@with_settings
def invite(
    loaded: Loaded, organization: str | None, team: str | None, owner: bool, note: str, days: int
) -> None:
    """Make a link that is good for one account, or for joining an organization."""
    require(organization is not None or not (team or owner), "--team and --owner need an organization: --org")
    made = ask(
        loaded.settings,
        lambda hub: hub.invitations.invite(
            SYSTEM, organization=organization, team=team, as_owner=owner, note=note, days=days
        ),
        missing=f"there is no organization {organization}",
    )
    click.echo(f"{_address(loaded.settings)}/invitations/{made.secret}")
    click.echo(f"good once, until {made.invitation.expires_at:%Y-%m-%d %H:%M} UTC; shown this once", err=True)


def _set_disabled(settings: Settings, name: str, *, disabled: bool) -> None:
    found = change(settings, accounts.disable, name, disabled=disabled, now=datetime.now(UTC))
    require(found, f"there is no account {name}")


def _address(settings: Settings) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.external_url or f"{scheme}://{host}:{settings.port}"


def _hash_new_password(settings: Settings, name: str, *, from_stdin: bool) -> str:
    if sys.stdin is None:
        password = ""
    elif from_stdin or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        check_strength(password, name)
        return passwords_of(settings).hash(password)
    except UnusablePassword as error:
        raise click.ClickException(str(error)) from error
