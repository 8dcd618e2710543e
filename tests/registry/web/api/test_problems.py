"""Refusals as problem documents: every row that this surface has of its own, and bad input of all kinds."""

import json
from typing import Any

import pytest

from registry.errors import Problem
from registry.web.api.problems import code_of
from tests.registry.web.api.conftest import ROOT, Api, As
from tests.registry.web.api.described import check
from tests.registry.web.api.refusals import BY_API
from tests.registry.web.live import Answer, Live, basic, exchange


def check_form(answer: Answer, problem: Problem, fields: tuple[str, ...] = ()) -> None:
    """Check that a refusal has the form of RFC 9457."""
    document = answer.json()
    assert (answer.status, document["code"]) == (problem.status, code_of(problem)), document
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert set(document) - {"fields"} == {"type", "title", "status", "detail", "code"}
    assert (document["type"], document["status"]) == ("about:blank", problem.status)
    assert document["title"]
    assert document["detail"]
    assert tuple(sorted(document.get("fields", ()))) == fields


async def test_every_refusal(api: As, subtests: pytest.Subtests) -> None:
    ann = api("ann")
    await ann.post("/organizations", {"name": "acme"})
    for row in BY_API:
        with subtests.test(f"{row.problem.name} {row.method} {row.path[:40]} {str(row.body)[:40]}"):
            body = row.body if row.body is None or isinstance(row.body, bytes) else json.dumps(row.body)
            content = body.encode() if isinstance(body, str) else body
            headers = {**ann.headers, "Content-Type": "application/json", **row.headers}
            answer = await ann.live.client.send(row.method, ROOT + row.path, content, headers)
            check_form(answer, row.problem, row.fields)
            check(row.method, ROOT + row.path, answer)


async def test_what_nobody_asked_for_is_nobody_s_business(api: As) -> None:
    assert await api("ann").outcome("GET", "/organizations?colour=red&limit=5") == (200, "")


async def test_wrong_credentials(api: As, hub: Live) -> None:
    for header in (basic("ann", "no"), "Basic !", "Bearer no", "Bearer lsp_none", "Digest x", ""):
        answer = await Api(hub, {"Authorization": header}).send("GET", "/me")
        check_form(answer, Problem.UNAUTHORIZED)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")


async def test_too_many_guesses(hub: Live) -> None:
    guess = Api(hub, {"Authorization": basic("ann", "no")})
    for _ in range(40):
        answer = await guess.send("GET", "/me")
        if answer.status != 401:
            break
    check_form(answer, Problem.TOO_MANY_REQUESTS)
    assert int(answer.headers["Retry-After"]) > 0


async def test_methods_are_named(api: As) -> None:
    answer = await api("ann").send("DELETE", "/me")
    assert answer.headers["Allow"] == "GET,HEAD,PATCH"


@pytest.mark.parametrize(
    ("path", "form"),
    [("/api", "application/problem+json"), ("/api/x", "application/problem+json"), ("/apis", "text/html")],
)
async def test_the_surface_decides_about_the_form(hub: Live, path: str, form: str) -> None:
    answer = await hub.client.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, f"{form}; charset=utf-8")


async def test_body_in_chunks_is_bounded_too(api: As, hub: Live) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 16384

    headers = {**api("ann").headers, "Content-Type": "application/json"}
    answer = await hub.client.send("PATCH", f"{ROOT}/me", endless(), headers)
    check_form(answer, Problem.BODY_TOO_LARGE)


async def test_names_are_written_in_every_way(api: As, hub: Live) -> None:
    line = f"GET {ROOT}/users/%61nn HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('bob')}\r\n\r\n"
    status, _, body = await exchange(hub, line.encode())
    assert (status, json.loads(body)["name"]) == (200, "ann")
