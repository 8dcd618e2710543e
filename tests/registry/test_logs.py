"""Logs: JSON that programs read, lines that people read, and no secrets in either."""

import io
import logging
import re
from collections.abc import Callable

import pytest
import structlog

from registry.logs import configure_logs
from tests.registry.logged import Log, logged

SECRET = "correct horse battery staple"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def fail(password: str) -> None:
    raise ValueError(f"not one of {len(password)} characters")


def log_failure(log: Callable[..., object]) -> None:
    try:
        fail(SECRET)
    except ValueError:
        log("it failed", exc_info=True)


def test_json_is_one_object_a_line() -> None:
    with logged("json") as log:
        structlog.stdlib.get_logger("longshore.test").info(
            "two\nlines", number=7, text="a\u2028b\x1b", none=None
        )
    (line,) = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "two\nlines",
        "level": "info",
        "logger": "longshore.test",
        "number": 7,
        "text": "a\u2028b\x1b",
        "none": None,
    }
    assert log.text.isascii()


def test_json_holds_the_logs_of_libraries() -> None:
    with logged("json") as log:
        logging.getLogger("some.library").warning("%s of %d", "one", 2)
    (line,) = log.lines
    assert (line["event"], line["level"], line["logger"]) == ("one of 2", "warning", "some.library")


@pytest.mark.parametrize("name", ["longshore.test", "some.library"])
def test_json_keeps_an_exception_on_its_line(name: str) -> None:
    with logged("json") as log:
        own = structlog.stdlib.get_logger(name)
        log_failure(own.error if name.startswith("longshore") else logging.getLogger(name).error)
    (line,) = log.lines
    assert (line["event"], line["level"], line["logger"]) == ("it failed", "error", name)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: not one of 28 characters")


def test_json_shows_what_it_cannot_hold_some_way() -> None:
    with logged("json") as log:
        structlog.stdlib.get_logger("longshore.test").info("odd", value=object(), data=b"\xff", half="\ud800")
    (line,) = log.lines
    assert line["value"].startswith("<object object")
    assert line["data"] == repr(b"\xff")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(form: str) -> None:
    with logged("json" if form == "json" else "console") as log:
        log_failure(structlog.stdlib.get_logger("longshore.test").error)
        log_failure(logging.getLogger("some.library").error)
    assert log.text.count("ValueError: not one of 28 characters") == 2
    assert SECRET not in log.text


def test_console_is_for_people() -> None:
    with logged("console") as log:
        structlog.stdlib.get_logger("longshore.test").info("pushed", path="/v2/a b", size=3)
        logging.getLogger("some.library").warning("hm")
    first, second = log.text.splitlines()
    assert re.fullmatch(r"\S+Z \[info +\] pushed +\[longshore\.test\] +path='/v2/a b' size=3", first), first
    assert re.fullmatch(r"\S+Z \[warning +\] hm +\[some\.library\] *", second), second


def test_console_shows_control_characters_as_such() -> None:
    with logged("console") as log:
        structlog.stdlib.get_logger("longshore.test").info("asked", path="/\n2026 forged\r\x1b[2J\u2028")
    (line,) = log.text.splitlines()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("stream", "form", "colour"),
    [(Terminal(), "console", True), (io.StringIO(), "json", False)],
    ids=["terminal", "elsewhere"],
)
def test_auto_looks_at_the_stream(stream: io.StringIO, form: str, colour: bool) -> None:
    with logged():
        configure_logs("auto", "info", stream=stream)
        logging.getLogger("some.library").warning("hm")
    assert stream.getvalue().startswith("{") == (form == "json")
    assert ("\x1b[" in stream.getvalue()) == colour


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_level_is_the_least_that_is_logged(level: str) -> None:
    levels = ["debug", "info", "warning", "error"]
    with logged("json", level) as log:
        for each in levels:
            getattr(structlog.stdlib.get_logger("longshore.test"), each)("own")
            getattr(logging.getLogger("some.library"), each)("theirs")
    expected = [(each, event) for each in levels[levels.index(level) :] for event in ("own", "theirs")]
    assert [(line["level"], line["event"]) for line in log.lines] == expected


@pytest.mark.parametrize("name", ["alembic", "alembic.runtime.migration", "asyncio"])
def test_chatty_libraries_are_heard_from_warnings_on(name: str) -> None:
    with logged("json", "debug") as log:
        logging.getLogger(name).info("step by step")
        logging.getLogger(name).warning("hm")
    assert [line["event"] for line in log.lines] == ["hm"]


def test_configuring_again_does_not_log_twice() -> None:
    with logged() as outer:
        with logged() as inner:
            logging.getLogger("some.library").warning("inner")
        configure_logs("json", "info", stream=outer.stream)
        logging.getLogger("some.library").warning("outer")
    assert [line["event"] for line in inner.lines] == ["inner"]
    assert [line["event"] for line in outer.lines] == ["outer"]


def test_request_id_is_on_every_line_of_a_request() -> None:
    with logged() as log:
        structlog.contextvars.bind_contextvars(request_id="r1")
        structlog.stdlib.get_logger("longshore.test").info("own")
        logging.getLogger("some.library").warning("theirs")
    assert [line["request_id"] for line in log.lines] == ["r1", "r1"]


# -- what aiohttp says of clients ------------------------------------------------------------------------


def blame(log: Log, error: BaseException) -> str:
    """Let aiohttp's logger report an error; return what came of it."""
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "192.0.2.1", exc_info=error)
    return log.text


@pytest.mark.parametrize("error", [ConnectionResetError("lost"), BrokenPipeError(), ConnectionAbortedError()])
def test_a_client_that_goes_away_is_no_error(error: Exception) -> None:
    with logged() as log:
        assert blame(log, error) == ""


def http_error() -> Exception:
    from aiohttp.http_exceptions import BadHttpMessage  # noqa: PLC0415 - what the server may raise

    return BadHttpMessage(f"Authorization: Basic {SECRET}")


@pytest.mark.parametrize(("level", "count"), [("info", 1), ("warning", 0)])
def test_a_client_that_speaks_no_http_is_not_quoted(level: str, count: int) -> None:
    with logged("json", level) as log:
        blame(log, http_error())
    assert SECRET not in log.text
    assert [(line["level"], line["event"]) for line in log.lines] == count * [
        ("info", "what came from 192.0.2.1 is not HTTP")
    ]


def test_an_error_of_ours_is_reported_whole() -> None:
    with logged() as log:
        blame(log, ValueError("ours"))
    (line,) = log.lines
    assert (line["level"], line["event"]) == ("error", "Error handling request from 192.0.2.1")
    assert "ValueError: ours" in line["exception"]
