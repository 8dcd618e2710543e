"""Numbers, sizes and moments in words for people."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

_SIZE_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_COUNT_UNITS: Final = ("k", "M", "G", "T")

# What User-Agents have in them: those of most browsers have the names of others as well, which come later.
_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)

# (seconds in it, its name), the longest first.
_SPANS: Final = (
    (365 * 86400, "year"),
    (30 * 86400, "month"),
    (7 * 86400, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
)

# What reorders or hides the text around it (Unicode Standard Annex 9), beside all control characters.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})

# They make one sign of several emoji, and are spelling in Persian and in scripts of India.
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

# Marks that stand on one letter; more would pile up over the lines around it. No script needs as many.
_MAX_MARKS: Final = 8

# What can have too many: no mark and no joiner comes before this in Unicode.
_MAYBE_MARKS: Final = re.compile(rf"[^\x00-\u02ff]{{{_MAX_MARKS + 1},}}")

_KEPT: Final = f"{_JOINERS}\n\t"

_SIGN: Final = "\N{REPLACEMENT CHARACTER}"


def size(number: float) -> str:
    """Return bytes in words: "12.3 MiB"."""
    if number < 1024:
        return f"{number:.0f} B"
    number, unit = _in_units(number, 1024, 1023.95, _SIZE_UNITS)
    return f"{number:.1f} {unit}" if number < 99.95 else f"{number:.0f} {unit}"


def count(number: float) -> str:
    """Return a number in short: "1.2k"."""
    if number < 1000:
        return f"{number:.0f}"
    number, unit = _in_units(number, 1000, 999.5, _COUNT_UNITS)
    return f"{number:.1f}{unit}" if number < 9.95 else f"{number:.0f}{unit}"


def _in_units(number: float, step: int, full: float, units: Sequence[str]) -> tuple[float, str]:
    """Return the number in the smallest unit in which it is below `full`, or else in the largest."""
    unit, *larger = units
    number /= step
    return _in_units(number, step, full, larger) if larger and number >= full else (number, unit)


def noun(number: int, singular: str) -> str:
    """Return the word for as many of something: "tag", "tags"."""
    return singular if number == 1 else f"{singular}s"


def browser(agent: str) -> str:
    """Return what people call the browser of a User-Agent: "Firefox on Linux"; the beginning of another."""
    program = next((name for sign, name in _BROWSERS if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    return f"{program} on {system}" if program and system else plain(program or agent, 60) or "unknown"


def duration(seconds: float) -> str:
    """Return a span of time in words: "210 ms", "3.4 s", "12 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago the moment was: "3 hours ago"."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for length, name in _SPANS:
        if abs(seconds) >= length:
            number = int(abs(seconds) // length)
            words = f"{number} {name}" if number == 1 else f"{number} {name}s"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in a moment"


def plain(text: str, limit: int = 4096) -> str:
    """Return one line of somebody else's text, inert and with an end."""
    shown = inert(text[:limit]).replace("\n", _SIGN).replace("\t", _SIGN)
    return f"{shown}…" if len(text) > limit else shown


def inert(text: str) -> str:
    """Return somebody else's lines of text; what would hide, reorder or cover others is shown as a sign."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_SIGN if _is_unseen(each) else each for each in thin(text))


def thin(text: str) -> str:
    """Return text without the marks that are too many for one letter."""
    return _MAYBE_MARKS.sub(lambda found: "".join(_thinned(found[0])), text)


def _thinned(text: str) -> Iterator[str]:
    marks = 0
    for each in text:
        is_mark = each in _JOINERS or unicodedata.category(each).startswith("M")
        marks = marks + 1 if is_mark else 0
        if marks <= _MAX_MARKS:
            yield each
        elif marks == _MAX_MARKS + 1:
            yield _SIGN


def _is_unseen(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _UNSEEN
