"""Small requests by the thousand, sent by wrk: what it counts, and what it must not count as answered."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.clients import debian

CONNECTIONS: Final = 16

_RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_P99: Final = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_WRONG: Final = re.compile(r"^\s+(Non-2xx or 3xx responses|Socket errors): (.*)$", re.MULTILINE)
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured: requests a second, and the seconds that 99 of 100 took at most."""

    rate: float
    p99: float


def load(url: str, headers: Mapping[str, str], seconds: int) -> Load:
    """GET the same again and again. (wrk cannot HEAD: it waits for the body that Content-Length tells of.)

    Raises:
        SystemExit: an answer was none of 2xx or 3xx, or a connection broke.
    """
    argv: list[str | Path] = [debian("wrk"), "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    done = subprocess.run([*argv, url], capture_output=True, text=True, check=True)
    wrong = _WRONG.search(done.stdout)
    rate, p99 = _RATE.search(done.stdout), _P99.search(done.stdout)
    if wrong is not None or rate is None or p99 is None:
        raise SystemExit(f"{url}: {done.stdout}{done.stderr}")
    return Load(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])
