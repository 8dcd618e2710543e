"""Answers given again are those that would be given anew: the same requests go to a server with memory and to
one without, over the same data, while everything changes between them."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import pytest
from aiohttp import web

from auth.policy import Role
from registry.app import make_app
from registry.web import recall
from tests.registry.web.conftest import Serving
from tests.registry.web.content import image, push_image
from tests.registry.web.live import Answer, Client, Live

APP: Final = "team/app"
SMALL: Final = b"a small blob"
SMALL_DIGEST: Final = f"sha256:{hashlib.sha256(SMALL).hexdigest()}"

# These differ between any two answers.
_OWN: Final = {"Date", "X-Request-ID"}


@dataclass(frozen=True, slots=True)
class Both:
    """Two servers over the same data."""

    live: Live
    ordinary: str
    """Where the one answers that remembers nothing."""

    async def ask(self, client: Client, method: str, target: str, headers: dict[str, str]) -> Answer:
        """Ask both, the one with memory twice, and require that the answers are the same."""
        forgetful = replace(client, base=self.ordinary)
        wanted = await forgetful.send(method, target, None, headers)
        for _ in range(2):
            given = await client.send(method, target, None, headers)
            assert (given.status, given.body) == (wanted.status, wanted.body), (method, target, headers)
            assert said(given) == said(wanted), (method, target, headers)
        return wanted


def said(answer: Answer) -> list[tuple[str, str]]:
    """Return the headers in which answers must agree."""
    headers = [(name, value) for name, value in answer.headers.items() if name not in _OWN]
    # A challenge names the address that was asked.
    return sorted((name, "" if name == "WWW-Authenticate" else value) for name, value in headers)


@contextlib.asynccontextmanager
async def both(live: Live) -> AsyncIterator[Both]:
    runner = web.AppRunner(await make_app(live.settings), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Both(live, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


async def prepared(live: Live) -> dict[str, Client]:
    """Push something, and return clients with tokens for it."""
    for name in ("team", "reader", "stranger"):
        live.add_account(name)
    owner = await live.login("team", f"repository:{APP}:*")
    await push_image(owner, APP, "v1", "v2")
    await owner.push_blob(APP, SMALL)
    live.grant(Role.READ, APP, "reader")
    scope = f"repository:{APP}:pull"
    return {
        "owner": owner,
        "reader": await live.login("reader", scope),
        "stranger": await live.login("stranger", scope),
        "nobody": live.client,
        "forger": live.client.with_token("not.a.token"),
    }


TARGETS: Final = (
    f"/v2/{APP}/manifests/v1",
    f"/v2/{APP}/manifests/v2",
    f"/v2/{APP}/manifests/v3",
    f"/v2/{APP}/manifests/{image(b'layer').digest}",
    f"/v2/{APP}/blobs/{SMALL_DIGEST}",
    f"/v2/{APP}/tags/list",
    f"/v2/{APP}/tags/list?n=1",
    "/v2/",
)

HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"If-None-Match": f'"{image(b"layer").digest}"'},
    {"Range": "bytes=2-5"},
    {"Range": "bytes=900-"},
    {"Accept": "application/vnd.oci.image.manifest.v1+json"},
    {"X-Request-ID": "from-a-proxy"},
    {"X-Request-ID": "no id, which is replaced"},
)


@pytest.mark.parametrize("seed", range(6))
async def test_memory_changes_no_answer(live: Live, seed: int) -> None:
    random = Random(seed)
    clients = await prepared(live)
    owner = clients["owner"]

    async def move() -> None:
        await push_image(owner, APP, random.choice(["v1", "v2", "v3"]), layers=[random.randbytes(4)])

    async def delete() -> None:
        await owner.delete(f"/v2/{APP}/manifests/{random.choice(['v2', 'v3'])}")

    async def grant() -> None:
        live.grant(random.choice([Role.READ, None]), APP, "reader")

    async def publish() -> None:
        live.publish(APP, public=random.random() < 0.5)

    async def disable() -> None:
        live.disable("reader", disabled=random.random() < 0.5)

    changes: tuple[Callable[[], Awaitable[None]], ...] = (move, delete, grant, publish, disable)
    async with both(live) as servers:
        for _ in range(60):
            if random.random() < 0.3:
                await random.choice(changes)()
            client = clients[random.choice(list(clients))]
            method = random.choice(["GET", "GET", "HEAD"])
            await servers.ask(client, method, random.choice(TARGETS), random.choice(HEADERS))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of answers that are given again."""
    paths: list[str] = []
    note = recall.Recall._note

    def noting(
        self: recall.Recall, known: recall._Answer, remote: str | None, started: float, request_id: str
    ) -> None:
        paths.append(known.asked.path)
        note(self, known, remote, started, request_id)

    monkeypatch.setattr(recall.Recall, "_note", noting)
    return paths


@pytest.mark.parametrize("target", TARGETS[:2] + TARGETS[3:6])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_pull_is_answered_from_memory(live: Live, kept: list[str], method: str, target: str) -> None:
    if method == "HEAD" and "tags" in target:
        return
    client = (await prepared(live))["reader"]
    answers = [await client.send(method, target) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert kept == [target] * 2
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 3


async def test_request_id_of_the_client_comes_back(live: Live, kept: list[str]) -> None:
    """Also where each request has another one, as behind nginx: that is no reason to ask anew."""
    client = (await prepared(live))["reader"]
    for name, own in (("X-Request-ID", "mine"), ("X-Request-ID", "mine"), ("x-request-id", "yours")):
        answer = await client.send("GET", TARGETS[0], None, {name: own})
        assert answer.headers["X-Request-ID"] == own
    assert kept == [TARGETS[0]] * 2


async def test_commit_of_another_process_ends_what_is_kept(live: Live, kept: list[str]) -> None:
    client = (await prepared(live))["reader"]
    for _ in range(2):
        (await client.get(TARGETS[0])).expect(200)
    assert len(kept) == 1
    live.disable("reader")
    (await client.get(TARGETS[0])).expect(401)
    live.disable("reader", disabled=False)
    (await client.get(TARGETS[0])).expect(200)


async def test_nothing_is_kept_longer_than_a_second(
    live: Live, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = (await prepared(live))["reader"]
    monkeypatch.setattr(recall, "_LASTS", -1.0)
    for _ in range(3):
        (await client.get(TARGETS[0])).expect(200)
    assert not kept


async def test_memory_is_bounded(live: Live, kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = (await prepared(live))["reader"]
    monkeypatch.setattr(recall, "_MAX_BYTES", 0)
    for _ in range(3):
        (await client.get(TARGETS[0])).expect(200)
    assert not kept


async def test_what_is_answered_from_memory_is_counted(serving: Serving, kept: list[str]) -> None:
    async with serving(metrics="open") as live:
        client = (await prepared(live))["reader"]
        await asyncio.gather(*(client.get(TARGETS[0]) for _ in range(7)))
        (await client.get(TARGETS[0])).expect(200)
        metrics = (await live.client.get("/metrics")).body.decode()
        assert kept
        await live.runner.cleanup()
        pulls = live.change(lambda db: db.exec_driver_sql("SELECT sum(pulls) FROM statistics").scalar())
    line = 'longshore_http_requests_total{method="GET",route="/v2/{name}/manifests/{reference}",status="200"}'
    assert f"{line} 8.0" in metrics
    assert pulls == 8
