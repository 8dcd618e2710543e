"""Charts as SVG, drawn on the server: no script, no style of their own, and what they show in words too."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from markupsafe import Markup

from registry.web.words import count

_WIDTH: Final = 720
_HEIGHT: Final = 160
_BASE: Final = 136  # where the bars stand; the days are written below
_TOP: Final = 16
_GAP: Final = 2

_RECT: Final = Markup(
    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
)
_TEXT: Final = Markup('<text class="chart-label" x="{:.1f}" y="{}" text-anchor="{}">{}</text>')


def bars(days: Sequence[tuple[date, int, int]]) -> Markup:
    """Return a chart of (day, pulls, pushes), the oldest day first: two bars for each day."""
    highest = max([1, *(max(pulls, pushes) for _, pulls, pushes in days)])
    width = _WIDTH / max(1, len(days))
    drawn: list[Markup] = []
    for position, (day, pulls, pushes) in enumerate(days):
        words = f"{day:%Y-%m-%d}: {_say(pulls, 'pull', 'pulls')}, {_say(pushes, 'push', 'pushes')}"
        left = position * width + _GAP / 2
        half = max(0.5, (width - _GAP) / 2)
        drawn.append(_bar("chart-pulls", left, half, pulls / highest, words))
        drawn.append(_bar("chart-pushes", left + half, half, pushes / highest, words))
    if days:
        drawn.append(_TEXT.format(0.0, _HEIGHT - 6, "start", f"{days[0][0]:%d %b}"))
        drawn.append(_TEXT.format(float(_WIDTH), _HEIGHT - 6, "end", f"{days[-1][0]:%d %b}"))
    drawn.append(_TEXT.format(float(_WIDTH), _TOP - 4, "end", count(highest)))
    total = _say(sum(pulls for _, pulls, _ in days), "pull", "pulls")
    pushed = _say(sum(pushes for *_, pushes in days), "push", "pushes")
    return _svg("chart", _WIDTH, _HEIGHT, f"{total} and {pushed} in {len(days)} days", drawn)


def share(part: float) -> Markup:
    """Return a bar that is filled by `part`, 0 to 1."""
    part = min(1.0, max(0.0, part))
    bar = [
        Markup('<rect class="share-whole" width="100" height="6" rx="3"/>'),
        Markup('<rect class="share-part" width="{:.2f}" height="6" rx="3"/>').format(max(part * 100, 0.75)),
    ]
    return _svg("share", 100, 6, f"{part:.0%} of all layers", bar)


def _bar(class_: str, left: float, width: float, part: float, words: str) -> Markup:
    height = (_BASE - _TOP) * part
    return _RECT.format(class_, left, _BASE - height, width, height, words)


def _svg(class_: str, width: int, height: int, title: str, content: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" preserveAspectRatio="none">'
        "<title>{}</title>{}</svg>"
    ).format(class_, width, height, width, height, title, Markup("").join(content))


def _say(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
