"""The command line. The only place that reads the environment."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import click
import structlog
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from auth.keys import KeyFileError
from auth.passwords import UnusablePassword, check_strength
from auth.policy import Role
from auth.tokens import LEEWAY
from registry.config import InvalidSettings, Loaded, Settings, load, rows
from registry.errors import RegistryError
from registry.installation import (
    FIRST_ADMINISTRATOR,
    database_of,
    keys_of,
    make_data_directory,
    make_first_administrator,
    make_metrics_directory,
    metrics_of,
    open_database,
    passwords_of,
)
from registry.logs import configure_logs
from registry.names import is_namespace, parse_name
from storage.metadata import accounts, repositories
from storage.metadata.engine import Connection
from storage.metadata.migrate import DatabaseTooNew

P = ParamSpec("P")

_ROLES: Final = {role.name.lower(): role for role in Role}

_NAME_RULE: Final = (
    "a name has 2 to 64 lower-case letters and digits, with single separators (. _ __ -) between them"
)

_AUTH_OFF: Final = """\
!! Access control is OFF: whoever reaches this server may pull, push and delete everything.
!! Set LONGSHORE_AUTH=on (the default) before anybody else can reach it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longshore")
def main() -> None:
    """longshore: a self-hosted image registry."""


def with_settings(command: Callable[Concatenate[Loaded, P], None]) -> Callable[P, None]:
    """Give a command the options --data and --config, and the settings in force as its first argument.

    An option that is named like a setting overrules it and does not reach the command.
    """

    @click.option("--data", metavar="DIR", help="Directory of the data.  [default: data]")
    @click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings in TOML.")
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        config_file: Any = kwargs.pop("config_file")
        flags = {name: kwargs.pop(name) for name in list(kwargs) if name in Settings.model_fields}
        try:
            loaded = load(environ=os.environ, config_file=config_file, flags=flags)
            command(loaded, *args, **kwargs)
        except BrokenPipeError:
            raise  # whoever reads our output has seen enough: click ends without a word
        except (InvalidSettings, DatabaseTooNew, KeyFileError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            known = error.filename is not None and error.strerror is not None
            message = f"{error.filename}: {error.strerror}" if known else str(error)
            raise click.ClickException(message) from error
        except DBAPIError as error:
            raise click.ClickException(f"{database_of(loaded.settings)}: {error.orig}") from error

    return run


@contextlib.contextmanager
def transaction(settings: Settings) -> Iterator[Connection]:
    """Open the database and commit what is done in the block."""
    engine = open_database(settings)
    try:
        with engine.begin() as db:
            yield db
    finally:
        engine.dispose()


# -- serve -----------------------------------------------------------------------------------------------


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", help="Port to listen on.  [default: 5000]")
@click.option("--workers", help="Number of worker processes.")
@with_settings
def serve(loaded: Loaded) -> None:
    """Serve the registry until it is told to stop."""
    settings = loaded.settings
    configure_logs(settings.log_format, settings.log_level)
    metrics = metrics_of(settings)
    # Imported late: the metrics library looks for the shared directory's name when it is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    from registry.server import Server  # noqa: PLC0415

    # First of all: where nothing can be served, no password is made that nobody would get to see.
    server = Server(settings, metrics, loaded.sources)
    password = _prepare(settings)
    make_metrics_directory(metrics)
    _welcome(server.url, settings, password)
    server.run()


def _prepare(settings: Settings) -> str | None:
    """Make what the first start needs; return the password that the first administrator was given."""
    engine = open_database(settings)
    try:
        if settings.auth == "off":
            structlog.get_logger("longshore").warning("access control is off")
            return None
        keys_of(settings).ensure(settings.token_algorithm)
        return make_first_administrator(settings, engine)
    finally:
        engine.dispose()


def _welcome(url: str, settings: Settings, password: str | None) -> None:
    address = (settings.external_url or url).partition("://")[2]
    lines = [f"longshore listens on {url}"]
    if settings.auth == "off":
        lines.append(click.style(_AUTH_OFF, fg="red", bold=True))
    elif password is not None:
        lines.append(
            f"first login: {FIRST_ADMINISTRATOR}, password: {password}   (shown this once; kept nowhere)"
        )
    login = [] if settings.auth == "off" else [f"  docker login {address}"]
    lines += [
        "try:",
        *login,
        f"  docker tag IMAGE {address}/library/hello",
        f"  docker push {address}/library/hello",
    ]
    click.echo("\n".join(lines))


# -- users and rights ------------------------------------------------------------------------------------


@main.group()
def user() -> None:
    """Accounts of people."""


@user.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May do everything.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_settings
def user_add(loaded: Loaded, name: str, admin: bool, password_stdin: bool) -> None:
    """Add an account and the namespace of its name."""
    if not is_namespace(name):
        raise click.ClickException(_NAME_RULE)
    password_hash = _hash_new_password(loaded.settings, name, from_stdin=password_stdin)
    try:
        with transaction(loaded.settings) as db:
            accounts.add(db, name, password_hash, is_admin=admin, now=datetime.now(UTC))
    except accounts.NameTaken as error:
        raise click.ClickException(f"an account or namespace {name} is there already") from error
    click.echo(f"added {name}")


@user.command("list")
@with_settings
def user_list(loaded: Loaded) -> None:
    """List the accounts."""
    with transaction(loaded.settings) as db:
        everyone = accounts.everyone(db)
    _print_table(
        ("name", "administrator", "state", "since"),
        [
            (
                each.name,
                "yes" if each.is_admin else "no",
                "disabled" if each.disabled else "active",
                f"{each.created_at:%Y-%m-%d}",
            )
            for each in everyone
        ],
    )


@user.command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_settings
def user_passwd(loaded: Loaded, name: str, password_stdin: bool) -> None:
    """Set a new password. What is logged in with the old one is logged out."""
    password_hash = _hash_new_password(loaded.settings, name, from_stdin=password_stdin)
    with transaction(loaded.settings) as db:
        _require(accounts.change_password(db, name, password_hash), f"there is no account {name}")
    click.echo(f"changed the password of {name}")


@user.command("disable")
@click.argument("name")
@with_settings
def user_disable(loaded: Loaded, name: str) -> None:
    """Close an account: it can no longer log in, and its tokens count no more."""
    _set_disabled(loaded.settings, name, disabled=True)
    click.echo(f"disabled {name}")


@user.command("enable")
@click.argument("name")
@with_settings
def user_enable(loaded: Loaded, name: str) -> None:
    """Open a disabled account again."""
    _set_disabled(loaded.settings, name, disabled=False)
    click.echo(f"enabled {name}")


def _set_disabled(settings: Settings, name: str, *, disabled: bool) -> None:
    with transaction(settings) as db:
        found = accounts.disable(db, name, disabled=disabled, now=datetime.now(UTC))
        _require(found, f"there is no account {name}")


@main.command("grant")
@click.argument("role", type=click.Choice([*_ROLES, "none"]))
@click.argument("target")
@click.argument("name")
@with_settings
def grant(loaded: Loaded, role: str, target: str, name: str) -> None:
    """Give the account NAME a ROLE on TARGET, a repository (a/b) or a namespace (a); none takes it away."""
    with transaction(loaded.settings) as db:
        missing = repositories.grant(db, target, name, _ROLES.get(role))
    _require(missing is None, f"there is no {missing} {name if missing == 'account' else target}")
    click.echo(f"{name} has {'no role' if role == 'none' else f'the role {role}'} on {target}")


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


# -- repositories ----------------------------------------------------------------------------------------


@main.group()
def repo() -> None:
    """Repositories."""


@repo.command("list")
@with_settings
def repo_list(loaded: Loaded) -> None:
    """List the repositories."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db)
    _print_table(_SUMMARY_COLUMNS, [_summary_row(each) for each in found])


@repo.command("show")
@click.argument("name")
@with_settings
def repo_show(loaded: Loaded, name: str) -> None:
    """Show one repository."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db, name=_full_name(name))
    _require(bool(found), f"there is no repository {name}")
    for column, value in zip(_SUMMARY_COLUMNS, _summary_row(found[0]), strict=True):
        click.echo(f"{column:<12} {value}")


@repo.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def repo_delete(loaded: Loaded, name: str, yes: bool) -> None:
    """Delete a repository with its tags and manifests."""
    with transaction(loaded.settings) as db:
        found = repositories.summaries(db, name=_full_name(name))
    _require(bool(found), f"there is no repository {name}")
    if not yes:
        question = f"Delete {found[0].name} with {found[0].tags} tags and {found[0].manifests} manifests?"
        click.confirm(question, abort=True)
    with transaction(loaded.settings) as db:
        _require(repositories.remove(db, found[0].name), f"there is no repository {name}")
    click.echo(f"deleted {found[0].name}")


@repo.command("visibility")
@click.argument("name")
@click.argument("visibility", type=click.Choice(["public", "private"]))
@with_settings
def repo_visibility(loaded: Loaded, name: str, visibility: str) -> None:
    """Let everybody pull, or only those with a role."""
    full_name = _full_name(name)
    with transaction(loaded.settings) as db:
        found = repositories.set_public(db, full_name, public=visibility == "public")
        _require(found, f"there is no repository {name}")
    click.echo(f"{full_name} is {visibility}")


_SUMMARY_COLUMNS: Final = ("name", "visibility", "tags", "manifests", "size")


def _summary_row(summary: repositories.Summary) -> Sequence[str]:
    return (
        summary.name,
        "public" if summary.is_public else "private",
        str(summary.tags),
        str(summary.manifests),
        _show_size(summary.size),
    )


def _show_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _full_name(name: str) -> str:
    try:
        return parse_name(name)
    except RegistryError as error:
        raise click.ClickException(error.message) from error


# -- keys and settings -----------------------------------------------------------------------------------


@main.group()
def key() -> None:
    """Keys that sign tokens."""


@key.command("rotate")
@with_settings
def key_rotate(loaded: Loaded) -> None:
    """Sign with a new key from now on. Nobody is logged out: what the old ones signed still counts."""
    settings = loaded.settings
    make_data_directory(settings)
    keys = keys_of(settings)
    keys.ensure(settings.token_algorithm)
    ring = keys.rotate(settings.token_algorithm, settings.token_lifetime + LEEWAY)
    click.echo(f"tokens are signed with the key {ring.signing.kid}")


@main.command()
@with_settings
def config(loaded: Loaded) -> None:
    """Show the settings in force and where each comes from, secrets masked."""
    _print_table(("setting", "value", "source"), [tuple(row) for row in rows(loaded)])


def _print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    # Into a pipe whole lines are written, as wide as they are.
    Console(width=None if sys.stdout.isatty() else 1000, markup=False, highlight=False).print(table)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise click.ClickException(otherwise)


if __name__ == "__main__":
    main()
