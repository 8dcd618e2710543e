"""How much it matters how much there is: a start, and manifests, with a thousand tags and with a million."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from benchmarks.connection import WrongAnswer
from benchmarks.peers import Peer, longshore
from benchmarks.results import Measured, Row, Suite
from benchmarks.run import Plan, say
from benchmarks.small import load
from benchmarks.usage import Watch
from storage.metadata.schema import repositories, tags
from storage.metadata.sqlite import open_sqlite
from tests.e2e.clients import ROOT
from tests.e2e.process import Daemon, child_environment, free_port

_CACHE: Final = ROOT / ".cache"

# Folder, repositories, tags.
_CATALOGS: Final[Mapping[str, tuple[str, int, int]]] = {
    "1,000 tags": ("catalog-small", 100, 1_000),
    "1,000,000 tags": ("catalog", 100_000, 1_000_000),
}

_START: Final = Row("start to the first manifest, database not in memory", "s", lower=True)
_AGAIN: Final = Row("start to the first manifest", "s", lower=True)
_MANIFEST: Final = Row("manifests, each asked for once", "requests/s", "request")

_SAMPLE: Final = 1000
_WITHIN: Final = 60

# Each path has an end of its own, so that no answer is given from memory.
_SCRIPT: Final = """\
local paths = {%s}
local threads, count, id = 0, 0, 0
setup = function(thread) thread:set("id", threads); threads = threads + 1 end
request = function()
    count = count + 1
    return wrk.format(nil, paths[count %% #paths + 1] .. "?once=" .. id .. "." .. count)
end
"""


def measure(plan: Plan, suite: Suite) -> None:
    """Start over both, in turns; then ask both for manifests."""
    rows = [row for row in (_START, _AGAIN, _MANIFEST) if plan.wants(suite, row.workload)]
    if not rows:
        return
    suite.servers = [*_CATALOGS]
    folders = {name: _catalog(*catalog) for name, catalog in _CATALOGS.items()}
    paths = {name: _paths(folder) for name, folder in folders.items()}
    for number in range(plan.rounds):
        for name, data in folders.items():
            for row in rows:
                folder = plan.folder / "server"
                if row is _MANIFEST:
                    value = _manifests(suite, folder, data, name, paths[name], plan.seconds)
                else:
                    value = _start(folder, data, paths[name][0], cold=row is _START)
                    suite.note(row, name, Measured(value))
                say(suite, number, row, name, value)
                shutil.rmtree(folder)


def _catalog(name: str, repositories: int, tags: int) -> Path:
    """Return the folder of a catalog, which is made once."""
    folder = _CACHE / name
    if not folder.exists():
        size = ("--repositories", str(repositories), "--tags", str(tags))
        argv = (sys.executable, "-m", "benchmarks.load_catalog", "--data", folder, *size)
        subprocess.run(argv, check=True, cwd=ROOT, stdout=sys.stderr)
    return folder


def _paths(data: Path) -> Sequence[str]:
    """Return paths of manifests of public repositories, by chance."""
    public = (
        select(repositories.c.name, tags.c.name)
        .join(tags, tags.c.repository_id == repositories.c.id)
        .where(repositories.c.is_public)
        .order_by(func.random())
        .limit(_SAMPLE)
    )
    with open_sqlite(data / "longshore.db", begin=None).connect() as db:
        return [f"/v2/{repository}/manifests/{tag}" for repository, tag in db.execute(public)]


def _start(folder: Path, data: Path, path: str, *, cold: bool) -> float:
    """Return the seconds from the command to the first manifest."""
    folder.mkdir()
    port = free_port()
    argv = (sys.executable, "-m", "registry.cli", "serve", "--port", str(port), "--data", data)
    daemon = Daemon(argv, folder / "log", child_environment(LONGSHORE_LOG_LEVEL="warning"), cwd=ROOT)
    if cold:
        _forget(data)
    began = time.perf_counter()
    daemon.start()
    try:
        while not _has(port, path):
            if time.perf_counter() - began > _WITHIN:
                raise WrongAnswer(f"not there within {_WITHIN} seconds: {daemon.log_tail()}")
            time.sleep(0.002)
        return time.perf_counter() - began
    finally:
        daemon.stop()


def _has(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_WITHIN)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
    except (OSError, HTTPException):
        return False
    else:
        if answer.status != 200:
            raise WrongAnswer(f"{path}: {answer.status}")
        return bool(answer.read())
    finally:
        connection.close()


def _forget(data: Path) -> None:
    """Let the kernel forget what it has read of the database."""
    for file in data.glob("longshore.db*"):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _manifests(
    suite: Suite, folder: Path, data: Path, name: str, paths: Sequence[str], seconds: int
) -> float:
    """Ask for a thousand manifests in turn; some seconds first, so that both are in memory alike."""
    script = folder.with_suffix(".lua")
    script.write_text(_SCRIPT % ", ".join(f'"{path}"' for path in paths))
    # Public: a caller without an account is looked at as well.
    with longshore(LONGSHORE_DATA=str(data)).running(folder) as peer:
        anonymous = replace(peer, headers={})
        _load(anonymous, paths, 1, script)
        with Watch(peer.pid) as watch:
            measured = _load(anonymous, paths, seconds, script)
        suite.note(_MANIFEST, name, measured, watch)
    return measured.value


def _load(peer: Peer, paths: Sequence[str], seconds: int, script: Path) -> Measured:
    done = load(peer, paths[0], {}, seconds, script)
    return Measured(done.rate, done.count)
