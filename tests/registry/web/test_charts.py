"""Charts say in words what they draw, stay within their frame and bring no style or script."""

from datetime import date
from xml.etree.ElementTree import Element, fromstring

import pytest

from registry.web import charts


def test_bars_say_what_they_show() -> None:
    days = [(date(2026, 5, day), day * 10, day) for day in range(1, 31)]
    chart = fromstring(charts.bars(days))
    assert chart[0].text == "4,650 pulls and 465 pushes in 30 days"
    assert chart[1].text == "Most on 2026-05-30: 300 pulls."
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


@pytest.mark.parametrize(
    ("numbers", "points"),
    [
        ([0, 5, 10], "0.0,19.0 40.0,10.0 80.0,1.0"),
        ([3], "0.0,1.0"),
        ([0, 0], "0.0,19.0 80.0,19.0"),
    ],
)
def test_sparkline(numbers: list[int], points: str) -> None:
    line = fromstring(charts.sparkline(numbers, "pulls <by> day"))
    assert (line[0].text, line[1].get("points")) == ("pulls <by> day", points)


def test_sparkline_of_nothing() -> None:
    assert len(fromstring(charts.sparkline([], "none"))) == 1


@pytest.mark.parametrize(
    "chart",
    [
        charts.bars([(date(2026, 5, 1), 10, 2)]),
        charts.bars([]),
        charts.share(0.3),
        charts.sparkline([1, 2], "pulls"),
    ],
)
def test_charts_bring_no_style_or_script(chart: str) -> None:
    drawn: list[Element] = list(fromstring(chart).iter())
    assert {each.tag for each in drawn} <= {"svg", "title", "desc", "rect", "text", "polyline"}
    names = {name for each in drawn for name in each.attrib}
    assert not {name for name in names if name in ("style", "href") or name.startswith("on")}
    assert drawn[0].get("role") == "img"
    assert drawn[1].text
