"""`longshore doctor` on databases, as far as that takes no server."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry.cli.checks.findings import Result, ok
from registry.cli.checks.postgres import judge_connections, judge_round_trip, judge_version
from registry.cli.checks.schema import judge_revision
from registry.cli.checks.sqlite_file import (
    check_integrity,
    check_sqlite,
    file_system_of,
    judge_file_system,
    judge_sync,
)
from registry.config import Settings
from registry.installation import prepare_database
from storage.metadata.probes import PostgresFacts
from tests.registry.findings import told


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database as the first start leaves it."""
    settings = Settings.model_validate({"data": tmp_path / "data"})
    prepare_database(settings)
    return settings.data / "longshore.db"


# -- SQLite ----------------------------------------------------------------------------------------------


def test_sqlite_that_is_fine(database: Path) -> None:
    findings = check_sqlite(database)
    assert [each.found for each in findings if each.result == "fault"] == []
    for words in ("local file system", "is whole", "the disk confirms", "the schema is at", "takes writes"):
        assert told(findings, words).check == "database"


def test_probe_leaves_no_row(database: Path) -> None:
    check_sqlite(database)
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def test_sqlite_that_is_damaged(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    content = bytearray(database.read_bytes())
    content[4096 * 2 : 4096 * 6] = os.urandom(4096 * 4)
    database.write_bytes(content)
    found = told(check_sqlite(database), "is damaged")
    assert found.result == "fault"
    assert "restore a backup" in found.advice


def test_sqlite_that_is_none(tmp_path: Path) -> None:
    database = tmp_path / "longshore.db"
    database.write_bytes(b"no database at all, but long enough for a header" * 100)
    assert told(check_sqlite(database), "is damaged: file is not a database").result == "fault"


def test_sqlite_that_takes_too_long_to_read(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, value TEXT)")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        db.execute(f"INSERT INTO large {numbers} SELECT i, i || 'x' FROM n")
        db.commit()
    found = check_integrity(database, 0)
    assert found.result == "warning"
    assert "PRAGMA quick_check" in found.advice


def test_sqlite_of_another_schema(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    findings = check_sqlite(database)
    assert told(findings, "the schema is at 9999").result == "fault"
    assert "takes writes" not in {each.found for each in findings}


@pytest.mark.parametrize(
    ("found", "result"), [("3", "ok"), ("2", "warning"), (None, "warning"), ("4", "fault")]
)
def test_revisions(found: str | None, result: Result) -> None:
    assert judge_revision(found, ["3", "2", "1"]).result == result


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /srv rw shared:2 - xfs /dev/sdb1 rw
24 23 0:6 / /srv/our\\040data rw shared:3 master:1 - nfs4 server:/export rw
25 22 0:7 / /mnt rw - ext4 /dev/sdc1 rw
26 25 0:8 / /mnt rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/longshore.db", "ext4"),
        ("/srv/longshore.db", "xfs"),
        ("/srv/our data/longshore.db", "nfs4"),
        ("/srv/our data too/longshore.db", "xfs"),
        ("/mnt/longshore.db", "fuse.sshfs"),
    ],
)
def test_file_systems(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system_of(Path(path), tmp_path / "mountinfo") == kind
    assert file_system_of(Path(path), tmp_path / "none") == "unknown"


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("ext4", "ok"),
        ("unknown", "ok"),
        ("fuse.overlayfs", "ok"),
        *(
            (kind, "fault")
            for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.s3fs")
        ),
    ],
)
def test_file_systems_of_other_machines(kind: str, result: Result) -> None:
    found = judge_file_system(Path("longshore.db"), kind)
    assert found.result == result
    assert kind in found.found


def test_slow_disk() -> None:
    assert judge_sync(0.004) == ok("database", "the disk confirms a write in 4.0 ms")
    assert judge_sync(0.2).result == "warning"


# -- PostgreSQL, as far as it is arithmetic --------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "result", "words"),
    [
        (150008, "ok", "PostgreSQL 15.8"),
        (140000, "ok", "PostgreSQL 14.0"),
        (130015, "warning", "PostgreSQL 13.15"),
    ],
)
def test_versions(number: int, result: Result, words: str) -> None:
    found = judge_version(number)
    assert (found.result, found.found) == (result, words)


@pytest.mark.parametrize(("seconds", "result"), [(0.0004, "ok"), (0.012, "warning"), (0.2, "fault")])
def test_round_trips(seconds: float, result: Result) -> None:
    assert judge_round_trip(seconds).result == result


@pytest.mark.parametrize(
    ("pool", "others", "result", "words"),
    [
        (10, 0, "ok", "(4 x 10), of 97: room for 2 such nodes"),
        (10, 20, "ok", "of which others use 20: room for 1 such node"),
        (10, 60, "warning", "of which others use 60"),
        (25, 0, "fault", "up to 100 connections"),
    ],
)
def test_room_for_connections(pool: int, others: int, result: Result, words: str) -> None:
    found = judge_connections(PostgresFacts(150008, False, 0.0, 97, others), pool, 4)
    assert found.result == result
    assert words in found.found


def test_what_was_found_before_a_failure_is_told(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("DROP TABLE leases")
        db.commit()
    findings = check_sqlite(database)
    assert told(findings, "is whole").result == "ok"
    assert told(findings, "no such table: leases").result == "fault"
