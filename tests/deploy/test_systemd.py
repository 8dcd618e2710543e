"""The systemd unit, as systemd itself judges it."""

import re
from pathlib import Path

import pytest

from registry.cli import main
from registry.config import Settings, default_of
from tests.deploy.files import DEPLOY, passed
from tests.e2e.clients import debian
from tests.test_documentation import is_command

pytestmark = pytest.mark.e2e

# From 0 to 10; what stays is that a registry has to talk to the network.
MOST_EXPOSURE = 1.5


@pytest.fixture(params=["longshore.service", "longshore-backup.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit with a program that is on this machine in place of the installed one."""
    name: str = request.param
    path = tmp_path / name
    path.write_text((DEPLOY / name).read_text().replace("/opt/longshore/.venv/bin/longshore", "/bin/true"))
    return path


def test_systemd_has_nothing_to_say(unit: Path) -> None:
    assert passed(debian("systemd-analyze"), "verify", "--man=no", unit) == ""


def test_it_is_hardened(unit: Path) -> None:
    said = passed(debian("systemd-analyze"), "security", "--offline=true", "--no-pager", unit)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert float(exposure) <= MOST_EXPOSURE


def test_it_starts_the_server_and_lets_transfers_finish() -> None:
    text = (DEPLOY / "longshore.service").read_text()
    (command,) = re.findall(r"^ExecStart=\S*/longshore (.*)$", text, re.MULTILINE)
    words = command.split()
    assert is_command((words[0],))
    assert {word.removeprefix("--") for word in words if word.startswith("--")} <= {
        *Settings.model_fields,
        "config",
    }
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    timeout = default_of("shutdown_timeout")
    assert isinstance(timeout, int)
    # The server may close its stores yet.
    assert int(seconds) >= timeout + 10


def test_the_timer_starts_the_backup(tmp_path: Path) -> None:
    text = (DEPLOY / "longshore-backup.service").read_text()
    (tmp_path / "longshore-backup.service").write_text(
        text.replace("/opt/longshore/.venv/bin/longshore", "/bin/true")
    )
    timer = tmp_path / "longshore-backup.timer"
    timer.write_text((DEPLOY / "longshore-backup.timer").read_text())
    assert passed(debian("systemd-analyze"), "verify", "--man=no", timer) == ""


def test_the_backup_is_a_command_as_it_is() -> None:
    text = (DEPLOY / "longshore-backup.service").read_text()
    (command,) = re.findall(r"^ExecStart=\S*/longshore (.*)$", text, re.MULTILINE)
    name, *words = command.split()
    backup = main.get_command(main.make_context("longshore", [name]), name)
    assert backup is not None
    assert backup.make_context(name, words).params["keep"] == 14


def test_the_backup_is_as_closed_as_the_server() -> None:
    server, backup = (
        (DEPLOY / name).read_text().partition("NoNewPrivileges")[2].partition("\n[")[0].strip()
        for name in ("longshore.service", "longshore-backup.service")
    )
    assert server == backup
