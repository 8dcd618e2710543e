"""A process is killed (SIGKILL) before and after each call of the system and of SQLite that it makes.

Nobody has chosen where: the calls are counted as they come. After each kill the next process finds all that
was acknowledged, byte for byte, and rows and bytes that agree once the sweep has run.
"""

import json
import subprocess
import sys
import tempfile
from typing import Final

import pytest

from tests.crashes.operations import OPERATIONS
from tests.e2e.clients import ROOT
from tests.registry.conftest import IN_MEMORY

# As many kills as there are at least, and calls that are among those.
EXPECTED: Final = {
    "start": (50, {"Cursor.execute"}),
    "push_at_once": (30, {"write", "fdatasync", "replace", "fsync", "Connection.commit"}),
    "push_in_chunks": (60, {"write", "fdatasync", "replace", "fsync", "Connection.commit"}),
    "push_again": (30, {"write", "fdatasync", "replace", "fsync", "Connection.commit"}),
    "mount": (10, {"Connection.commit"}),
    "push_image": (20, {"Connection.commit"}),
    "delete": (20, {"Connection.commit"}),
    "collect": (60, {"unlink", "fsync", "Connection.commit"}),
    "sweep": (20, {"unlink", "Connection.commit"}),
    "migrate": (20, {"Cursor.execute", "Connection.commit"}),
}


def test_every_operation_is_killed() -> None:
    assert set(EXPECTED) == {*OPERATIONS, "migrate"}
    assert sum(least for least, _ in EXPECTED.values()) >= 200


@pytest.mark.parametrize("operation", sorted(EXPECTED))
@pytest.mark.timeout(600)
def test_kill_at_each_step(operation: str) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.crashes.killing", operation, folder],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    least, calls = EXPECTED[operation]
    assert told["kills"] >= least
    assert calls <= set(told["calls"])
