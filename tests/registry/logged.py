"""What was logged, read back line by line."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from registry.logs import configure_logs

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is kept in memory."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        """Everything so far."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[Line]:
        """Everything so far, of a log in JSON."""
        return parse_lines(self.text)

    @property
    def requests(self) -> list[Line]:
        """The lines of requests."""
        return [line for line in self.lines if line["event"] == "request"]


def parse_lines(text: str) -> list[Line]:
    """Read a log in JSON; every line of it must be an object with an event."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(
        isinstance(line, dict) and {"event", "level", "logger", "timestamp"} <= line.keys() for line in lines
    )
    return lines


@contextlib.contextmanager
def logged(form: Literal["auto", "console", "json"] = "json", level: str = "debug") -> Iterator[Log]:
    """Keep what is logged in the block, in the form that the program would write."""
    log, root = Log(), logging.getLogger()
    handlers, before = root.handlers, root.level
    configure_logs(form, level, stream=log.stream)
    # A cached logger would log here for ever.
    structlog.configure(**{**structlog.get_config(), "cache_logger_on_first_use": False})
    try:
        yield log
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root.handlers = handlers
        root.setLevel(before)
