"""What was measured: kept as JSON, one file for each suite, and given as tables in Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, Protocol

OURS: Final = "longshore"
MIB: Final = 1024 * 1024

# What processor time is counted for: how it is said, and its unit in seconds.
_PER: Final = {"request": ("µs a request", 1e-6), "image": ("ms an image", 1e-3), "GiB": ("s a GiB", 1.0)}


class Seen(Protocol):
    """What was seen of a server: seconds of processor time, and bytes at its highest and in the end."""

    seconds: float
    peak: int
    after: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A value; `work` is how many of what processor time is counted for were done; `also`: further values."""

    value: float
    work: float = 0.0
    also: Sequence[float] = ()


@dataclass(slots=True)
class Row:
    """A workload. By server, for each round: what was measured, and seconds of processor time `per`."""

    workload: str
    unit: str
    per: str = ""
    lower: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)

    def ratios(self, server: str, other: str) -> list[float]:
        """Return how much better a server was than another, round by round."""
        pairs = zip(self.values[server], self.values[other], strict=True)
        return [theirs / ours if self.lower else ours / theirs for ours, theirs in pairs]

    def best(self, servers: Sequence[str]) -> str:
        """Return which of them has the best median."""
        medians = {name: median(self.values[name]) for name in servers if name in self.values}
        return (min if self.lower else max)(medians, key=medians.__getitem__)


@dataclass(slots=True)
class Suite:
    """Workloads that were measured together. Memory is in bytes: at its highest, and in the end.

    `references` are what the machine itself does, a value for each round, by what it is.
    """

    name: str
    title: str
    machine: str
    servers: list[str]
    rounds: int
    rows: dict[str, Row] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    references: dict[str, list[float]] = field(default_factory=dict)

    def note(self, row: Row, server: str, measured: Measured, seen: Seen | None = None) -> None:
        """Keep what a round brought; `row` says what it is, if it is the first of its kind."""
        row = self.rows.setdefault(row.workload, Row(row.workload, row.unit, row.per, row.lower))
        row.values.setdefault(server, []).append(measured.value)
        if seen is None:
            return
        if row.per:
            row.processor.setdefault(server, []).append(seen.seconds / measured.work)
        self.peak[server] = max(self.peak.get(server, 0), seen.peak)
        self.after[server] = seen.after

    def save(self, folder: Path) -> None:
        """Write it to a file of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(text + "\n")

    @classmethod
    def load(cls, path: Path) -> "Suite":
        """Read it back."""
        document: dict[str, Any] = json.loads(path.read_text())
        rows = {name: Row(**row) for name, row in document.pop("rows").items()}
        return cls(**document, rows=rows)

    def table(self) -> str:
        """Return medians, half the spread of the rounds in percent, and how we stand to the best other."""
        others = [name for name in self.servers if name != OURS]
        compared = OURS in self.servers and bool(others)
        lines = _head(["workload", "unit", *self.servers, *(["times the best other"] if compared else [])])
        for row in self.rows.values():
            cells = [row.workload, row.unit, *(_cell(row.values.get(name)) for name in self.servers)]
            if compared:
                cells.append(_ratio(row.ratios(OURS, row.best(others))))
            lines.append(_line(cells))
        for what, held in (("at its highest", self.peak), ("in the end", self.after)):
            if held:
                cells = [f"memory, {what}", "MiB", *(_memory(held, name) for name in self.servers)]
                lines.append(_line([*cells, _held(held, others)] if compared else cells))
        lines += [f"\n{what}: {_cell(values)}." for what, values in self.references.items()]
        return "\n".join(lines)

    def processor_table(self) -> str:
        """Return the medians of processor time that the server's processes took."""
        lines = _head(["processor time", "unit", *self.servers])
        for row in self.rows.values():
            if row.per:
                unit, scale = _PER[row.per]
                scaled = {name: [each / scale for each in values] for name, values in row.processor.items()}
                lines.append(_line([row.workload, unit, *(_cell(scaled.get(name)) for name in self.servers)]))
        return "\n".join(lines)


def load_all(folder: Path) -> Mapping[str, Suite]:
    """Return the kept suites by name."""
    return {path.stem: Suite.load(path) for path in sorted(folder.glob("*.json"))}


def amount(value: float) -> str:
    """Return a number with three figures that count, or all of a larger one."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return "-"
    middle = median(values)
    spread = (max(values) - min(values)) / 2 / middle if middle else 0.0
    return f"{amount(middle)} ±{spread:.0%}" if len(values) > 1 else amount(middle)


def _ratio(ratios: Sequence[float]) -> str:
    middle = f"{median(ratios):.2f}"
    return f"{middle} ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else middle


def _memory(held: Mapping[str, int], server: str) -> str:
    return f"{held[server] / MIB:.0f}" if server in held else "-"


def _held(held: Mapping[str, int], others: Sequence[str]) -> str:
    return f"{min(held[name] for name in others) / held[OURS]:.2f}"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|---" * len(cells) + "|"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
