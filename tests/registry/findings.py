"""What `longshore doctor` found, as tests look at it."""

from collections.abc import Sequence

from registry.cli.checks.findings import Finding


def told(findings: Sequence[Finding], words: str) -> Finding:
    """Return the one finding with these words; what is not right comes with advice."""
    assert all(each.advice for each in findings if each.result != "ok")
    (found,) = [each for each in findings if words in each.found]
    return found


def faults_in(findings: Sequence[Finding]) -> list[str]:
    """Return what was found to be at fault, each with advice."""
    assert all(each.advice for each in findings if each.result != "ok")
    return [each.found for each in findings if each.result == "fault"]
