"""Tables and the chart say what was measured, and the documents show what is kept."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import SUITES
from benchmarks.chart import chart
from benchmarks.report import CHART, DOCUMENTS, RESULTS, picture, renewed
from benchmarks.results import Measured, Row, Suite, load_all

from .results import side_by_side

SVG = "{http://www.w3.org/2000/svg}"


def test_table_has_medians_spread_and_ratios() -> None:
    assert side_by_side().table().splitlines() == [
        "| workload | unit | longshore | slow | quick | times the best other |",
        "|---|---|---|---|---|---|",
        "| manifest by tag | requests/s | 2,100 ±5% | 600 ±17% | 1,100 ±9% | 1.91 (1.83 to 2.00) |",
        "| p99 <beside> a push | ms | 2.00 ±0% | 8.00 ±0% | 4.00 ±0% | 2.00 (2.00 to 2.00) |",
        "| memory, at its highest | MiB | 100 | 100 | 100 | 1.00 |",
        "| memory, in the end | MiB | 50 | 50 | 50 | 1.00 |",
    ]


def test_table_of_processor_time() -> None:
    assert side_by_side().processor_table().splitlines()[2:] == [
        "| manifest by tag | µs a request | 100 ±0% | 100 ±0% | 100 ±0% |",
    ]


def test_table_of_one_server_and_one_round_compares_nothing() -> None:
    suite = Suite("tokens", "Tokens", "2 cores", ["longshore"], 1)
    suite.note(Row("by password", "ms", lower=True), "longshore", Measured(41.27))
    suite.references["A plain write, MiB/s"] = [512.4]
    assert suite.table().splitlines() == [
        "| workload | unit | longshore |",
        "|---|---|---|",
        "| by password | ms | 41.3 |",
        "",
        "A plain write, MiB/s: 512.",
    ]


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    suite = side_by_side()
    suite.save(tmp_path)
    assert load_all(tmp_path) == {"plain": suite}
    assert json.loads((tmp_path / "plain.json").read_text())["rounds"] == 3


def test_documents_are_renewed_between_their_marks() -> None:
    text = "before\n<!-- bench: plain processor -->\nold\n<!-- /bench -->\nafter <!-- bench -->\n"
    new = renewed(text, {"plain": side_by_side()})
    assert new.startswith("before\n<!-- bench: plain processor -->\n| processor time |")
    assert new.endswith("±0% |\n<!-- /bench -->\nafter <!-- bench -->\n")
    assert renewed(new, {"plain": side_by_side()}) == new


def test_a_suite_that_nobody_measured_has_no_table() -> None:
    text = "<!-- bench: other table -->\nold\n<!-- /bench -->"
    assert renewed(text, {}) == "<!-- bench: other table -->\nNot measured.\n<!-- /bench -->"
    with pytest.raises(KeyError):
        renewed("<!-- bench: plain picture -->\n<!-- /bench -->", {})


def test_chart_has_a_bar_for_each_server_as_long_as_its_value() -> None:
    root = ElementTree.fromstring(chart("title", [side_by_side()]))
    ours, slow, quick = (
        [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect") if bar.get("class") == name][1:]
        for name in ("s0", "s1", "s2")
    )
    assert len(ours) == len(slow) == len(quick) == 2  # after the one of the legend
    assert ours[0] > quick[0] > slow[0]
    assert quick[0] / ours[0] == pytest.approx(1100 / 2100, abs=0.01)
    assert slow[1] > quick[1] > ours[1]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "p99 <beside> a pushms, less is better" in texts
    assert "2,100" in texts


def test_chart_can_be_read_in_light_and_dark() -> None:
    text = chart("title", [side_by_side()])
    assert "prefers-color-scheme: dark" in text
    root = ElementTree.fromstring(text)
    back = next(root.iter(f"{SVG}rect"))
    assert (back.get("class"), back.get("width")) == ("back", root.get("width"))


def test_nothing_of_the_chart_is_outside_of_it() -> None:
    root = ElementTree.fromstring(chart("title", [side_by_side()]))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.get("x", 0)) + float(bar.attrib["width"]) <= width
        assert float(bar.get("y", 0)) + float(bar.attrib["height"]) <= height


def test_documents_name_suites_that_there_are() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"<!-- bench: (\w+) ", path.read_text())}
    assert named == {*SUITES}
    assert {*load_all(RESULTS)} <= named


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_documents_show_the_kept_results(path: Path) -> None:
    """To renew them: `python -m benchmarks.report`."""
    text = path.read_text()
    assert "<!-- bench: plain table -->" in text
    assert renewed(text, load_all(RESULTS)) == text


def test_chart_shows_the_kept_results() -> None:
    assert CHART.read_text() == picture(load_all(RESULTS))
