"""A bar on the terminal, for what takes its time."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class Bar:
    """A bar for each piece of work; see `registry.move.Progress`."""

    def __init__(self, amount: ProgressColumn | None = None) -> None:
        shown = amount or DownloadColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), shown, TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Until there is something to show nothing was printed, and errors stand alone.
        if self._task is not None:
            self._progress.stop()

    def expect(self, what: str, total: int) -> None:
        """Begin a bar of its own."""
        self._progress.start()
        self._task = self._progress.add_task(what, total=total or None)

    def advance(self, amount: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, amount)

    def count(self, table: str, rows: int) -> None:
        """Move the bar by rows of a table."""
        if self._task is not None:
            self._progress.update(self._task, description=table, advance=rows)
