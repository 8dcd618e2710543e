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
_SPARK_WIDTH: Final = 80
_SPARK_HEIGHT: Final = 20

_RECT: Final = Markup(
    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
)
_LINE: Final = Markup('<polyline points="{}" fill="none" stroke="currentColor" stroke-width="2"/>')
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
    title = f"{total} and {pushed} in {_say(len(days), 'day', 'days')}"
    return _svg("chart", _WIDTH, _HEIGHT, title, drawn, _busiest(days))


def sparkline(numbers: Sequence[int], title: str) -> Markup:
    """Return a line through the numbers, the oldest first, as high as the line of text that it is in."""
    highest = max([1, *numbers])
    step = _SPARK_WIDTH / max(1, len(numbers) - 1)
    room = _SPARK_HEIGHT - 2  # the line is two wide
    points = " ".join(
        f"{position * step:.1f},{1 + room * (1 - number / highest):.1f}"
        for position, number in enumerate(numbers)
    )
    return _svg("sparkline", _SPARK_WIDTH, _SPARK_HEIGHT, title, [_LINE.format(points)] if numbers else [])


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


def _busiest(days: Sequence[tuple[date, int, int]]) -> str:
    """Return in a sentence which day had the most pulls; "" where none had any."""
    day, pulls, _ = max(days, key=lambda each: each[1], default=(date.min, 0, 0))
    return f"Most on {day:%Y-%m-%d}: {_say(pulls, 'pull', 'pulls')}." if pulls else ""


def _svg(
    class_: str, width: int, height: int, title: str, content: Sequence[Markup], description: str = ""
) -> Markup:
    described = Markup("<desc>{}</desc>").format(description) if description else Markup("")
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" preserveAspectRatio="none">'
        "<title>{}</title>{}{}</svg>"
    ).format(class_, width, height, width, height, title, described, Markup("").join(content))


def _say(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
