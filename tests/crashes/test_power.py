"""The power is lost: what was not synced is gone, and all that was acknowledged is there.

A run of every operation is traced with strace; what the disk holds is worked out for every moment of it, in
three ways: nothing is there that was not synced, neither bytes nor names; or names are and bytes are not; or
names are and some of the writes. That goes for SQLite's files as for blobs.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.filesystem import FileStore
from storage.metadata.migrate import migrate_sqlite
from tests.crashes.disk import CALLS, Disk, calls_in
from tests.e2e.clients import ROOT, debian
from tests.registry.conftest import IN_MEMORY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        yield Path(text)


def trace(to: Path, *words: str | Path) -> None:
    """Run a Python program to its end, and write what it asks of the system."""
    flags = ("-f", "-y", "-xx", "-s", "10000000", "-o", to, "-e", f"trace={CALLS}")
    subprocess.run([debian("strace"), *flags, sys.executable, *words], cwd=ROOT, check=True)


def test_all_that_was_acknowledged_survives(folder: Path) -> None:
    before, data, again = (folder / name for name in ("run", "run/data", "again"))
    data.mkdir(parents=True)
    migrate_sqlite(data / "longshore.db")
    asyncio.run(FileStore(data).prepare())
    shutil.copytree(before, folder / "copy")
    trace(folder / "trace", "-m", "tests.crashes.recording", before)
    # As it was: the trace tells all that came after.
    shutil.rmtree(before)
    (folder / "copy").rename(before)
    again.mkdir()
    looked = subprocess.run(
        [sys.executable, "-m", "tests.crashes.power", before, folder / "trace", again],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert looked.returncode == 0, looked.stderr
    states = json.loads(looked.stdout)
    assert sum(states.values()) >= 200
    assert min(states.values()) >= 30


# What the disk itself forgets, by programs of a line or two: a test that lets everything pass shows nothing.
PROGRAMS = {
    "nothing is synced": ("f = os.open(p, C); os.write(f, b'new')", {"old": b"old"}, {"new": b""}),
    "bytes are synced": (
        "f = os.open(p, C); os.write(f, b'new'); os.fsync(f)",
        {"old": b"old"},
        {"new": b"new"},
    ),
    "the name is synced": ("f = os.open(p, C); os.write(f, b'new'); sync()", {"old": b"old", "new": b""}, {}),
    "both are synced": (
        "f = os.open(p, C); os.write(f, b'n'); os.write(f, b'ew'); os.fdatasync(f); sync()",
        {"old": b"old", "new": b"new"},
        {},
    ),
    "written again": (
        "f = os.open(o, C); os.pwrite(f, b'X', 1); os.fsync(f); os.pwrite(f, b'Y', 2)",
        {"old": b"oXd"},
        {},
    ),
    "renamed": ("os.rename(o, p)", {"old": b"old"}, {"new": b"old"}),
    "renamed and synced": ("os.rename(o, p); sync()", {"new": b"old"}, {}),
    "removed": ("os.unlink(o)", {"old": b"old"}, {}),
    "removed and synced": ("os.unlink(o); sync()", {}, {}),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_disk_forgets(folder: Path, name: str) -> None:
    program, strict, lax = PROGRAMS[name]
    disk_folder = folder / "disk"
    disk_folder.mkdir()
    (disk_folder / "old").write_bytes(b"old")
    disk = Disk(disk_folder)
    paths = [str(disk_folder / each) for each in ("old", "new", "")]
    start = f"import os; o, p, d = {paths!r}; C = os.O_CREAT | os.O_RDWR; "
    start += "sync = lambda: os.fsync(os.open(d, os.O_RDONLY)); "
    trace(folder / "trace", "-c", start + program)
    for call in calls_in(folder / "trace"):
        disk.does(*call)
    assert {Path(path).name: content for path, content in disk.forgetful().items()} == strict
    found = {Path(path).name: content for path, content in disk.half_forgetful().items()}
    if lax:
        assert lax.items() <= found.items()
    for path in disk_folder.iterdir():
        assert disk.content(path) == path.read_bytes()
