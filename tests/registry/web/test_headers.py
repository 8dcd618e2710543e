"""The headers that keep browsers from making something of an answer: all routes, all kinds of refusal."""

import re
from collections.abc import Mapping
from typing import Final

import pytest

from tests.registry.web.conftest import Serving
from tests.registry.web.live import Client, Live, connect

# What stands in the place of a path's variables: nothing by these names is there.
VARIABLES: Final = {
    "digest": f"sha256:{'0' * 64}",
    "reference": "v1",
    "name": "team/app",
    "id": "1",
    "version": "0",
    "file": "base.css",
}

CSP: Final = "Content-Security-Policy"


def routes_of(live: Live) -> list[tuple[str, str]]:
    """Return method and path of every route, with something in the place of its variables."""
    found: set[tuple[str, str]] = set()
    for route in live.runner.app.router.routes():
        assert route.resource is not None
        path = re.sub(
            r"\{(\w+)[^{}]*\}", lambda name: VARIABLES.get(name[1], "anything"), route.resource.canonical
        )
        found.add((route.method, path))
    return sorted(found)


def check(headers: Mapping[str, str], where: str, status: int) -> None:
    """Require what every answer has."""
    assert headers["X-Content-Type-Options"] == "nosniff", where
    assert headers["Server"] == "longshore", where  # and neither a language nor a version
    assert "default-src 'none'" in headers[CSP], where
    assert "frame-ancestors 'none'" in headers[CSP], where
    assert "unsafe-eval" not in headers[CSP], where
    assert "Access-Control-Allow-Origin" not in headers, where
    if headers.get("Content-Type", "").startswith("text/html"):
        assert "script-src 'self'" in headers[CSP], where
        assert "unsafe-inline" not in headers[CSP], where
        assert headers["Referrer-Policy"] == "same-origin", where
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", where
        assert "private" in headers["Cache-Control"], where
    if status == 401:
        assert "WWW-Authenticate" in headers, where


async def ask_everything(live: Live, client: Client) -> set[int]:
    """Ask every route with every header checked; return the statuses."""
    statuses: set[int] = set()
    asked = routes_of(live)
    assert len(asked) > 150
    for method, path in asked:
        if path.endswith("/-/events"):
            continue  # it has no end: see below
        answer = await client.send(method, path, b"" if method in ("POST", "PUT", "PATCH") else None)
        assert answer.status < 500, (method, path)
        check(answer.headers, f"{method} {path}: {answer.status}", answer.status)
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"]), path
        statuses.add(answer.status)
    return statuses


async def test_every_route_sends_the_headers_to_a_stranger(live: Live) -> None:
    assert {200, 303, 401, 404} <= await ask_everything(live, live.client)


async def test_every_route_sends_the_headers_to_who_may_do_everything(open_live: Live) -> None:
    await open_live.client.push_blob("team/app", b"a repository")
    assert {200, 303, 404, 415} <= await ask_everything(open_live, open_live.client)


async def test_streams_of_events_send_the_headers(open_live: Live) -> None:
    await open_live.client.push_blob("team/app", b"a repository")
    paths = [path for _, path in routes_of(open_live) if path.endswith("/-/events")]
    assert len(paths) >= 2
    for path in paths:
        async with connect(open_live) as raw:
            await raw.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, headers = await raw.read_head()
        assert (status, headers["x-content-type-options"], headers["server"]) == (200, "nosniff", "longshore")
        assert "frame-ancestors 'none'" in headers[CSP.lower()]


KINDS: Final = {
    "no such path": b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "no such path of programs": b"GET /v2/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "no such method": b"BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method of this path": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS": b"OPTIONS /v2/ HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "a head that is too large": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
    "a body that is too large": b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
}


@pytest.mark.parametrize("words", KINDS)
async def test_every_kind_of_refusal_sends_the_headers(live: Live, words: str) -> None:
    async with connect(live) as raw:
        await raw.write(KINDS[words])
        status, headers = await raw.read_head()
    assert status >= 400
    assert (headers["x-content-type-options"], headers["server"]) == ("nosniff", "longshore")
    assert "frame-ancestors 'none'" in headers[CSP.lower()]


async def test_an_answer_from_memory_sends_the_headers(open_live: Live) -> None:
    await open_live.client.push_blob("team/app", b"a repository")
    for _ in range(3):
        check((await open_live.client.get("/v2/team/app/tags/list")).expect(200).headers, "tags", 200)


async def test_a_failure_of_ours_sends_the_headers(serving: Serving) -> None:
    async with serving(auth="off") as live:
        live.change(lambda db: db.exec_driver_sql("ALTER TABLE repositories RENAME TO gone"))
        for path in ("/v2/a/b/tags/list", "/api/v1/repositories", "/"):
            answer = await live.client.get(path)
            assert answer.status == 500
            check(answer.headers, path, 500)
