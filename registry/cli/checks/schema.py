"""The schema of the database."""

from collections.abc import Sequence
from typing import Final

from registry.cli.checks.findings import Finding, fault, ok, warning

DATABASE: Final = "database"


def judge_revision(found: str | None, known: Sequence[str]) -> Finding:
    """Judge the schema's revision against those that this program knows, its own first."""
    if found is None:
        return warning(DATABASE, "there is no schema of longshore in it", "the first start makes it")
    if found == known[0]:
        return ok(DATABASE, f"the schema is at {found}, as this program has it")
    if found in known:
        words = f"the schema is at {found}, this program's at {known[0]}"
        return warning(DATABASE, words, "the next start brings it up to date; make a backup before")
    words = f"the schema is at {found}, which this program does not know"
    return fault(DATABASE, words, "run the newer longshore that made it, or restore a backup from before it")
