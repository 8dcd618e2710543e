"""A short run of the fuzzer over what strangers reach first; `make fuzz` is the long one."""

import subprocess
import sys

import pytest

from tests.e2e.clients import ROOT
from tests.fuzz.parsers import EXPOSED, PARSERS

RUNS = 5000


def fuzz(*words: str) -> tuple[int, str]:
    """Run the fuzzer; return its exit code and what it says."""
    argv = [sys.executable, "-m", "tests.fuzz", "--runs", str(RUNS), *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    return done.returncode, done.stdout


def test_nothing_is_found() -> None:
    code, said = fuzz("exposed")
    assert code == 0, said
    assert said.endswith(f"fuzz: {len(EXPOSED)} parsers; broken: none\n")


def test_what_is_broken_is_found() -> None:
    code, said = fuzz("--table", "tests.fuzz.broken")
    assert code == 1, said
    assert "ZeroDivisionError: what nobody documented" in said
    assert said.endswith("fuzz: 1 parsers; broken: broken\n")


@pytest.mark.parametrize("name", EXPOSED)
def test_what_is_exposed_is_in_the_table(name: str) -> None:
    assert name in PARSERS
