"""Structured logs: lines that people read on a terminal, JSON otherwise."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal, TextIO


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let a package that is installed look as if it were not, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # how Python says that there is none
    try:
        yield
    finally:
        del sys.modules[package]


# structlog imports rich if it can, for tracebacks that we never draw: three megabytes of each process.
with _hidden("rich"):
    import structlog


def configure_logs(
    form: Literal["auto", "console", "json"], level: str, *, stream: TextIO = sys.stderr
) -> None:
    """Send all logs, those of libraries too, to `stream` in one form; for the whole process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    console = form == "console" or (form == "auto" and stream.isatty())
    last: list[Any] = (
        # Not the formatter that shows variables: a password may be in one.
        [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *last])
    )
    logging.getLogger("aiohttp.server").addFilter(_tame_client_faults)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "asyncio", "boto3", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))


def _tame_client_faults(record: logging.LogRecord) -> bool:
    """Let no traceback through for what a client did; aiohttp reports that as an error of the server."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConnectionError):
        return False  # it went away, as the line of its request says
    if type(error).__module__ == "aiohttp.http_exceptions":
        # Not its text, which quotes what was sent: that may be a password.
        record.msg, record.exc_info = "what came from %s is not HTTP", None
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return record.levelno >= logging.getLogger().level
