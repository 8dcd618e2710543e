"""`longshore serve`, and what the first start makes."""

import os
from functools import partial
from typing import Final

import click
import structlog

from registry.cli.data import with_metadata
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.installation import (
    FIRST_ADMINISTRATOR,
    check_storage,
    keys_of,
    make_first_administrator,
    make_metrics_directory,
    metrics_of,
    shared_keys_of,
)
from registry.logs import configure_logs
from storage.metadata.engine import Metadata

_AUTH_OFF: Final = """\
!! Access control is OFF: whoever reaches this server may pull, push and delete everything.
!! Set LONGSHORE_AUTH=on (the default) before anybody else can reach it."""


@click.command()
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
    check_storage(settings)
    password = _prepare(settings)
    make_metrics_directory(metrics)
    _welcome(server.url, settings, password)
    server.run()


def _prepare(settings: Settings) -> str | None:
    """Make what the first start needs; return the password that the first administrator was given."""
    if settings.auth == "off":
        structlog.get_logger("longshore").warning("access control is off")
    return with_metadata(settings, partial(_make_first, settings))


async def _make_first(settings: Settings, metadata: Metadata) -> str | None:
    if settings.auth == "off":
        return None
    shared = shared_keys_of(settings, metadata)
    if shared is None:
        keys_of(settings).ensure(settings.token_algorithm)
    else:
        await shared.ensure(settings.token_algorithm)
    return await make_first_administrator(settings, metadata)


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
