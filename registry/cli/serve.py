"""`longshore serve`: from the settings to processes that serve.

The first process only watches the others. What it imports it keeps for as long as they run, so it imports
little, and lets another process, which ends at once, prepare what they need.
"""

import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import click

from registry.cli.settings import telling, with_settings
from registry.config import Loaded, Settings
from registry.logs import configure_logs
from registry.running import make_metrics_directory, metrics_of

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
    if settings.auth == "off":
        logging.getLogger("longshore").warning("access control is off")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as aside:
        login = aside.submit(_prepare, settings).result()
    make_metrics_directory(metrics)
    _welcome(server.url, settings, login)
    server.run()


def _prepare(settings: Settings) -> tuple[str, str] | None:
    # Told here: not every error is one that another process can be sent.
    with telling(settings):
        from registry.cli.preparation import prepare  # noqa: PLC0415 - for the process aside alone

        return prepare(settings)


def _welcome(url: str, settings: Settings, login: tuple[str, str] | None) -> None:
    address = (settings.external_url or url).partition("://")[2]
    lines = [f"longshore listens on {url}"]
    if settings.auth == "off":
        lines.append(click.style(_AUTH_OFF, fg="red", bold=True))
    elif login is not None:
        name, password = login
        lines.append(f"first login: {name}, password: {password}   (shown this once; kept nowhere)")
    docker_login = [] if settings.auth == "off" else [f"  docker login {address}"]
    lines += [
        "try:",
        *docker_login,
        f"  docker tag IMAGE {address}/library/hello",
        f"  docker push {address}/library/hello",
    ]
    click.echo("\n".join(lines))
