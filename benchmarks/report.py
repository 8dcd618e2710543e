"""The kept results, shown: tables in README.md and benchmarks/README.md, and a chart.

    python -m benchmarks.report

A table stands between `<!-- bench: NAME -->` and `<!-- /bench -->` in a document, and is written anew.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.chart import chart
from benchmarks.results import Suite, load_all

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
CHART: Final = RESULTS / "chart.svg"
DOCUMENTS: Final = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")

_BLOCK: Final = re.compile(r"(<!-- bench: ([\w ]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_CHARTED: Final = ("plain", "busy")
_TABLES: Final[Mapping[str, Callable[[Suite], str]]] = {
    "table": Suite.table,
    "processor": Suite.processor_table,
    "run": lambda suite: f"{suite.machine}; {_rounds(suite.rounds)}.",
}


def renewed(document: str, suites: Mapping[str, Suite]) -> str:
    """Return a document with its tables written anew, such as "plain table" or "tls processor".

    Raises:
        KeyError: there is no such kind of table.
    """

    def written(found: re.Match[str]) -> str:
        suite, kind = found[2].split()
        table = _TABLES[kind]
        return f"{found[1]}{table(suites[suite]) if suite in suites else 'Not measured.'}\n{found[3]}"

    return _BLOCK.sub(written, document)


def picture(suites: Mapping[str, Suite]) -> str:
    """Return the chart of registries side by side."""
    return chart("longshore beside other registries", charted(suites))


def charted(suites: Mapping[str, Suite]) -> Sequence[Suite]:
    """Return the suites that the chart shows."""
    return [suites[name] for name in _CHARTED if name in suites]


def _rounds(count: int) -> str:
    return "one round" if count == 1 else f"medians of {count} rounds, with half of their spread"


def main() -> None:
    """Write all of it."""
    suites = load_all(RESULTS)
    for path in DOCUMENTS:
        path.write_text(renewed(path.read_text(), suites))
    CHART.write_text(picture(suites))


if __name__ == "__main__":
    main()
