"""Numbers, sizes and moments in words for people."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

_SIZE_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_COUNT_UNITS: Final = ("k", "M", "G", "T")

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
    """Return one line of somebody else's text, inert: what would hide or reorder it is shown as a sign."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if _is_unseen(each) else each for each in text[:limit])
    return f"{shown}…" if len(text) > limit else shown


def _is_unseen(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _UNSEEN
