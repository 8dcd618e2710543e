"""Who is asking, and under which URL: proxies are believed only where they are trusted."""

from collections.abc import Iterable
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from registry.web.origin import Origins
from tests.registry.web.conftest import Serving
from tests.registry.web.live import Live, exchange

PROXY = "10.0.0.1"
OTHER_PROXY = "10.0.0.2"
CLIENT = "203.0.113.7"
SPOOFED = "198.51.100.66"

Headers = Iterable[tuple[str, str]]


def request_from(
    remote: str | None, headers: Headers = (), *, host: str = "registry:5000"
) -> web.BaseRequest:
    request = make_mocked_request("GET", "/v2/", CIMultiDict([("Host", host), *headers]))
    return request.clone(remote=remote) if remote is not None else request


def origins(*trusted: str, external_url: str | None = None) -> Origins:
    return Origins(external_url, tuple(map(ip_network, trusted)))


def forwarded_for(*lines: str) -> Headers:
    return [("X-Forwarded-For", line) for line in lines]


# -- the client's address --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "lines", "address"),
    [
        pytest.param(CLIENT, (), CLIENT, id="direct"),
        pytest.param(CLIENT, (SPOOFED,), CLIENT, id="spoofed from outside"),
        pytest.param(PROXY, (), PROXY, id="the proxy itself"),
        pytest.param(PROXY, (CLIENT,), CLIENT, id="through the proxy"),
        pytest.param(PROXY, (f"  {CLIENT}\t",), CLIENT, id="with blanks"),
        pytest.param(PROXY, (f"{CLIENT}, {OTHER_PROXY}",), CLIENT, id="through two proxies"),
        pytest.param(PROXY, (f"{CLIENT},{OTHER_PROXY},{PROXY}",), CLIENT, id="through three"),
        pytest.param(PROXY, (f"{SPOOFED}, {CLIENT}",), CLIENT, id="spoofed through the proxy"),
        pytest.param(PROXY, (SPOOFED, CLIENT), CLIENT, id="spoofed, and the proxy adds a line"),
        pytest.param(PROXY, (SPOOFED, f"{CLIENT}, {OTHER_PROXY}"), CLIENT, id="spoofed, two proxies, lines"),
        pytest.param(PROXY, (f"{PROXY}, {CLIENT}",), CLIENT, id="spoofed as the proxy"),
        pytest.param(PROXY, (f"{SPOOFED}, 192.0.2.9, {OTHER_PROXY}",), "192.0.2.9", id="untrusted proxy"),
        pytest.param(PROXY, (f"{PROXY}, {OTHER_PROXY}",), PROXY, id="nothing but proxies"),
        pytest.param(PROXY, ("",), PROXY, id="empty"),
        pytest.param(PROXY, (",,",), PROXY, id="commas"),
        pytest.param(PROXY, ("unknown",), PROXY, id="a word"),
        pytest.param(PROXY, (f"{SPOOFED}, garbage",), PROXY, id="garbage last"),
        pytest.param(PROXY, (f"garbage, {CLIENT}",), CLIENT, id="garbage first"),
        pytest.param(PROXY, (f"{SPOOFED}, 10.0.0.2:99",), PROXY, id="an address with a port"),
        pytest.param(PROXY, ("2001:db8::1",), "2001:db8::1", id="IPv6 client"),
        pytest.param("fd00::1", (CLIENT,), CLIENT, id="IPv6 proxy"),
        pytest.param(f"::ffff:{PROXY}", (CLIENT,), CLIENT, id="IPv4 proxy on a socket for both"),
        pytest.param(f"::ffff:{CLIENT}", (SPOOFED,), CLIENT, id="IPv4 client on a socket for both"),
        pytest.param(PROXY, (f"::ffff:{CLIENT}",), CLIENT, id="IPv4 client written as IPv6"),
        pytest.param("", (SPOOFED,), "", id="no address"),
    ],
)
def test_client_address(remote: str, lines: tuple[str, ...], address: str) -> None:
    trusting = origins("10.0.0.0/30", "fd00::/64")
    assert trusting.client_address(request_from(remote, forwarded_for(*lines))) == address


@pytest.mark.parametrize("name", ["Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP"])
def test_client_address_comes_from_no_other_header(name: str) -> None:
    request = request_from(PROXY, [(name, SPOOFED)])
    assert origins(PROXY).client_address(request) == PROXY


@pytest.mark.parametrize("remote", [PROXY, "127.0.0.1", "::1"])
def test_nobody_is_trusted_unless_named(remote: str) -> None:
    request = request_from(
        remote,
        [*forwarded_for(SPOOFED), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example")],
    )
    assert origins().client_address(request) == remote
    assert origins().base_url(request) == "http://registry:5000"


# -- the URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "headers", "url"),
    [
        pytest.param(CLIENT, {}, "http://registry:5000", id="direct"),
        pytest.param(CLIENT, {"X-Forwarded-Proto": "https"}, "http://registry:5000", id="spoofed scheme"),
        pytest.param(CLIENT, {"X-Forwarded-Host": "evil"}, "http://registry:5000", id="spoofed host"),
        pytest.param(PROXY, {"X-Forwarded-Proto": "https"}, "https://registry:5000", id="scheme"),
        pytest.param(PROXY, {"X-Forwarded-Host": "hub.example"}, "http://hub.example", id="host"),
        pytest.param(
            PROXY,
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "hub.example:8443"},
            "https://hub.example:8443",
            id="scheme and host",
        ),
        pytest.param(
            PROXY,
            {"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "hub.example, inner"},
            "https://hub.example",
            id="the first of two proxies",
        ),
        pytest.param(PROXY, {"X-Forwarded-Host": "[2001:db8::1]:5000"}, "http://[2001:db8::1]:5000", id="v6"),
        pytest.param(
            PROXY, {"X-Forwarded-Proto": "", "X-Forwarded-Host": ""}, "http://registry:5000", id="empty"
        ),
        pytest.param(
            f"::ffff:{PROXY}", {"X-Forwarded-Proto": "https"}, "https://registry:5000", id="socket for both"
        ),
    ],
)
def test_base_url(remote: str, headers: dict[str, str], url: str) -> None:
    assert origins(PROXY).base_url(request_from(remote, headers.items())) == url


def test_external_url_overrules_everything() -> None:
    request = request_from(PROXY, [("X-Forwarded-Host", "evil.example")], host="other.example")
    fixed = origins(PROXY, external_url="https://hub.example")
    assert fixed.base_url(request) == "https://hub.example"


async def realm_of(live: Live, *lines: str) -> str:
    """Return where the challenge sends a client that sent these header lines."""
    head = "\r\n".join(("GET /v2/ HTTP/1.1", *lines, "", ""))
    status, headers, _ = await exchange(live, head.encode())
    assert status == 401
    return headers["www-authenticate"].partition('realm="')[2].partition('"')[0]


@pytest.mark.parametrize(
    "host",
    [
        'evil" ,service="x',
        "a/b",
        "user@evil",
        "a b",
        "",
        "[::1",
        "[:1]",
        "[1]",
        "a:b:c",
        "host:123456",
        "a\\b",
        "ä.example",
    ],
)
async def test_host_that_cannot_stand_in_a_url_gives_way_to_the_socket_s(live: Live, host: str) -> None:
    assert await realm_of(live, f"Host: {host}") == f"http://127.0.0.1:{live.port}/token"


@pytest.mark.parametrize(
    "line", ["X-Forwarded-Proto: javascript", 'X-Forwarded-Host: a"b', "X-Forwarded-Host: a/../b"]
)
async def test_garbage_of_a_trusted_proxy_gives_way_to_the_socket_s(serving: Serving, line: str) -> None:
    async with serving(trusted_proxies="127.0.0.1") as live:
        assert await realm_of(live, "Host: registry", line) == f"http://127.0.0.1:{live.port}/token"


async def test_realm_follows_a_trusted_proxy(serving: Serving) -> None:
    sent = ("Host: inner", "X-Forwarded-Proto: https", "X-Forwarded-Host: hub.example")
    async with serving(trusted_proxies="127.0.0.1") as live:
        assert await realm_of(live, *sent) == "https://hub.example/token"
    async with serving(trusted_proxies="192.0.2.0/24") as live:
        assert await realm_of(live, *sent) == "http://inner/token"
    async with serving(external_url="https://registry.example:8443") as live:
        assert await realm_of(live, *sent) == "https://registry.example:8443/token"


# -- on this machine? ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.9.10", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        (CLIENT, {}, False),
        ("", {}, False),
        (CLIENT, {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"X-Forwarded-For": CLIENT}, False),
        ("127.0.0.1", {"x-forwarded-for": CLIENT}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "garbage"}, False),
        ("127.0.0.1", {"X-Forwarded-For": ""}, False),
        ("127.0.0.1", {"Forwarded": f"for={CLIENT}"}, False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, False),
        ("127.0.0.1", {"X-Forwarded-Host": "hub.example"}, False),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, False),
        (PROXY, {"X-Forwarded-For": "127.0.0.1"}, False),
    ],
)
@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",), (PROXY,), ("127.0.0.0/8", PROXY)])
def test_is_local(remote: str, headers: dict[str, str], local: bool, trusted: tuple[str, ...]) -> None:
    assert origins(*trusted).is_local(request_from(remote, headers.items())) is local


# -- of another site? ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": ""}, True),
        ({"Origin": "http://registry:5000"}, False),
        ({"Origin": "https://hub.example"}, False),
        ({"Origin": "http://registry"}, True),
        ({"Origin": "http://registry:5000.attacker.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://[x"}, True),
        ({"Origin": ""}, True),
        # A browser that says both says the first with more care.
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "http://registry:5000", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_is_foreign(headers: dict[str, str], foreign: bool) -> None:
    ours = origins(external_url="https://hub.example")
    assert ours.is_foreign(request_from(CLIENT, headers.items())) is foreign
