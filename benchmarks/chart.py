"""Results as a picture: an SVG with a panel for each workload and a bar for each server.

It brings its own background and follows whoever looks at it between light and dark, so that it can be read
wherever it is shown.
"""

from collections.abc import Iterator, Sequence
from html import escape
from statistics import median
from typing import Final

from benchmarks.results import OURS, Row, Suite, amount

_WIDTH: Final = 920
_COLUMNS: Final = 2
_MARGIN: Final = 24
_GAP: Final = 32
_HEADER: Final = 64
_TITLE: Final = 24
_BAR: Final = 14
_STEP: Final = 18
_PANEL_GAP: Final = 20
_NUMBER: Final = 70
_CORNER: Final = 2

_PANEL: Final = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS

# Ours, and the others in their order: apart from each other and from both backgrounds, by lightness too.
_STYLE: Final = """
.back { fill: #ffffff } .text { fill: #1f2933 } .quiet { fill: #52606d } .track { fill: #e8edf1 }
.s0 { fill: #0b6e99 } .s1 { fill: #b35c1e } .s2 { fill: #7b8794 } .s3 { fill: #6a4c93 }
@media (prefers-color-scheme: dark) {
.back { fill: #14191f } .text { fill: #e4e9ee } .quiet { fill: #a8b3be } .track { fill: #252d36 }
.s0 { fill: #4cb8e6 } .s1 { fill: #e0955a } .s2 { fill: #8793a0 } .s3 { fill: #b095dc }
}
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.name { font-weight: 600 }
"""


def chart(title: str, suites: Sequence[Suite]) -> str:
    """Return the picture of all workloads of suites that measured the same servers."""
    servers = suites[0].servers
    rows = [row for suite in suites for row in suite.rows.values()]
    height = _TITLE + _STEP * len(servers)
    lines = -(-len(rows) // _COLUMNS)
    whole = _HEADER + lines * (height + _PANEL_GAP) + _MARGIN // 2
    size = f'viewBox="0 0 {_WIDTH} {whole}" width="{_WIDTH}" height="{whole}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="back" width="{_WIDTH}" height="{whole}" rx="8"/>',
        *_legend(title, servers),
    ]
    for number, row in enumerate(rows):
        column, line = divmod(number, lines)
        x = _MARGIN + column * (_PANEL + _GAP)
        y = _HEADER + line * (height + _PANEL_GAP)
        parts += _panel(x, y, row, servers)
    return "\n".join([*parts, "</svg>", ""])


def _legend(title: str, servers: Sequence[str]) -> Iterator[str]:
    yield f'<text class="text name" x="{_MARGIN}" y="26">{escape(title)}</text>'
    x = _MARGIN
    for number, name in enumerate(servers):
        yield f'<rect class="s{number}" x="{x}" y="38" width="12" height="12" rx="{_CORNER}"/>'
        yield f'<text class="text" x="{x + 18}" y="49">{escape(name)}</text>'
        x += 18 + 8 * len(name) + 24


def _panel(x: int, y: int, row: Row, servers: Sequence[str]) -> Iterator[str]:
    less = ", less is better" if row.lower else ""
    yield (
        f'<text class="text" x="{x}" y="{y + 15}"><tspan class="name">{escape(row.workload)}</tspan>'
        f'<tspan class="quiet" dx="8">{escape(row.unit)}{less}</tspan></text>'
    )
    medians = {name: median(row.values[name]) for name in servers if name in row.values}
    longest, room = max(medians.values()) or 1, _PANEL - _NUMBER
    for number, name in enumerate(servers):
        if name not in medians:
            continue
        top = y + _TITLE + number * _STEP
        length = max(2, round(room * medians[name] / longest))
        strong = " name" if name == OURS else ""
        yield f'<rect class="track" x="{x}" y="{top}" width="{room}" height="{_BAR}" rx="{_CORNER}"/>'
        yield (f'<rect class="s{number}" x="{x}" y="{top}" width="{length}" height="{_BAR}" rx="{_CORNER}"/>')
        yield (
            f'<text class="text{strong}" x="{x + _PANEL}" y="{top + 12}" text-anchor="end">'
            f"{amount(medians[name])}</text>"
        )
