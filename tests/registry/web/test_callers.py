"""Who a request of the interface or of the pages comes from."""

import base64
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import Morsel
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientResponse, DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from auth.identity import Authenticator, Identity, Permission
from auth.jwk import KeyRing, SigningKey
from auth.passwords import Passwords
from auth.scope import Scope
from auth.tokens import TokenIssuer, TokenVerifier
from registry.access_tokens import AccessTokens
from registry.accounts import StoredAccounts, StoredThrottle
from registry.sessions import Sessions
from registry.web.callers import CSRF_HEADER, SESSION, Callers, csrf_of
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from storage.metadata import accounts, schema
from storage.metadata.engine import Metadata
from storage.metadata.sqlite import SqliteMetadata
from tests.registry.accounts import NOW

CHEAP: Final = Passwords(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD: Final = "ann says mellon"
LIFETIME: Final = 3600
COOKIE: Final = "longshore_session"
FORM_COOKIE: Final = "longshore_form"

Client = TestClient[web.Request, web.Application]


@dataclass(frozen=True, slots=True)
class Hub:
    """An application that tells who calls, and what it is made of."""

    client: Client
    metadata: Metadata
    accounts: StoredAccounts
    sessions: Sessions
    issuer: TokenIssuer
    ann: Identity

    async def ask(self, headers: Mapping[str, str], method: str = "GET") -> tuple[int, Any]:
        """Call the interface: the status, and who was let in or why not."""
        async with self.client.request(method, "/api", headers=headers) as answer:
            return answer.status, await answer.json()

    async def look(self, *cookies: str) -> tuple[str, str]:
        """Look at a page: who it is for, and what its forms carry."""
        async with self.client.get("/page", headers={"Cookie": "; ".join(cookies)}) as answer:
            name, csrf = await answer.json()
            return name, csrf

    async def sign_in(self, name: str, password: str, **headers: str) -> ClientResponse:
        """Send the form of the sign-in page."""
        sent = {
            "Cookie": f"{FORM_COOKIE}=x",
            **{key.replace("_", "-"): text for key, text in headers.items()},
        }
        return await self.client.post("/sign-in", headers=sent, json=[name, password])

    async def session(self) -> str:
        """Sign in and return the secret of the session."""
        return morsel(await self.sign_in("ann", PASSWORD), COOKIE).value

    async def access_token(self, permission: Permission = Permission.READ) -> str:
        """Make an access token and return its secret."""
        made = await AccessTokens(self.metadata).create(self.ann, "ci", permission)
        return made.secret

    def jwt(self, scope: str, identity: Identity | None = None) -> str:
        """Return a token of `/token`."""
        return self.issuer.issue(identity or self.ann, Scope.parse([scope])).token


@pytest.fixture
async def metadata(data: Path) -> AsyncIterator[Metadata]:
    metadata = SqliteMetadata(data / "longshore.db")
    yield metadata
    await metadata.close()


@pytest.fixture
async def hub(metadata: Metadata, request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """An indirect parameter is the external URL; "off" is one without access control."""
    url = getattr(request, "param", None)
    is_open = url == "off"
    await metadata.write(accounts.add, "ann", CHEAP.hash(PASSWORD), is_admin=False, now=NOW)
    account = await metadata.lookup(accounts.find, "ann")
    assert account is not None
    stored, sessions = StoredAccounts(metadata, LIFETIME), Sessions(metadata, LIFETIME)
    ring = KeyRing([SigningKey.generate("ES256", 0)])
    origins = Origins(None if is_open else url, ())
    with ThreadPoolExecutor(1) as threads:
        callers = Callers(
            stored,
            sessions,
            Authenticator(stored, CHEAP, StoredThrottle(metadata), threads),
            None if is_open else TokenVerifier(lambda: ring, "hub", "hub"),
            origins,
        )
        server = TestServer(application(callers, origins))
        async with TestClient(server, cookie_jar=DummyCookieJar()) as client:
            issuer = TokenIssuer(lambda: ring, "hub", "hub")
            yield Hub(client, metadata, stored, sessions, issuer, Identity(account.id, "ann"))


def application(callers: Callers, origins: Origins) -> web.Application:
    async def call(request: web.Request) -> web.Response:
        caller = await callers.enter(request)
        limit = "" if caller.limit is None else caller.limit.permission.name.lower()
        return web.json_response([caller.name, limit, request.get(SESSION)])

    async def page(request: web.Request) -> web.Response:
        caller = await callers.identify(request)
        return web.json_response([caller.identity.name, caller.csrf])

    async def form(request: web.Request) -> web.Response:
        callers.begin_form(request)
        response = web.Response(text=(await callers.identify(request)).csrf)
        callers.keep_form(request, response)
        return response

    async def sign_in(request: web.Request) -> web.Response:
        name, password = await request.json()
        identity = await callers.sign_in(request, name, password)
        response = web.Response()
        await callers.begin(request, response, identity)
        return response

    async def sign_out(request: web.Request) -> web.Response:
        response = web.Response()
        await callers.end(request, response)
        return response

    app = web.Application(middlewares=[error_middleware(origins, "hub")])
    app.add_routes(
        [
            web.route("*", "/api", call),
            web.get("/page", page),
            web.get("/sign-in", form),
            web.post("/sign-in", sign_in),
            web.post("/sign-out", sign_out),
        ]
    )
    return app


def morsel(answer: ClientResponse, name: str) -> Morsel[str]:
    assert answer.status == 200
    return answer.cookies[name]


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def cookie(secret: str, **more: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={secret}", **{name.replace("_", "-"): text for name, text in more.items()}}


# Tokens and passwords


async def test_nobody_in_particular(hub: Hub) -> None:
    assert await hub.ask({}) == (200, ["", "", None])
    assert await hub.ask({}, "POST") == (200, ["", "", None])


@pytest.mark.parametrize("permission", Permission)
async def test_access_token(hub: Hub, permission: Permission) -> None:
    secret = await hub.access_token(permission)
    expected = (200, ["ann", permission.name.lower(), None])
    assert await hub.ask(bearer(secret)) == await hub.ask(basic("ann", secret)) == expected
    assert await hub.ask(bearer(secret), "DELETE") == expected


async def test_password(hub: Hub) -> None:
    assert await hub.ask(basic("ann", PASSWORD), "POST") == (200, ["ann", "", None])


@pytest.mark.parametrize(
    ("scope", "limit"),
    [
        ("registry:api:read", "read"),
        ("registry:api:write", "write"),
        ("registry:api:read,delete", "delete"),
        ("registry:api:admin", ""),
        ("registry:api:*", ""),
    ],
)
async def test_scope_of_a_token_bounds_it(hub: Hub, scope: str, limit: str) -> None:
    assert await hub.ask(bearer(hub.jwt(scope))) == (200, ["ann", limit, None])


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("scope", Permission)
async def test_the_lower_of_an_access_token_and_a_scope_counts(
    hub: Hub, permission: Permission, scope: Permission
) -> None:
    bounded = await hub.accounts.find_access_token(await hub.access_token(permission))
    token = hub.jwt(f"registry:api:{scope.name.lower()}", bounded)
    lower = min(permission, scope).name.lower()
    assert await hub.ask(bearer(token)) == (200, ["ann", lower, None])


@pytest.mark.parametrize(
    "scope", ["", "registry:catalog:*", "repository:ann/app:*", "registry:api:frobnicate"]
)
async def test_token_for_something_else(hub: Hub, scope: str) -> None:
    async with hub.client.get("/api", headers=bearer(hub.jwt(scope))) as answer:
        assert answer.status == 401
        challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="registry:api:*"' in challenge


@pytest.mark.parametrize(
    "header",
    [
        "Bearer lsp_unknown",
        "Bearer lsp_",
        "Bearer x.y.z",
        "Bearer",
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"ann:wrong").decode(),
        "Basic " + base64.b64encode(b"ann:lsp_unknown").decode(),
        "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode(),
        "Digest x",
        "",
    ],
)
async def test_wrong_credentials_are_not_nobody(hub: Hub, header: str) -> None:
    """Not even beside a session that is good."""
    status, answer = await hub.ask({"Authorization": header, **cookie(await hub.session())})
    assert (status, answer["errors"][0]["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("site", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_site_changes_nothing_by_a_remembered_password(hub: Hub, site: dict[str, str]) -> None:
    headers = {**basic("ann", PASSWORD), **site}
    assert (await hub.ask(headers))[0] == 200
    assert (await hub.ask(headers, "POST"))[0] == 403
    assert (await hub.ask(basic("ann", PASSWORD), "POST"))[0] == 200


async def test_wrong_passwords_are_throttled(hub: Hub) -> None:
    for _ in range(6):
        assert (await hub.ask(basic("ann", "lsp_wrong")))[0] == 401
    assert (await hub.ask(basic("ann", PASSWORD)))[0] == 429


async def test_what_ends_at_once(hub: Hub) -> None:
    secret = await hub.access_token(Permission.ADMIN)
    bounded = await hub.accounts.find_access_token(secret)
    token, own = hub.jwt("registry:api:*", bounded), hub.jwt("registry:api:*")
    session = await hub.session()
    tokens = AccessTokens(hub.metadata)
    [listed] = await tokens.tokens(hub.ann)
    await tokens.revoke(hub.ann, listed.id)
    for ended in (bearer(secret), bearer(token), basic("ann", secret)):
        assert (await hub.ask(ended))[0] == 401
    for good in (bearer(own), cookie(session)):
        assert (await hub.ask(good))[0] == 200
    await hub.metadata.write(accounts.disable, "ann", disabled=True, now=NOW)
    assert (await hub.ask(bearer(own)))[0] == 401
    assert await hub.ask(cookie(session)) == (200, ["", "", None])


@pytest.mark.parametrize("hub", ["off"], indirect=True)
async def test_without_access_control_everybody_is_let_in(hub: Hub) -> None:
    assert await hub.ask(basic("ann", "wrong"), "DELETE") == (200, ["system", "", None])
    assert await hub.look() == ("system", "")


# Sessions


async def test_session_reads(hub: Hub) -> None:
    secret = await hub.session()
    status, (name, limit, session_id) = await hub.ask(cookie(secret))
    assert (status, name, limit) == (200, "ann", "")
    [listed] = await hub.sessions.sessions(hub.ann, session_id)
    assert (listed.id, listed.current, listed.address) == (session_id, True, "127.0.0.1")
    assert await hub.look(f"{COOKIE}={secret}") == ("ann", csrf_of(secret))
    assert secret not in csrf_of(secret)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_session_changes_things_with_the_proof_of_a_page(hub: Hub, method: str) -> None:
    secret, other = await hub.session(), await hub.session()
    proof = {CSRF_HEADER: csrf_of(secret)}
    assert (await hub.ask(cookie(secret, **proof), method))[0] == 200
    host = f"{hub.client.host}:{hub.client.port}"
    for more in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://{host}"}):
        assert (await hub.ask(cookie(secret, **proof, **more), method))[0] == 200
    refused: list[dict[str, str]] = [
        {},
        {CSRF_HEADER: ""},
        {CSRF_HEADER: csrf_of(other)},
        {CSRF_HEADER: secret},
        {CSRF_HEADER: csrf_of(secret)[:-1]},
        {CSRF_HEADER: "é"},
        {**proof, "Sec-Fetch-Site": "cross-site"},
        {**proof, "Sec-Fetch-Site": "same-site"},
        {**proof, "Origin": "https://attacker.example"},
        {**proof, "Origin": "null"},
        {**proof, "Origin": "http://[x"},
    ]
    for headers in refused:
        status, answer = await hub.ask(cookie(secret, **headers), method)
        assert (status, answer["errors"][0]["code"]) == (403, "DENIED"), headers


@pytest.mark.parametrize("secret", ["", "lss_unknown", "x" * 5000, "%00"])
async def test_session_that_is_none_is_nobody(hub: Hub, secret: str) -> None:
    assert await hub.ask(cookie(secret), "POST") == (200, ["", "", None])
    assert await hub.look(f"{COOKIE}={secret}") == ("", "")


async def test_session_that_has_ended_is_nobody(hub: Hub) -> None:
    secret = await hub.session()
    then = datetime.now(UTC) - timedelta(seconds=1)
    await hub.metadata.write(lambda db: db.execute(schema.sessions.update().values(expires_at=then)))
    assert await hub.ask(cookie(secret), "POST") == (200, ["", "", None])


@pytest.mark.parametrize(
    ("hub", "prefix", "secure"),
    [(None, "", False), ("http://hub.example", "", False), ("https://hub.example", "__Host-", True)],
    indirect=["hub"],
)
async def test_cookie(hub: Hub, prefix: str, secure: bool) -> None:
    answer = await hub.sign_in("ann", PASSWORD, Cookie=f"{prefix}{FORM_COOKIE}=x")
    found = morsel(answer, prefix + COOKIE)
    assert found.value.startswith("lss_")
    assert (found["path"], found["domain"]) == ("/", "")
    assert (found["httponly"], found["samesite"], bool(found["secure"])) == (True, "Lax", secure)
    assert int(found["max-age"]) > LIFETIME
    assert await hub.look(f"{prefix}{COOKIE}={found.value}") == ("ann", csrf_of(found.value))
    # Under the other name anybody could have set it.
    other = COOKIE if prefix else f"__Host-{COOKIE}"
    assert await hub.look(f"{other}={found.value}") == ("", "")


async def test_signing_in_ends_the_session_from_before(hub: Hub) -> None:
    before = await hub.session()
    answer = await hub.sign_in("ann", PASSWORD, Cookie=f"{COOKIE}={before}; {FORM_COOKIE}=x")
    after = morsel(answer, COOKIE).value
    assert await hub.look(f"{COOKIE}={before}") == ("", "")
    assert (await hub.look(f"{COOKIE}={after}"))[0] == "ann"


async def test_signing_out(hub: Hub) -> None:
    secret, other = await hub.session(), await hub.session()
    async with hub.client.post("/sign-out", headers=cookie(secret)) as answer:
        assert (morsel(answer, COOKIE).value, morsel(answer, COOKIE)["max-age"]) == ("", "0")
    assert await hub.look(f"{COOKIE}={secret}") == ("", "")
    assert (await hub.look(f"{COOKIE}={other}"))[0] == "ann"


async def test_an_access_token_does_not_sign_in(hub: Hub) -> None:
    answer = await hub.sign_in("ann", await hub.access_token(Permission.ADMIN))
    assert answer.status == 401
    assert COOKIE not in answer.cookies
    assert await hub.sessions.sessions(hub.ann) == []


# Before there is a session


async def test_form_before_a_session_proves_something(hub: Hub) -> None:
    async with hub.client.get("/sign-in") as answer:
        found, csrf = morsel(answer, FORM_COOKIE), await answer.text()
    assert csrf == csrf_of(found.value)
    assert (found["httponly"], found["samesite"], found["path"], found["max-age"]) == (True, "Lax", "/", "")
    assert await hub.look(f"{FORM_COOKIE}={found.value}") == ("", csrf)
    # Another tab does not take it away, another browser has another.
    async with hub.client.get("/sign-in", headers={"Cookie": f"{FORM_COOKIE}={found.value}"}) as answer:
        assert (morsel(answer, FORM_COOKIE).value, await answer.text()) == (found.value, csrf)
    async with hub.client.get("/sign-in") as answer:
        assert await answer.text() != csrf


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Cookie": ""}, 403),
        ({"Cookie": f"{FORM_COOKIE}="}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://attacker.example"}, 403),
    ],
)
async def test_another_site_signs_nobody_in(hub: Hub, headers: Mapping[str, str], status: int) -> None:
    answer = await hub.sign_in("ann", PASSWORD, **headers)
    assert answer.status == status
    assert (COOKIE in answer.cookies) == (status == 200)
