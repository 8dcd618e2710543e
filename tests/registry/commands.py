"""Commands as tests give them, in this process, and the data that they leave."""

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from registry.cli import main
from registry.config import Settings
from registry.installation import prepare_database
from storage.metadata.engine import Connection
from storage.metadata.sqlite import open_sqlite


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run commands in a folder of the test's own, with none of the machine's settings and cheap passwords."""
    for name in [name for name in os.environ if name.startswith("LONGSHORE_")]:
        monkeypatch.delenv(name)
    for name, value in {"TIME_COST": "1", "MEMORY_COST": "1024", "PARALLELISM": "1"}.items():
        monkeypatch.setenv(f"LONGSHORE_PASSWORD_{name}", value)
    monkeypatch.chdir(folder)


def run(*words: str | Path, stdin: str = "", **settings: str) -> Result:
    """Run a command in this process; whatever was wrong, it must have been told in words."""
    env = {f"LONGSHORE_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(main, list(map(str, words)), input=stdin, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result


def done(*words: str | Path, stdin: str = "", **settings: str) -> str:
    """Run a command that goes well and return what it prints."""
    result = run(*words, stdin=stdin, **settings)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str | Path, stdin: str = "", **settings: str) -> str:
    """Return the words of a refusal, without the leading `Error: `."""
    result = run(*words, stdin=stdin, **settings)
    # 1 is what a check found.
    assert result.exit_code == (2 if words[0] == "check" else 1), result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").strip()


def rows_of(output: str) -> list[list[str]]:
    """Read a table; its columns are two blanks apart at least."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines()]


class Stored:
    """The database as the commands see it, for arrangements and for a look at what came of them."""

    def __init__(self, data: Path) -> None:
        settings: dict[str, Any] = {"data": data, "password_time_cost": 1, "password_memory_cost": 1024}
        self.settings = Settings.model_validate(settings)
        prepare_database(self.settings)
        self._engine = open_sqlite(data / "longshore.db", begin="BEGIN IMMEDIATE")

    def __enter__(self) -> Connection:
        self._transaction = self._engine.begin()
        return self._transaction.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._transaction.__exit__(*error)
        self._engine.dispose()
