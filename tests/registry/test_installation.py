"""The data directory and how it comes to be."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from auth.passwords import MIN_CHARACTERS
from registry.cli.data import change, with_metadata
from registry.config import Settings
from registry.installation import (
    FIRST_ADMINISTRATOR,
    check_storage,
    database_of,
    grace_of,
    keys_of,
    make_data_directory,
    make_first_administrator,
    passwords_of,
    prepare_database,
)
from registry.running import metrics_of
from storage.blobs import StoreUnavailable
from storage.metadata import accounts
from storage.metadata.databases import SqliteDatabase
from storage.metadata.migrate import DatabaseTooNew
from tests.e2e.clients import ROOT

CHEAP = {"password_time_cost": 1, "password_memory_cost": 1024, "password_parallelism": 1}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installed_in(tmp_path / "data")


def installed_in(data: Path, **more: object) -> Settings:
    return Settings.model_validate({"data": data, **CHEAP, **more})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("more", "minutes"),
    [
        ({}, 0),
        ({"storage": "/srv/blobs"}, 0),
        ({"storage": "s3://bucket", "s3_redirect": False, "s3_url_lifetime": "7d"}, 0),
        ({"storage": "s3://bucket"}, 20 + 25),
        ({"storage": "s3://bucket", "s3_url_lifetime": "7d"}, 7 * 24 * 60 + 25),
    ],
)
def test_bytes_stay_for_whoever_was_sent_to_the_bucket(
    tmp_path: Path, more: dict[str, object], minutes: int
) -> None:
    assert grace_of(installed_in(tmp_path, **more)).redirected == timedelta(minutes=minutes)


# -- the directory and the database ----------------------------------------------------------------------


def test_everything_is_under_the_data_directory(settings: Settings) -> None:
    assert database_of(settings) == SqliteDatabase(settings.data / "longshore.db")
    assert metrics_of(settings).parent == settings.data / "metrics"
    keys_of(settings).ensure("ES256")
    assert [path.parent for path in settings.data.rglob("*.pem")] == [settings.data / "keys"]


def test_database_is_made_for_its_owner_alone(settings: Settings) -> None:
    prepare_database(settings)
    assert change(settings, accounts.everyone) == []
    modes = {path.name: mode_of(path) for path in settings.data.iterdir()}
    assert mode_of(settings.data) == 0o700
    assert set(modes) >= {"longshore.db"}
    assert set(modes.values()) == {0o600}


def test_directory_that_is_there_stays_as_it_is(settings: Settings) -> None:
    settings.data.mkdir(mode=0o750)
    settings.data.chmod(0o750)
    make_data_directory(settings)
    make_data_directory(settings)
    assert mode_of(settings.data) == 0o750


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_file_in_the_place_of_the_directory(tmp_path: Path, below: str) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(NotADirectoryError) as caught:
        prepare_database(installed_in(tmp_path / "data" / below))
    assert str(tmp_path / "data") in str(caught.value.filename)


def test_database_of_a_newer_program_is_left_alone(settings: Settings) -> None:
    change(settings, lambda db: db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match=r"revision 9999.*newer"):
        prepare_database(settings)


# -- the first administrator -----------------------------------------------------------------------------


def first_administrator(settings: Settings) -> str | None:
    return with_metadata(settings, partial(make_first_administrator, settings))


def account_of(settings: Settings, name: str) -> accounts.Account | None:
    return change(settings, accounts.find, name)


def logs_in(settings: Settings, password: str) -> bool:
    account = account_of(settings, FIRST_ADMINISTRATOR)
    assert account is not None
    return bool(passwords_of(settings).verify(password, account.password_hash))


def test_first_administrator_gets_a_random_password_once(settings: Settings, tmp_path: Path) -> None:
    password = first_administrator(settings)
    assert password is not None
    assert len(password) > 2 * MIN_CHARACTERS
    assert logs_in(settings, password)
    account = account_of(settings, FIRST_ADMINISTRATOR)
    assert account is not None
    assert account.is_admin
    assert first_administrator(settings) is None
    assert logs_in(settings, password)
    assert first_administrator(installed_in(tmp_path / "other")) != password


def test_first_administrator_gets_the_password_of_the_settings(tmp_path: Path) -> None:
    settings = installed_in(tmp_path, admin_password="correct horse battery")
    assert first_administrator(settings) is None
    assert logs_in(settings, "correct horse battery")
    assert first_administrator(installed_in(tmp_path, admin_password="another password")) is None
    assert logs_in(settings, "correct horse battery")


def test_no_first_administrator_where_there_is_anybody(settings: Settings) -> None:
    change(settings, accounts.add, "alice", "!", is_admin=False, now=datetime.now(UTC))
    assert first_administrator(settings) is None
    assert account_of(settings, FIRST_ADMINISTRATOR) is None


def test_those_that_start_together_agree_on_one_administrator(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        passwords = list(threads.map(lambda _: first_administrator(settings), range(4)))
    (password,) = [each for each in passwords if each is not None]
    assert logs_in(settings, password)


def test_endpoint_of_s3_without_a_bucket(tmp_path: Path) -> None:
    settings = installed_in(tmp_path, s3_endpoint="http://s3.test", storage="/srv/blobs")
    with pytest.raises(StoreUnavailable, match="set storage to s3://bucket/prefix as well"):
        check_storage(settings)
    check_storage(installed_in(tmp_path, storage="/srv/blobs"))


# -- the shared metrics ----------------------------------------------------------------------------------

_HOLD = """
import sys
from pathlib import Path
from registry.running import make_metrics_directory
make_metrics_directory(Path(sys.argv[1]))
print("made", flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that holds a metrics directory until it is let go."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"made\n"

    def let_go(self) -> None:
        self._process.communicate(timeout=30)


def test_each_server_has_metrics_of_its_own(settings: Settings) -> None:
    assert metrics_of(settings) != metrics_of(settings)


def test_metrics_directories_last_as_long_as_their_servers(settings: Settings) -> None:
    one, two, three = (metrics_of(settings) for _ in range(3))
    first, second = Holder(one), Holder(two)
    assert {one, two} == set(one.parent.iterdir())
    assert {mode_of(path) for path in (one.parent, one, two)} == {0o700}
    (one / "counter_7.db").touch()
    first.let_go()
    assert {one, two} == set(one.parent.iterdir())
    third = Holder(three)
    assert {two, three} == set(one.parent.iterdir())
    second.let_go()
    third.let_go()


def test_files_among_the_metrics_directories_do_no_harm(settings: Settings) -> None:
    directory = metrics_of(settings)
    directory.parent.mkdir(parents=True)
    (directory.parent / "counter_7.db").touch()
    Holder(directory).let_go()
    assert directory.is_dir()
