"""Tokens by `/token`: how long each way takes, and what becomes of pulls while passwords are hashed."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from threading import Event
from typing import Final
from urllib.parse import urlencode

from benchmarks.connection import Connection, WrongAnswer, request
from benchmarks.large import MIB, Source
from benchmarks.latency import probing
from benchmarks.peers import REPOSITORY, Peer, longshore
from benchmarks.results import OURS, Measured, Row, Suite
from benchmarks.run import Plan, say
from benchmarks.usage import Watch
from benchmarks.workloads import ACCEPT, MANIFESTS, Bench
from tests.e2e.clients import ROOT
from tests.e2e.server import ADMIN

_PASSWORDS: Final = 30
_OTHERS: Final = 200
_AT_ONCE: Final = 4
_BUSY_SECONDS: Final = 5

_SCOPE: Final = {"service": "longshore", "scope": f"repository:{REPOSITORY}:pull,push"}


def measure(plan: Plan, suite: Suite) -> None:
    """Measure each way to a token, and manifests beside many of them."""
    with longshore().running(plan.folder / "server") as peer:
        source = Source.make(plan.folder / "source", MIB, "tokens")
        bench = Bench(peer, source, source)
        bench.fill()
        ways = _ways(peer)
        suite.servers = [OURS]
        for number in range(plan.rounds):
            for name, (ask, count) in ways.items():
                if plan.wants(suite, name):
                    _note_way(suite, number, peer, name, ask, count)
            for name, busy in (("no logins", False), (f"{_AT_ONCE} log in by password all the time", True)):
                row = Row(f"manifest by tag while {name}, p99", "ms", lower=True)
                if plan.wants(suite, row.workload):
                    value = _manifests(bench, ways["password"][0] if busy else None)
                    suite.note(row, OURS, Measured(value))
                    say(suite, number, row, OURS, value)


def _note_way(suite: Suite, number: int, peer: Peer, name: str, ask: bytes, count: int) -> None:
    with Watch(peer.pid) as watch:
        took = asyncio.run(_one_by_one(peer, ask, count))
    p99 = quantiles(took, n=100, method="inclusive")[98]
    for kind, value in (("median", median(took)), ("p99", p99)):
        row = Row(f"token by {name}, {kind}", "ms", "request" if kind == "median" else "", lower=True)
        suite.note(row, OURS, Measured(value * 1000, count), watch)
        say(suite, number, row, OURS, value * 1000)


def _ways(peer: Peer) -> Mapping[str, tuple[bytes, int]]:
    """Return the requests for a token, each with how often to send it."""
    by_password = _basic(ADMIN.name, ADMIN.password)
    refresh = asyncio.run(_refresh_token(peer, by_password))
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "benchmark", **_SCOPE}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    by_refresh = request("POST", "/token", peer.host, kind, urlencode(form).encode())
    return {
        "password": (_get(peer, by_password), _PASSWORDS),
        "personal access token": (_get(peer, _basic(ADMIN.name, _access_token(peer))), _OTHERS),
        "refresh token": (by_refresh, _OTHERS),
    }


def _get(peer: Peer, headers: Mapping[str, str], **more: str) -> bytes:
    return request("GET", f"/token?{urlencode({**_SCOPE, **more})}", peer.host, headers)


def _basic(name: str, password: str) -> Mapping[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def _access_token(peer: Peer) -> str:
    words = ("token", "create", ADMIN.name, "benchmark", "--permission", "write", "--data", peer.data)
    argv = (sys.executable, "-m", "registry.cli", *words)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    return next(word for word in done.stdout.split() if word.startswith("lsp_"))


async def _refresh_token(peer: Peer, headers: Mapping[str, str]) -> str:
    connection = await Connection.open(peer.host)
    more = {"offline_token": "true", "client_id": "benchmark"}
    answer = await connection.send(_get(peer, headers, **more), status=200)
    await connection.close()
    return str(json.loads(answer.body)["refresh_token"])


async def _one_by_one(peer: Peer, ask: bytes, count: int) -> list[float]:
    connection, took = await Connection.open(peer.host), []
    for _ in range(count):
        began = time.perf_counter()
        answer = await connection.send(ask, status=200)
        took.append(time.perf_counter() - began)
        if not json.loads(answer.body)["token"]:
            raise WrongAnswer(f"no token: {answer.body!r}")
    await connection.close()
    return took


def _manifests(bench: Bench, login: bytes | None) -> float:
    """Return the p99 of manifests in milliseconds, maybe while others log in."""
    stop = Event()
    target, content = f"{MANIFESTS}/tag-000", bench.content.manifest.data
    with ThreadPoolExecutor(1) as threads, probing(bench.peer, target, ACCEPT, content) as probe:
        logins = threads.submit(asyncio.run, _log_in(bench.peer, login, stop.is_set)) if login else None
        time.sleep(_BUSY_SECONDS)
        took = probe.finish()
        stop.set()
        if logins is not None:
            logins.result()
    return took.p99 * 1000


async def _log_in(peer: Peer, ask: bytes, done: Callable[[], bool]) -> None:
    async def again_and_again() -> None:
        connection = await Connection.open(peer.host)
        while not done():
            await connection.send(ask, status=200)
        await connection.close()

    await asyncio.gather(*(again_and_again() for _ in range(_AT_ONCE)))
