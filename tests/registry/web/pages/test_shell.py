"""The frame of all pages: headers, forms, notices, refusals, compression."""

import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from auth.identity import ANONYMOUS, Identity
from registry.errors import Problem, RegistryError
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from registry.web.pages.assets import Assets
from registry.web.pages.shell import Shell, local_path, see_other
from registry.web.pages.theme import Theme

ALICE = Identity(1, "alice")


@dataclass(frozen=True)
class Known:
    """Whoever the cookie `who` names."""

    identity: Identity = ANONYMOUS
    csrf: str = ""


class ByCookie:
    """Callers for tests."""

    async def identify(self, request: web.Request) -> Known:
        return Known(ALICE, "proof") if request.cookies.get("who") == "alice" else Known()


Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of an application with one page that shows what a form sent."""
    origins, assets = Origins(None, ()), Assets()
    shell = Shell(ByCookie(), origins, assets)

    async def show(request: web.Request) -> web.StreamResponse:
        await shell.enter(request)
        return shell.render(request, "refusal.html", error=RegistryError(Problem.INVALID, "<b>words</b>"))

    async def guarded(request: web.Request) -> web.StreamResponse:
        visitor = await shell.require_login(request)
        return web.Response(text=visitor.name)

    async def send(request: web.Request) -> web.StreamResponse:
        await shell.enter(request)
        return web.json_response(dict(await shell.read_form(request)))

    async def leave(request: web.Request) -> web.StreamResponse:
        return see_other("/show?a=1", notice="saved")

    async def fail(request: web.Request) -> web.StreamResponse:
        raise RegistryError(Problem[request.match_info["problem"]], retry_after=7)

    app = web.Application(middlewares=[error_middleware(origins, "hub", {"": shell.render_refusal})])
    app.add_routes(
        [
            web.get("/show", show),
            web.get("/guarded", guarded),
            web.post("/send", send),
            web.get("/leave", leave),
            web.get("/fail/{problem}", fail),
            *assets.routes(),
            *Theme(shell, origins).routes(),
        ]
    )
    async with TestClient(TestServer(app)) as client:
        yield client


def policy_of(headers: Any) -> dict[str, str]:
    parts = (each.strip().partition(" ") for each in headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


async def test_headers(client: Client) -> None:
    answer = await client.get("/show")
    policy = policy_of(answer.headers)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_pages_of_the_logged_in_are_kept_nowhere(client: Client) -> None:
    answer = await client.get("/show", cookies={"who": "alice"})
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "alice" in await answer.text()


async def test_values_are_escaped(client: Client) -> None:
    text = await (await client.get("/show")).text()
    assert "<b>words" not in text
    assert "&lt;b&gt;words" in text


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, br", "gzip"), ("br", None), ("gzip;q=0", None), ("", None)]
)
async def test_pages_are_compressed(client: Client, accepted: str, encoding: str | None) -> None:
    answer = await client.get("/show", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert "<!doctype html>" in await answer.text()


@pytest.mark.parametrize(
    ("cookie", "headers", "csrf", "status"),
    [
        ("alice", {}, "proof", 200),
        ("alice", {}, "", 403),
        ("alice", {}, "prooF", 403),
        ("alice", {"Sec-Fetch-Site": "cross-site"}, "proof", 403),
        ("alice", {"Sec-Fetch-Site": "same-site"}, "proof", 403),
        ("alice", {"Sec-Fetch-Site": "same-origin"}, "proof", 200),
        ("", {}, "", 200),
        ("", {"Origin": "http://elsewhere.example"}, "", 403),
        ("", {"Origin": "null"}, "", 403),
        ("", {"Sec-Fetch-Site": "cross-site"}, "", 403),
    ],
)
async def test_forms_are_taken_from_our_pages_alone(
    client: Client, cookie: str, headers: dict[str, str], csrf: str, status: int
) -> None:
    answer = await client.post(
        "/send", data={"csrf": csrf, "text": "a\r\nb"}, headers=headers, cookies={"who": cookie}
    )
    assert answer.status == status
    if status == 200:
        assert await answer.json() == {"text": "a\nb"}


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        ("NOT_HERE", 404, "There is nothing here"),
        ("DENIED", 403, "not yours to do"),
        ("TOO_MANY_REQUESTS", 429, "Try again in 7 seconds"),
        ("INTERNAL", 500, "Something broke"),
        ("UNAVAILABLE", 503, "One moment"),
    ],
)
async def test_refusals_are_pages(client: Client, problem: str, status: int, words: str) -> None:
    answer = await client.get(f"/fail/{problem}")
    assert (answer.status, answer.content_type) == (status, "text/html")
    assert words in await answer.text()


async def test_an_unknown_path_is_a_page(client: Client) -> None:
    answer = await client.get("/no/such")
    assert (answer.status, answer.content_type) == (404, "text/html")


async def test_signing_in_is_offered_where_it_is_needed(client: Client) -> None:
    answer = await client.get("/guarded?a=1&b=2", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2Fguarded%3Fa%3D1%26b%3D2")
    answer = await client.get("/guarded", cookies={"who": "alice"})
    assert await answer.text() == "alice"


async def test_a_notice_is_a_code(client: Client) -> None:
    answer = await client.get("/leave", allow_redirects=False)
    assert answer.headers["Location"] == "/show?a=1&notice=saved"
    assert "Your changes are saved" in await (await client.get("/show?notice=saved")).text()
    assert "mischief" not in await (await client.get("/show?notice=mischief")).text()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/r/team/app?a=1", "/r/team/app?a=1"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("https://elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nb", "/"),
        ("", "/"),
        (None, "/"),
        ("/" + "a" * 2000, "/"),
    ],
)
def test_local_path(text: str | None, path: str) -> None:
    assert local_path(text) == path


@pytest.mark.parametrize(
    ("theme", "attribute", "kept"), [("dark", 'data-theme="dark"', True), ("system", "data-theme=", False)]
)
async def test_theme(client: Client, theme: str, attribute: str, kept: bool) -> None:
    answer = await client.post("/theme", data={"theme": theme, "next": "/show"}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/show")
    text = await (await client.get("/show", cookies={"theme": theme})).text()
    assert (f'<html lang="en" {attribute}' in text) is kept


async def test_static_files_are_kept_for_ever(client: Client) -> None:
    assets = Assets()
    answer = await client.get(assets.url("longshore.css"), headers={"Accept-Encoding": "gzip"})
    assert (answer.content_type, answer.headers["Content-Encoding"]) == ("text/css", "gzip")
    assert "immutable" in answer.headers["Cache-Control"]
    old = await client.get("/static/0123456789abcdef/longshore.css")
    assert (old.status, old.headers["Cache-Control"]) == (200, "no-cache")
    assert (await client.get(assets.url("longshore.css").replace("longshore.css", "no.css"))).status == 404


@pytest.mark.parametrize("make", [lambda: see_other("/", notice="mischief"), lambda: Assets().url("no.css")])
def test_what_is_not_there_is_noticed_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(KeyError):
        make()


def test_compressed_files_are_what_they_were() -> None:
    for file in Assets()._files.values():
        assert file.compressed is None or gzip.decompress(file.compressed) == file.content
