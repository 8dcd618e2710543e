from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from registry.web import words

NOW: Final = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (12.3 * 1024**2, "12.3 MiB"),
        (500 * 1024**3, "500 GiB"),
        (2**63, "8192 PiB"),
    ],
)
def test_size(number: float, text: str) -> None:
    assert words.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1234, "1.2k"),
        (9999, "10k"),
        (999_999, "1.0M"),
        (25_000_000, "25M"),
    ],
)
def test_count(number: int, text: str) -> None:
    assert words.count(number) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(hours=3, minutes=59), "3 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=8), "1 week ago"),
        (timedelta(days=45), "1 month ago"),
        (timedelta(days=800), "2 years ago"),
        (-timedelta(seconds=5), "in a moment"),
        (-timedelta(days=6), "in 6 days"),
    ],
)
def test_ago(passed: timedelta, text: str) -> None:
    assert words.ago(NOW - passed, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.21, "210 ms"), (1, "1.0 s"), (3.44, "3.4 s"), (99, "99.0 s"), (720, "12 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


CHROMIUM: Final = "(KHTML, like Gecko) Chrome/156.0.0.0"


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 {CHROMIUM} Safari/537.36", "Chrome on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/5 {CHROMIUM} Safari/5 Edg/156.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:150.0) Firefox/150.0", "Firefox on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19 Safari/6", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("<\u202e" + "x" * 100, "<\N{REPLACEMENT CHARACTER}" + "x" * 58 + "…"),
        ("", "unknown"),
    ],
)
def test_browser(agent: str, text: str) -> None:
    assert words.browser(agent) == text


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\n", "\x00", "\u2028", "\ud800", "\ue000"])
def test_plain_shows_what_would_hide(unseen: str) -> None:
    assert words.plain(f"a{unseen}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_plain_keeps_words_and_bounds_them() -> None:
    assert words.plain("Grüße 你好 👩\u200d🚀") == "Grüße 你好 👩\u200d🚀"
    spelled = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert words.plain(spelled) == spelled
    assert words.plain("x" * 50, 10) == "x" * 10 + "…"


def test_lines_stay_lines() -> None:
    assert words.inert("a\n\tb\u202ec") == "a\n\tb\N{REPLACEMENT CHARACTER}c"


@pytest.mark.parametrize("mark", ["\u0301", "\u0489", "\u20dd", "\u0301\u200d", "\ufe0f", "\u034f"])
def test_marks_do_not_pile_up(mark: str) -> None:
    shown = words.plain(f"Z{mark * 500}!")
    assert shown.startswith("Z")
    assert shown.endswith("\N{REPLACEMENT CHARACTER}!")
    assert len(shown) <= 12
    assert words.plain(f"e{mark}e") == f"e{mark}e"
