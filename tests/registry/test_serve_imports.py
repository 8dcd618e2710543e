"""What the processes of a server import: it stays in their memory for as long as they run."""

import subprocess
import sys
from typing import Final

import pytest

from tests.e2e.clients import ROOT

_IMPORTED: Final = "import sys, registry.cli.serve, {module}; print(*sys.modules)"

FOR_WORKERS: Final = {
    "aiohttp",
    "asyncpg",
    "boto3",
    "jinja2",
    "registry.app",
    "registry.installation",
    "sqlalchemy",
}
FOR_COMMANDS: Final = {
    "alembic",
    "registry.cli.data",
    "registry.cli.doctor",
    "registry.cli.output",
    "rich",
    "sqlalchemy.orm",
}


def imported_with(module: str) -> set[str]:
    program = [sys.executable, "-c", _IMPORTED.format(module=module)]
    return set(subprocess.run(program, capture_output=True, cwd=ROOT, check=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        # The process that watches the workers.
        ("registry.server", FOR_WORKERS | FOR_COMMANDS),
        # Those that serve; boto3 comes with a bucket.
        ("registry.worker", FOR_COMMANDS | {"boto3", "botocore"}),
    ],
)
def test_what_is_not_needed_is_not_imported(module: str, missing: set[str]) -> None:
    found = imported_with(module)
    assert module in found
    assert found & missing == set()
