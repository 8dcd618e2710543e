"""Runs an operation again and again, each time killed one step later, and looks at what each start finds.

    python -m tests.crashes.killing OPERATION FOLDER

A step is a call of the system or of SQLite, in any thread, as the interpreter tells of it: before the call
and after it. Nobody lists the places. Each run is a process of its own, forked from this one, which has
imported everything; it first requires all that the runs before it promised, then goes on until it is killed.
The run that comes to its end ends all. Prints how often a process was killed, and at which calls.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, FrameType
from typing import Any, Final

from storage.filesystem import FileStore
from storage.metadata.migrate import migrate_sqlite, revisions
from tests.crashes.operations import OPERATIONS, START, Run
from tests.crashes.promises import Promises, registry_in, require_kept

# Calls that change something, or make a change last.
_OF_SYSTEM: Final = frozenset(
    {"open", "write", "pwrite", "replace", "rename", "unlink", "remove", "fsync", "fdatasync", "ftruncate"}
    | {"truncate", "mkdir", "rmdir", "link"}
)
_OF_SQLITE: Final = frozenset({"Cursor.execute", "Cursor.executemany", "Connection.commit"})

_READING: Final = ("SELECT", "WITH", "SAVEPOINT", "RELEASE")

# A run that is not killed by then never will be.
_MOST: Final = 2000

KILLED: Final = -signal.SIGKILL


class Steps:
    """Counts the steps of all threads, and kills the process at one of them."""

    def __init__(self, last: int, tell: Callable[[str], None]) -> None:
        self._last = last
        self._tell = tell
        self._counting = False
        self._count = 0
        self._lock = threading.Lock()

    def watch(self) -> None:
        """See the calls of this thread, and of those that it starts from now on."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def begin(self) -> None:
        """Count from now on."""
        self._counting = True

    def end(self) -> None:
        """Count no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, called: Any) -> None:
        if not self._counting or event not in ("c_call", "c_return"):
            return
        if not isinstance(called, BuiltinFunctionType):
            return
        name = called.__qualname__
        if name not in _OF_SQLITE and not (called.__module__ == "posix" and name in _OF_SYSTEM):
            return
        # What only reads, or marks a place, leaves everything as the step before it.
        if str(frame.f_locals.get("statement", "")).lstrip().startswith(_READING):
            return
        with self._lock:
            self._count += 1
            if self._count == self._last:
                self._tell(name)
                os.kill(os.getpid(), signal.SIGKILL)


def run_once(operation: str, data: Path, number: int, promises: Promises, out: int) -> None:
    """Be one run, in a process of its own: look, then work until step `number`."""
    asyncio.run(require_kept(data, promises))
    steps = Steps(number, lambda name: _write(out, ["killed", name]))

    async def work() -> None:
        async with registry_in(data) as (registry, stores):
            run = Run(registry, stores, number, lambda key, state: _write(out, [key, state]))
            parts = OPERATIONS[operation](run)
            await anext(parts)
        steps.watch()
        starting = operation == START
        if starting:
            steps.begin()
        async with registry_in(data, prepare=starting) as (run.registry, run.stores):
            steps.begin()
            async for _ in parts:
                pass

    asyncio.run(work())
    steps.end()


def _write(out: int, line: list[str]) -> None:
    os.write(out, json.dumps(line).encode() + b"\n")


def fork(work: Callable[[int], None]) -> tuple[int, list[list[str]]]:
    """Do work in another process; return how it ended and the lines that it wrote."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            work(writing)
        except BaseException:  # noqa: BLE001 - nothing of this process may go on in the other one
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), lines


def main(operation: str, folder: str) -> None:
    """Kill the operation at each of its steps."""
    data = Path(folder)
    if operation == "migrate":
        kill_migrations(data)
        return
    migrate_sqlite(data / "longshore.db")
    asyncio.run(FileStore(data).prepare())
    promises: dict[str, str] = {}
    calls: Counter[str] = Counter()
    lines: list[list[str]] = []
    for number in range(1, _MOST):
        # Of the run before; all that was ever promised is looked at once more in the end.
        latest = {key: promises[key] for key, _ in lines if key in promises}
        code, lines = fork(lambda out, n=number, p=latest: run_once(operation, data, n, p, out))  # type: ignore[misc]
        for key, state in lines:
            if key == "killed":
                calls[state] += 1
            else:
                promises[key] = state
        if code == 0:
            break
        if code != KILLED:
            raise SystemExit(f"the run after {number - 1} kills ended with {code}")
    asyncio.run(require_kept(data, promises))
    _report(calls)


def kill_migrations(data: Path) -> None:
    """Kill the newest migration at each of its steps; the next start brings the database to the schema."""
    before = data / "before.db"
    older = revisions()[1]
    make_database(before, older)
    calls: Counter[str] = Counter()
    for number in range(1, _MOST):
        path = data / f"{number}.db"
        shutil.copyfile(before, path)
        code, lines = fork(lambda out, p=path, n=number: migrate_once(p, n, out))  # type: ignore[misc]
        calls.update(name for _, name in lines)
        code_after, _ = fork(lambda _, p=path: require_migrated(p))  # type: ignore[misc]
        if code_after != 0 or code not in (0, KILLED):
            raise SystemExit(f"kill {number}: {code}, and then {code_after}")
        if code == 0:
            break
    _report(calls)


def make_database(path: Path, revision: str) -> None:
    """Make a database of an earlier version with a row in it, all of it in one file."""
    migrate_sqlite(path, revision)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO accounts (name, is_admin, created_at) VALUES ('ann', 0, 0)")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def migrate_once(path: Path, number: int, out: int) -> None:
    """Be one migration, in a process of its own."""
    steps = Steps(number, lambda name: _write(out, ["killed", name]))
    steps.watch()
    steps.begin()
    migrate_sqlite(path)
    steps.end()


def require_migrated(path: Path) -> None:
    """Start once more, and require what was in the database."""
    migrate_sqlite(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM accounts").fetchall() == [("ann",)]
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(revisions()[0],)]
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _report(calls: Counter[str]) -> None:
    sys.stdout.write(json.dumps({"kills": calls.total(), "calls": calls}))


if __name__ == "__main__":
    main(*sys.argv[1:])
