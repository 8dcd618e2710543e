"""Known vulnerabilities in the locked packages: `python -m tests.audit`, which is `make audit`.

pip-audit passes over what its service does not answer for and ends well all the same. Whoever asks must know
that they were answered: so a service is asked first about a release whose holes are known to everybody, and
believed about ours only where it names them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")

# CVE-2019-10906 and more.
KNOWN_BAD: Final = "jinja2==2.4.1\n"

# A service that does not answer in this many seconds is not there.
_TIMEOUT: Final = "15"

_CLEAN, _FOUND, _NOBODY_ASKED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Service:
    """Where vulnerabilities are known: words of pip-audit's command line."""

    name: str
    words: tuple[str, ...]

    def ask(self, requirements: Path) -> Sequence[dict[str, Any]] | None:
        """Return what is said of each package of a file with exact versions; None without an answer."""
        options = ["--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps"]
        argv = [sys.executable, "-m", "pip_audit", *options, "--timeout", _TIMEOUT, *self.words]
        argv += ["--requirement", str(requirements)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        try:
            said: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            return None
        return said

    def answers(self) -> bool:
        """Tell whether the service names the holes of a release that is full of them."""
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder) / "known-bad.txt"
            requirements.write_text(KNOWN_BAD)
            said = self.ask(requirements)
        return said is not None and any(each.get("vulns") for each in said)


def services(osv_url: str | None) -> tuple[Service, ...]:
    """Return the services in the order in which they are tried."""
    if osv_url is not None:
        return (Service(osv_url, ("--vulnerability-service", "osv", "--osv-url", osv_url)),)
    return tuple(Service(name, ("--vulnerability-service", name)) for name in ("pypi", "osv"))


def faults(said: Sequence[dict[str, Any]] | None) -> Iterator[str]:
    """Yield what is wrong with the packages of one lock file, a line each."""
    if not said:
        yield "the service went silent in the middle"
        return
    for each in said:
        if "skip_reason" in each:
            yield f"{each['name']}: nobody knows: {each['skip_reason']}"
        for hole in each.get("vulns", ()):
            fixed = ", ".join(hole["fix_versions"]) or "no release yet"
            yield f"{each['name']} {each['version']}: {hole['id']}, fixed in {fixed}"


def main(words: Sequence[str] | None = None) -> int:
    """Ask about every locked package; return the exit code: 0 none, 1 some, 2 nobody could be asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=main.__doc__)
    parser.add_argument("--where-possible", action="store_true", help="0 also where no service answers")
    parser.add_argument("--osv-url", help="the only service to ask, which speaks like api.osv.dev")
    options = parser.parse_args(words)
    service = next((each for each in services(options.osv_url) if each.answers()), None)
    if service is None:
        say("NOT AUDITED: no vulnerability service answers here; run `make audit` where one does")
        return _CLEAN if options.where_possible else _NOBODY_ASKED
    found = [line for lock in LOCKS for line in faults(service.ask(lock))]
    for line in found:
        say(line)
    say(f"{service.name} was asked about {', '.join(each.name for each in LOCKS)}: {len(found)} findings")
    return _FOUND if found else _CLEAN


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"audit: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
