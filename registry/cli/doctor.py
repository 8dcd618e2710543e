"""`longshore doctor`: is the deployment as it should be, and what to do where it is not."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from registry.cli.checks.findings import Finding, examine
from registry.cli.output import print_table
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--external-url", metavar="URL", help="Where clients reach the registry, if the settings do not say."
)
@with_settings
def doctor(loaded: Loaded, as_json: bool) -> None:
    """Check the deployment that the settings describe, and say what to do where it is not right.

    The server is to be running. Nothing is changed, and nothing is left behind. The exit code is 1 if there
    is a fault, and 0 otherwise, with warnings too.
    """
    findings = asyncio.run(_examine_all(loaded.settings))
    if as_json:
        click.echo(json.dumps({"findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(findings)
    sys.exit(int(any(each.result == "fault" for each in findings)))


async def _examine_all(settings: Settings) -> Sequence[Finding]:
    # Not at the top: HTTP, the database and S3 take their time, which the other commands need not pay.
    from registry.cli.checks.plan import checks_of  # noqa: PLC0415 - as above

    # One after the other: some measure how long something takes.
    return [finding for check in checks_of(settings) for finding in await examine(check)]


def _print(findings: Sequence[Finding]) -> None:
    lines = [(each.check, each.result, each.found, each.advice) for each in findings]
    print_table(("check", "result", "found", "what to do"), lines)
    counts = {result: sum(each.result == result for each in findings) for result in ("fault", "warning")}
    click.echo()
    click.echo(", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items()))
