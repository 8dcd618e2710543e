from datetime import UTC, date, datetime, timedelta
from typing import Final
from xml.etree.ElementTree import fromstring

import pytest

from registry.web import charts, words

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


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\n", "\x00", "\u2028", "\ud800", "\ue000"])
def test_plain_shows_what_would_hide(unseen: str) -> None:
    assert words.plain(f"a{unseen}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_plain_keeps_words_and_bounds_them() -> None:
    assert words.plain("Grüße 你好 👩\u200d🚀") == "Grüße 你好 👩\u200d🚀"
    assert words.plain("x" * 50, 10) == "x" * 10 + "…"


# Charts


def test_bars_say_what_they_show() -> None:
    days = [(date(2026, 5, day), day * 10, day) for day in range(1, 31)]
    chart = fromstring(charts.bars(days))
    assert chart[0].text == "4,650 pulls and 465 pushes in 30 days"
    drawn = [each for each in chart if each.get("class") == "chart-pulls"]
    assert len(drawn) == 30
    assert drawn[0][0].text == "2026-05-01: 10 pulls, 1 push"
    heights = [float(each.get("height", "")) for each in drawn]
    assert heights == sorted(heights)
    assert heights[-1] == 120
    assert all(each.get("style") is None for each in chart.iter())


@pytest.mark.parametrize("days", [[], [(date(2026, 5, 1), 0, 0)], [(date(2026, 5, 1), 2**60, 0)] * 365])
def test_bars_of_anything(days: list[tuple[date, int, int]]) -> None:
    for each in fromstring(charts.bars(days)).iter():
        assert float(each.get("height", "0")) <= 160
        assert float(each.get("width", "0")) >= 0


@pytest.mark.parametrize(
    ("part", "width"), [(0.0, 0.75), (0.5, 50.0), (1.0, 100.0), (7.0, 100.0), (-1.0, 0.75)]
)
def test_share(part: float, width: float) -> None:
    bar = fromstring(charts.share(part))
    assert float(bar[2].get("width", "")) == width
