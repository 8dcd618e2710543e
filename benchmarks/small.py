"""Small requests by the thousand, sent by wrk: what it counts, and what it must not count as answered."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.connection import WrongAnswer
from benchmarks.peers import Peer
from tests.e2e.clients import debian

CONNECTIONS: Final = 16

_RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_COUNT: Final = re.compile(r"^\s+(\d+) requests in", re.MULTILINE)
_WRONG: Final = re.compile(r"^\s+(Non-2xx or 3xx responses|Socket errors): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured: requests a second, and how many."""

    rate: float
    count: int


def load(
    peer: Peer, target: str, headers: Mapping[str, str], seconds: int, script: Path | None = None
) -> Load:
    """GET the same again and again, or what a script in Lua says.

    Raises:
        WrongAnswer: an answer was none of 2xx or 3xx, or a connection broke.
    """
    argv: list[str | Path] = [debian("wrk"), "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    if script is not None:
        argv += ["-s", script]
    for name, value in {**peer.headers, **headers}.items():
        argv += ["-H", f"{name}: {value}"]
    done = subprocess.run([*argv, peer.url(target)], capture_output=True, text=True, check=True)
    rate, count = _RATE.search(done.stdout), _COUNT.search(done.stdout)
    if _WRONG.search(done.stdout) is not None or rate is None or count is None:
        raise WrongAnswer(f"{target}: {done.stdout}{done.stderr}")
    return Load(float(rate[1]), int(count[1]))
