"""`longshore doctor` on where clients come: what is judged of answers, and what is sent to get them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from yarl import URL

from registry.cli.checks.address import (
    Answer,
    address_of,
    check_address,
    judge_answer,
    judge_challenge,
    judge_server,
    judge_setting,
)
from registry.cli.checks.findings import Result
from registry.cli.checks.proxy import Reply, announce, check_long_headers, check_proxy, judge_reply
from registry.cli.checks.token import NoToken, make_token
from registry.config import Settings
from registry.installation import prepare_database
from registry.running import make_metrics_directory, metrics_of

URL_: Final = "https://hub.example.com"
CHALLENGE: Final = 'Bearer realm="https://hub.example.com/token",service="longshore"'


def settings_of(**values: Any) -> Settings:
    return Settings.model_validate(values)


def answer_of(status: int = 401, server: str = "longshore", **values: Any) -> Answer:
    others = {"is_registry": True, "challenge": CHALLENGE, "location": ""}
    return Answer(status, server, **{**others, **values})


# -- the setting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ({}, "ok"),
        ({"host": "::1"}, "ok"),
        ({"host": "0.0.0.0"}, "warning"),
        ({"trusted_proxies": "127.0.0.1"}, "warning"),
        ({"external_url": URL_}, "ok"),
        ({"external_url": "http://hub.example.com"}, "warning"),
        ({"external_url": "http://127.0.0.1:5000"}, "ok"),
        ({"external_url": "http://localhost:5000", "host": "0.0.0.0"}, "ok"),
    ],
)
def test_external_url(values: dict[str, str], result: Result) -> None:
    (found,) = judge_setting(settings_of(**values))
    assert found.result == result
    assert bool(found.advice) is (result != "ok")


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"external_url": URL_, "port": 1}, URL_),
        ({}, "http://127.0.0.1:5000"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::"}, "http://[::1]:5000"),
        ({"host": "hub"}, "http://hub:5000"),
        ({"port": 0}, None),
    ],
)
def test_where_it_is_asked(values: dict[str, Any], url: str | None) -> None:
    assert address_of(settings_of(**values)) == url


def test_where_it_is_asked_with_tls(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("")
    files = {"tls_certificate": tmp_path / "pem", "tls_key": tmp_path / "pem"}
    assert address_of(settings_of(**files)) == "https://127.0.0.1:5000"


# -- the answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        (answer_of(), "ok", "a registry answers"),
        (answer_of(200), "ok", "a registry answers"),
        (answer_of(301, location="https://other/v2/"), "fault", "leads elsewhere: https://other/v2/"),
        (answer_of(502, "nginx", is_registry=False), "fault", "a proxy answers 502"),
        (answer_of(503), "fault", "answered with 503"),
        (answer_of(404, "nginx", is_registry=False), "fault", "not by a registry"),
        (answer_of(200, "nginx", is_registry=False), "fault", "not by a registry"),
    ],
)
def test_answers(answer: Answer, result: Result, words: str) -> None:
    found = judge_answer(URL_, answer)
    assert found.result == result
    assert words in found.found
    assert bool(found.advice) is (result != "ok")


@pytest.mark.parametrize(
    ("answer", "auth", "result", "words"),
    [
        (answer_of(), "on", "ok", "https://hub.example.com/token"),
        (answer_of(challenge=CHALLENGE.replace("https", "http")), "on", "fault", "the scheme is another"),
        (answer_of(challenge=CHALLENGE.replace(".com", ".com:5000")), "on", "fault", "the host is another"),
        (answer_of(challenge='Basic realm="proxy"'), "on", "fault", 'comes through: Basic realm="proxy"'),
        (answer_of(challenge=""), "on", "fault", "none at all"),
        (answer_of(200), "on", "fault", "nobody is asked"),
        (answer_of(200), "off", "ok", "auth is off"),
    ],
)
def test_challenges(answer: Answer, auth: str, result: Result, words: str) -> None:
    found = judge_challenge(URL_, answer, settings_of(auth=auth))
    assert found.result == result
    assert words in found.found
    assert bool(found.advice) is (result != "ok")
    if "another" in words:
        assert "trusted_proxies" in found.advice
        assert "X-Forwarded-Proto" in found.advice


@pytest.mark.parametrize(
    ("server", "proxies", "results"),
    [
        ("longshore", "", []),
        ("nginx/1.22", "", ["warning"]),
        ("", "", ["warning"]),
        ("nginx", "10.0.0.1", ["ok"]),
    ],
)
def test_proxies(server: str, proxies: str, results: list[Result]) -> None:
    found = list(judge_server(answer_of(server=server), settings_of(trusted_proxies=proxies)))
    assert [each.result for each in found] == results


async def test_server_that_does_not_run(tmp_path: Path) -> None:
    settings = settings_of(data=tmp_path / "data", port=1)
    (_, found) = await check_address(settings)
    assert (found.result, found.advice) == ("warning", "start the server: longshore serve")
    make_metrics_directory(metrics_of(settings))  # as a server that runs has one
    (_, found) = await check_address(settings)
    assert found.result == "fault"
    assert await check_proxy(settings) == []


async def test_external_url_that_nobody_answers(tmp_path: Path) -> None:
    (_, found) = await check_address(settings_of(data=tmp_path / "data", external_url="http://127.0.0.1:1"))
    assert found.result == "fault"
    assert found.found.startswith("http://127.0.0.1:1 does not answer: ")


# -- long bodies and headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "result", "advice"),
    [
        (416, "ok", ""),
        (413, "fault", "client_max_body_size 0"),
        (None, "fault", "proxy_request_buffering off"),
        (500, "fault", "its log says more"),
        (0, "fault", "its log says more"),
    ],
)
def test_replies(status: int | None, result: Result, advice: str) -> None:
    found = judge_reply(Reply(status, 0.2))
    assert found.result == result
    assert advice in found.advice


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[URL]:
    """Run a server that talks so, and yield the URL of an upload there."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/a%2Fb?state=x")
    finally:
        server.close()


async def test_what_is_announced() -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(refuse) as url:
        reply = await announce(url, {"Authorization": "Bearer x"}, 20)
    assert reply.status == 416
    first, *lines = heads[0].decode().split("\r\n")
    assert first == "PATCH /v2/a%2Fb?state=x HTTP/1.1"
    headers = dict(line.split(": ") for line in lines if line)
    assert headers["Host"] == f"{url.host}:{url.port}"
    assert headers["Content-Length"] == str(10 * 1024**3)
    assert headers["Content-Range"] == f"1-{10 * 1024**3}"
    assert headers["Authorization"] == "Bearer x"


async def test_body_that_is_waited_for() -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)

    async with listening(wait) as url:
        assert (await announce(url, {}, 0.2)).status is None


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n"])
async def test_answers_that_are_none(answer: bytes) -> None:
    async def answer_so(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(answer_so) as url:
        assert (await announce(url, {}, 20)).status == 0


async def test_long_headers() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.router.add_get("/v2/", handle)
    for limit, result in ((32 * 1024, "ok"), (8190, "warning")):
        runner = web.AppRunner(app, max_field_size=limit, max_line_size=limit)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found = await check_long_headers(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await runner.cleanup()
        assert found.result == result


# -- the token -------------------------------------------------------------------------------------------


async def test_token_needs_somebody_and_a_key(tmp_path: Path) -> None:
    settings = settings_of(data=tmp_path / "data")
    with pytest.raises(NoToken, match=r"longshore\.db is missing"):
        await make_token(settings)
    assert not settings.data.exists()
    await asyncio.to_thread(prepare_database, settings)
    with pytest.raises(NoToken, match="keys"):
        await make_token(settings)
