"""What commands print."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print lines below the names of their columns."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    # Into a pipe whole lines are written, as wide as they are.
    Console(width=None if sys.stdout.isatty() else 1000, markup=False, highlight=False).print(table)


def print_fields(columns: Sequence[str], line: Sequence[str]) -> None:
    """Print one line of a table as a line for each column."""
    width = max(map(len, columns))
    for column, value in zip(columns, line, strict=True):
        click.echo(f"{column:<{width}} {value}".rstrip())


def show_size(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def require(condition: bool, otherwise: str) -> None:
    """Return if the condition holds.

    Raises:
        ClickException: with the words for when it does not.
    """
    if not condition:
        raise click.ClickException(otherwise)
