"""The SQLite database: its file, and the disk below it."""

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from registry.cli.checks.findings import Finding, fault, ok, show_seconds, warning, words_of
from registry.cli.checks.schema import DATABASE, judge_revision
from storage.metadata.migrate import revisions
from storage.metadata.probes import find_damage, sqlite_revision, write_sqlite

# Locks over a network are not what SQLite needs.
_REMOTE: Final = re.compile(r"nfs|cifs|smb|9p|afs|ceph|glusterfs|lustre|fuse\.(?!overlay)")

# Seconds until the disk confirms a write.
_SLOW: Final = 0.050
_WRITES: Final = 9

_INTEGRITY_SECONDS: Final = 20


def check_sqlite(path: Path) -> Sequence[Finding]:
    """Look at the file and where it is."""
    if not path.exists():
        advice = "the first start makes it; if there was one, name its directory with --data"
        return [warning(DATABASE, f"{path} is missing", advice)]
    found = []
    try:
        for each in _findings(path):
            found.append(each)  # noqa: PERF402 - what was found before an error counts
    except Exception as error:  # noqa: BLE001 - a file may be broken in any way
        advice = "let the server's account own the file, or restore a backup"
        found.append(fault(DATABASE, f"{path} cannot be used: {words_of(error)}", advice))
    return found


def _findings(path: Path) -> Iterator[Finding]:
    yield judge_file_system(path, file_system_of(path))
    damage = check_integrity(path, _INTEGRITY_SECONDS)
    yield damage
    if damage.result == "fault":
        return
    yield judge_sync(synced_write(path.parent))
    revision = judge_revision(sqlite_revision(path), revisions())
    yield revision
    if revision.result == "ok":
        write_sqlite(path)
        yield ok(DATABASE, "takes writes")


def check_integrity(path: Path, seconds: float) -> Finding:
    """Look for damage, for so many seconds."""
    try:
        damage = find_damage(path, seconds)
    except TimeoutError:
        found = f"{path} was found whole as far as it was read in {show_seconds(seconds)}"
        return warning(DATABASE, found, f'let it be read to its end: sqlite3 {path} "PRAGMA quick_check"')
    if damage is not None:
        return fault(DATABASE, f"{path} is damaged: {damage}", "stop the server and restore a backup")
    return ok(DATABASE, f"{path} is whole")


def judge_file_system(path: Path, kind: str) -> Finding:
    """Judge the kind of file system that the file is on."""
    if _REMOTE.match(kind):
        found = f"{path} is on a file system of another machine ({kind})"
        return fault(DATABASE, found, "keep data on a local disk, or metadata in PostgreSQL: longshore move")
    return ok(DATABASE, f"{path} is on a local file system ({kind})")


def judge_sync(seconds: float) -> Finding:
    """Judge how long it takes until the disk confirms a write."""
    found = f"the disk confirms a write in {show_seconds(seconds)}"
    if seconds > _SLOW:
        return warning(DATABASE, found, "keep data on an SSD: each push waits for some writes")
    return ok(DATABASE, found)


def synced_write(directory: Path) -> float:
    """Return the median of the seconds of a small write that is synced, to a file that is gone then."""
    taken = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(_WRITES):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return median(taken)


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that a path is on, as Linux calls it; "unknown" elsewhere."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"
    whole = path.resolve()
    found: tuple[int, str] = (-1, "unknown")
    for line in lines:
        # proc_pid_mountinfo(5): id parent device root mount-point options … - type source options
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4]))
        # The last one mounted at a place hides those below it.
        if whole.is_relative_to(point) and len(point.parts) >= found[0]:
            found = (len(point.parts), after.split(" ")[0])
    return found[1]
