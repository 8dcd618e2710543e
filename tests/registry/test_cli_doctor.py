"""`longshore doctor` on one machine: what it finds, what it says to do, and that it leaves nothing behind."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from auth.keys import KeyDirectory
from registry.cli.checks.configuration import check_settings
from registry.cli.checks.findings import Check, Finding, Result, aside, clock_finding, examine, ok
from registry.cli.checks.machine import (
    check_machine,
    judge_inodes,
    judge_permissions,
    judge_space,
    least_space,
)
from registry.config import Settings
from registry.installation import prepare_database
from tests.registry.commands import isolate, run
from tests.registry.findings import told

GIB = 1024**3
LONG_SECRET = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory as the first start leaves it."""
    settings = Settings.model_validate({"data": tmp_path / "data"})
    prepare_database(settings)
    KeyDirectory(settings.data / "keys").ensure("ES256")
    return settings.data


def settings_of(**values: Any) -> Settings:
    return Settings.model_validate(values)


def files_in(folder: Path) -> set[Path]:
    # Opening the database makes and removes files beside it.
    return {path for path in folder.rglob("*") if path.suffix not in (".db-wal", ".db-shm")}


# -- the command -----------------------------------------------------------------------------------------


def test_nothing_is_made_where_there_is_nothing(tmp_path: Path) -> None:
    result = run("doctor", port="1")
    assert result.exit_code == 0
    assert "0 faults" in result.stdout
    assert "longshore.db is missing" in result.stdout
    assert not list(tmp_path.iterdir())


def test_table_says_what_to_do_and_nothing_is_left(data: Path, tmp_path: Path) -> None:
    before = files_in(tmp_path)
    data.chmod(0o755)
    result = run("doctor", port="1")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "mode 0755" in line]
    assert line.startswith("permissions")
    assert "warning" in line
    assert "chmod 700 data" in line
    assert files_in(tmp_path) == before


def test_a_fault_is_the_exit_code(data: Path) -> None:
    data.chmod(0o777)
    result = run("doctor", "--json", port="1")
    assert result.exit_code == 1
    faults = [each for each in json.loads(result.stdout)["findings"] if each["result"] == "fault"]
    assert [(each["check"], each["advice"]) for each in faults] == [("permissions", "chmod 700 data")]


def test_json_says_what_the_table_says(data: Path) -> None:
    findings = json.loads(run("doctor", "--json", port="1").stdout)["findings"]
    assert {frozenset(each) for each in findings} == {frozenset({"check", "result", "found", "advice"})}
    table = run("doctor", port="1").stdout
    assert [line.split()[0] for line in table.splitlines()[1:-2]] == [
        each["check"].split()[0] for each in findings
    ]


# -- running checks --------------------------------------------------------------------------------------


async def test_a_check_that_fails_is_a_fault_and_no_end() -> None:
    async def fail() -> Sequence[Finding]:
        raise OSError(13, "Permission denied", "/a/file")

    (found,) = await examine(Check("it", 5, fail))
    assert (found.check, found.result) == ("it", "fault")
    assert found.found == "could not be checked: /a/file: permission denied"


async def test_a_check_that_hangs_ends() -> None:
    release = threading.Event()

    def hang() -> Sequence[Finding]:
        release.wait()
        return [ok("it", "too late")]

    async def run() -> Sequence[Finding]:
        return await aside(hang)

    (found,) = await examine(Check("it", 0.05, run))
    assert (found.result, found.found) == ("fault", "there was no end to it within 0.05 seconds")
    release.set()
    await asyncio.sleep(0)


async def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await aside(fail)


@pytest.mark.parametrize(
    ("offset", "result", "words"),
    [
        (0.4, "ok", "differs from this machine's by less than 1.0 s"),
        (-59.0, "ok", "less than 59.0 s"),
        (61.0, "warning", "61.0 s ahead of"),
        (-61.0, "warning", "61.0 s behind"),
        (901.0, "fault", "15 minutes ahead of"),
        (-3600.0, "fault", "60 minutes behind"),
    ],
)
def test_clocks(offset: float, result: Result, words: str) -> None:
    found = clock_finding("clock", offset, warn=60, fail=900)
    assert found.result == result
    assert words in found.found


# -- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"auth": "off"}, "auth is off"),
        ({"metrics": "open"}, "metrics is open"),
        ({"admin_password": "changeme"}, "admin_password can be guessed"),
        ({"admin_password": "Password123"}, "admin_password can be guessed"),
        ({"keys_secret": "0" * 32}, "keys_secret can be guessed"),
        ({"database": "postgresql://longshore:postgres@db/hub"}, "password of the database can be guessed"),
        ({"database": "postgresql://hub:hub@db/hub"}, "password of the database can be guessed"),
    ],
)
def test_settings_that_want_a_look(values: dict[str, str], words: str) -> None:
    findings = check_settings(settings_of(**values))
    assert told(findings, words).result == "warning"
    assert len(findings) == 1
    assert not any(
        str(value) in each.found + each.advice
        for value in values.values()
        for each in findings
        if len(value) > 4
    )


def test_store_that_is_named_in_part() -> None:
    (found,) = check_settings(settings_of(s3_endpoint="http://127.0.0.1:9000"))
    assert found.result == "fault"
    assert "s3://bucket/prefix" in found.advice


@pytest.mark.parametrize(
    ("more", "fine"),
    [
        ({}, False),
        ({"s3_public_endpoint": "https://blobs.test"}, True),
        ({"s3_redirect": False}, True),
        ({"external_url": "https://other.test"}, True),
    ],
)
def test_store_under_the_registrys_own_name(more: dict[str, object], fine: bool) -> None:
    values = {
        "storage": "s3://bucket/x",
        "external_url": "https://hub.test",
        "s3_endpoint": "https://hub.test:9000",
        **more,
    }
    (found,) = check_settings(settings_of(**values))
    assert (found.result == "ok") == fine
    assert fine or "own host name" in found.found


def test_settings_that_are_fine() -> None:
    (found,) = check_settings(
        settings_of(keys_secret=LONG_SECRET, database=f"postgresql://hub:{LONG_SECRET}@db/hub")
    )
    assert found.result == "ok"


# -- the machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "total", "result"),
    [(50 * GIB, 100 * GIB, "ok"), (9 * GIB, 100 * GIB, "warning"), (GIB - 1, 2 * GIB, "fault")],
)
def test_disk_space(free: int, total: int, result: Result) -> None:
    found = judge_space(Path("data"), free, total, GIB)
    assert found.result == result
    assert bool(found.advice) is (result != "ok")


@pytest.mark.parametrize(("free", "total", "results"), [(99, 1000, ["warning"]), (100, 1000, []), (0, 0, [])])
def test_inodes(free: int, total: int, results: list[Result]) -> None:
    found = list(judge_inodes(Path("data"), free, total))
    assert [each.result for each in found] == results


@pytest.mark.parametrize(
    ("values", "least"),
    [
        ({}, GIB),
        ({"storage": "s3://bucket"}, GIB),
        ({"database": "postgresql://a/b"}, GIB),
        ({"storage": "s3://bucket", "database": "postgresql://a/b"}, GIB // 64),
    ],
)
def test_room_that_is_needed_here(values: dict[str, str], least: int) -> None:
    assert least_space(settings_of(**values)) == least


def test_machine_that_is_fine(data: Path) -> None:
    findings = check_machine(settings_of(data=data))
    assert {each.result for each in findings if each.check != "disk space"} == {"ok"}
    assert {each.check for each in findings} == {"disk space", "permissions", "signing keys"}


@pytest.mark.parametrize(("mode", "result"), [(0o750, "warning"), (0o770, "fault"), (0o702, "fault")])
@pytest.mark.parametrize("name", ["data", "data/keys", "blobs"])
def test_open_directories(data: Path, tmp_path: Path, name: str, mode: int, result: Result) -> None:
    (tmp_path / "blobs").mkdir(mode=0o700)
    (tmp_path / name).chmod(mode)
    findings = check_machine(settings_of(data=data, storage=str(tmp_path / "blobs")))
    found = told(findings, f"open to other accounts (mode {mode:04o})")
    assert (found.check, found.result) == ("permissions", result)
    assert found.advice == f"chmod 700 {tmp_path / name}"


@pytest.mark.parametrize(
    ("owner", "is_usable", "result", "words"),
    [
        (4711, True, "ok", "is this account's"),
        (0, True, "warning", "is uid 0's, and not this account's (uid 4711)"),
        (0, False, "fault", "is uid 0's, and cannot be used by this account (uid 4711)"),
        (4711, False, "fault", "cannot be used"),
    ],
)
def test_owner_of_a_directory(owner: int, is_usable: bool, result: Result, words: str) -> None:
    (found,) = judge_permissions(Path("data"), 0o700, owner, 4711, is_usable=is_usable)
    assert found.result == result
    assert words in found.found
    assert bool(found.advice) is (result != "ok")


def test_keys_that_others_may_read(data: Path) -> None:
    (key,) = (data / "keys").glob("*.pem")
    key.chmod(0o644)
    found = told(check_machine(settings_of(data=data)), "may use this signing key")
    assert (found.check, found.result) == ("signing keys", "fault")


def test_keys_that_are_damaged(data: Path) -> None:
    (key,) = (data / "keys").glob("*.pem")
    key.write_bytes(b"nothing")
    assert told(check_machine(settings_of(data=data)), str(key)).result == "fault"


def test_key_files_beside_a_shared_database(data: Path) -> None:
    findings = check_machine(settings_of(data=data, database="postgresql://a/b"))
    found = told(findings, "every node needs the same")
    assert found.result == "warning"
    assert "keys_secret" in found.advice


@pytest.mark.parametrize("values", [{"auth": "off"}, {"keys_secret": LONG_SECRET}])
def test_key_files_that_nobody_needs(tmp_path: Path, values: dict[str, str]) -> None:
    findings = check_machine(settings_of(data=tmp_path / "data", **values))
    assert "signing keys" not in {each.check for each in findings}
