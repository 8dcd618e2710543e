"""docs/THREATS.md is true: tests that it names exist, and every attack is spoken of."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.attacks import table

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "THREATS.md").read_text(encoding="utf-8")

_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_TOPICS: Final = re.compile(r"\(attacks: ((?:`[\w ]+`(?:, )?)+)\)")


def threats() -> list[list[str]]:
    """The rows of the tables of threats: threat, defence, what shows it."""
    section = PAGE.partition("## Threats and defences")[2].partition("## Auditing")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "threat"]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The functions that a file of tests has."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def test_every_test_that_is_named_exists() -> None:
    named = _TEST.findall(PAGE)
    assert len(named) > 50
    assert [f"{path}::{name}" for path, name in named if name not in functions_of(path)] == []


@pytest.mark.parametrize("row", threats(), ids=lambda row: str(row[0]))
def test_every_threat_has_a_defence_that_is_shown(row: list[str]) -> None:
    assert len(row) == 3
    assert row[1]
    assert _TEST.search(row[2]) or row[2] == "`make lint`"


def test_every_kind_of_attack_is_a_threat() -> None:
    named = [
        topic
        for row in threats()
        for found in _TOPICS.findall(row[0])
        for topic in re.findall(r"`([^`]+)`", found)
    ]
    assert len(set(named)) == len(named)
    assert set(named) == {each.topic for each in table.ATTACKS}


def test_the_page_has_the_table_of_attacks() -> None:
    """To renew it: `python -m tests.attacks.table`."""
    (written,) = re.findall(r"<!-- attacks -->\n(.*?)<!-- /attacks -->", PAGE, re.DOTALL)
    assert written.strip() == table.markdown().strip()


def test_it_is_found() -> None:
    assert "](docs/THREATS.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
