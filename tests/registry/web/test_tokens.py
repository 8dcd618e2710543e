"""The token endpoint: what clients send, what they read, and what no token gets through."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import jwt
import pytest

from auth import throttle
from auth.policy import Role
from registry.installation import passwords_of
from storage.metadata import accounts, login_failures
from tests.registry.web.conftest import Serving
from tests.registry.web.content import push_image
from tests.registry.web.forgeries import FORGERIES, Forger, now
from tests.registry.web.live import Answer, Client, Live, basic, connect, exchange, password_of

FORM: Final = "application/x-www-form-urlencoded"

PULL: Final = "repository:ann/app:pull"
PUSH: Final = "repository:ann/app:pull,push"


@pytest.fixture
async def hub(live: Live) -> Live:
    """A server with the accounts ann, bob and root, and the public repository ann/app."""
    for name in ("ann", "bob"):
        live.add_account(name)
    live.add_account("root", is_admin=True)
    await push_image(await live.login("ann", PUSH), "ann/app", "v1")
    live.publish("ann/app")
    return live


async def post(client: Client, **fields: str) -> Answer:
    """POST a form as OAuth 2 has it."""
    return await client.post("/token", urlencode(fields).encode(), Content_Type=FORM)


async def log_in(live: Live, name: str, **fields: str) -> Answer:
    """POST the password of an account."""
    form = {"grant_type": "password", "service": "longshore", "client_id": "test", "username": name}
    return await post(live.client, **{**form, "password": password_of(name), **fields})


def claims_of(answer: Answer) -> dict[str, Any]:
    """What the token says, not verified."""
    claims: dict[str, Any] = jwt.decode(
        answer.expect(200).json()["token"], options={"verify_signature": False}
    )
    return claims


def granted(answer: Answer) -> list[str]:
    """The scopes in a token, as text."""
    return [
        f"{each['type']}:{each['name']}:{','.join(each['actions'])}" for each in claims_of(answer)["access"]
    ]


# -- answers ---------------------------------------------------------------------------------------------


def check_answer(answer: Answer, *members: str) -> None:
    document = answer.expect(200).json()
    assert set(document) == {"token", "access_token", "expires_in", "issued_at", *members}
    assert document["token"] == document["access_token"]
    assert document["expires_in"] >= 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["issued_at"])
    issued = datetime.fromisoformat(document["issued_at"]).timestamp()
    assert abs(issued - time.time()) < 60
    claims = claims_of(answer)
    assert claims["iat"] == claims["nbf"] == issued
    assert claims["exp"] == issued + document["expires_in"]
    assert (claims["iss"], claims["aud"]) == ("longshore", "longshore")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_answer_to_get(hub: Live) -> None:
    query = f"/token?service=longshore&account=ann&client_id=docker&scope={quote(PUSH)}"
    answer = await hub.client.get(query, Authorization=basic("ann"))
    check_answer(answer)
    assert granted(answer) == [PUSH]
    assert claims_of(answer)["sub"] == "ann"


async def test_answer_to_get_without_credentials(hub: Live) -> None:
    answer = await hub.client.get(f"/token?service=longshore&scope={quote(PUSH)}&offline_token=true")
    check_answer(answer)
    assert granted(answer) == [PULL]
    assert claims_of(answer)["sub"] == ""


async def test_answer_to_post(hub: Live) -> None:
    answer = await log_in(hub, "ann", scope=f"{PUSH} repository:bob/x:pull registry:catalog:*")
    check_answer(answer, "scope")
    assert set(answer.json()["scope"].split()) == {PUSH, "registry:catalog:*"}
    assert set(granted(answer)) == {PUSH, "registry:catalog:*"}


@pytest.mark.parametrize("lifetime", [60, 3600])
async def test_lifetime(serving: Serving, lifetime: int) -> None:
    async with serving(token_lifetime=lifetime) as live:
        answer = await live.client.get("/token")
        check_answer(answer)
        assert answer.json()["expires_in"] == lifetime


WHAT_IS_GRANTED: Final = [
    ("", []),
    ("scope=", []),
    ("scope=repository:ann/app:pull", [PULL]),
    ("scope=repository:ann/app:pull&scope=repository:ann/x:push", [PULL, "repository:ann/x:push"]),
    ("scope=repository:ann/app:pull+repository:ann/x:push", [PULL, "repository:ann/x:push"]),
    ("scope=repository%3Aann%2Fapp%3Apull%2Cpush", [PUSH]),
    ("scope=repository:ann/app:push&scope=repository:ann/app:pull", [PUSH]),
    ("scope=repository(plugin):ann/app:pull", [PULL]),
    ("scope=repository:ann/app:*", ["repository:ann/app:*"]),
    # Too much is no error: what may be granted is.
    ("scope=repository:ann/app:pull,fly", [PULL]),
    ("scope=repository:bob/x:pull", []),
    ("scope=repository:nobody/x:pull,push", []),
    ("scope=repository:ann/app:pull&scope=repository:bob/x:pull,push", [PULL]),
    ("scope=repository:UPPER:pull", []),
    ("scope=repository:localhost:5000/ann/app:pull", []),
    ("scope=repository:a:b:c:pull", []),
    ("scope=registry:catalog:search", ["registry:catalog:search"]),
    ("scope=registry:other:*", []),
    ("scope=other:ann/app:pull", []),
]


async def test_what_is_granted(hub: Live, subtests: pytest.Subtests) -> None:
    for query, scopes in WHAT_IS_GRANTED:
        with subtests.test(f"{query!r:.40} {scopes!r:.40}"):
            await _check_what_is_granted(hub, query, scopes)


async def _check_what_is_granted(hub: Live, query: str, scopes: list[str]) -> None:
    answer = await hub.client.get(f"/token?{query}", Authorization=basic("ann"))
    assert granted(answer) == scopes


GARBAGE_IS_NO_SCOPE: Final = [
    "x",
    "repository",
    "repository:ann/app",
    "repository::pull",
    "repository:ann/app:",
    "repository:ann/app:pull,,push",
    "repository:ann/app:PULL",
    ":ann/app:pull",
    "Repository:ann/app:pull",
    "repository:ann%22app:pull",
    "repository:ann%0d%0aapp:pull",
    "repository:%00:pull",
    "repository:%ff:pull",
    "+".join(f"repository:ann/r{each}:pull" for each in range(101)),
    "repository:" + "a" * 300 + ":pull",
    "repository:ann/app:" + "a" * 2000,
]


async def test_garbage_is_no_scope(hub: Live, subtests: pytest.Subtests) -> None:
    for scope in GARBAGE_IS_NO_SCOPE:
        with subtests.test(f"{scope!r:.40}"):
            await _check_garbage_is_no_scope(hub, scope)


async def _check_garbage_is_no_scope(hub: Live, scope: str) -> None:
    answer = await hub.client.get(f"/token?scope={scope}", Authorization=basic("ann"))
    assert answer.outcome == (400, "UNSUPPORTED")
    form = f"grant_type=password&username=ann&password={quote(password_of('ann'))}&scope={scope}"
    assert (await hub.client.post("/token", form.encode(), Content_Type=FORM)).outcome == (400, "UNSUPPORTED")


async def test_a_hundred_repositories_fit_a_token(hub: Live) -> None:
    scopes = [f"repository:ann/{'x' * 20}{each:02}:pull,push" for each in range(100)]
    client = await hub.login("ann", *scopes)
    assert len(client.headers["Authorization"]) > 10_000
    assert (await client.get(f"/v2/ann/{'x' * 20}00/tags/list")).outcome == (404, "NAME_UNKNOWN")


# -- credentials -----------------------------------------------------------------------------------------

WRONG: Final = {
    "wrong password": basic("ann", "wrong"),
    "password of another": basic("ann", password_of("bob")),
    "no password": basic("ann", ""),
    "unknown account": basic("nobody"),
    "account in another case": basic("ANN", password_of("ann")),
    "no name": basic("", ""),
    "a NUL": basic("ann\0", password_of("ann")),
    "a long name": basic("a" * 5000, "x"),
    "a long password": basic("ann", "x" * 10_000),
    "a bearer token": "Bearer x",
    "no colon": "Basic " + base64.b64encode(b"ann").decode(),
    "no base64": "Basic !!!",
    "no UTF-8": "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    "nothing behind the scheme": "Basic",
    "nothing": "",
}


async def test_wrong_credentials_are_never_anonymous(hub: Live, subtests: pytest.Subtests) -> None:
    for words, header in WRONG.items():
        with subtests.test(words):
            answer = await hub.client.get(f"/token?scope={quote(PULL)}", Authorization=header)
            assert answer.outcome == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="longshore", charset="UTF-8"'
            assert "token" not in answer.json()


async def test_unknown_account_and_wrong_password_look_the_same(hub: Live) -> None:
    known = await hub.client.get("/token", Authorization=basic("ann", "wrong"))
    unknown = await hub.client.get("/token", Authorization=basic("nobody", "wrong"))
    assert known.body == unknown.body


async def test_passwords_of_all_kinds(hub: Live) -> None:
    for password in ("with:colon::s", "é🐳 Umlaut", " spaces ", "x" * 1024, "quote\"'&=+%"):
        hub.change_password("ann", password)
        assert (await hub.client.get("/token", Authorization=basic("ann", password))).status == 200
        assert (await log_in(hub, "ann", password=password)).status == 200
    # The same letters, composed in another way.
    hub.change_password("ann", "caf\u00e9 au lait")
    assert (await hub.client.get("/token", Authorization=basic("ann", "cafe\u0301 au lait"))).status == 200


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc"])
async def test_scheme_in_any_case(hub: Live, scheme: str) -> None:
    header = basic("ann").replace("Basic", scheme)
    assert claims_of(await hub.client.get("/token", Authorization=header))["sub"] == "ann"


BAD_FORMS: Final[Mapping[str, tuple[bytes, str, int]]] = {
    "nothing": (b"", FORM, 400),
    "no grant": (b"username=ann&password=x", FORM, 400),
    "an unknown grant": (b"grant_type=client_credentials", FORM, 400),
    "JSON": (b'{"grant_type":"password"}', "application/json", 400),
    "no type": (b"grant_type=password", "", 400),
    "multipart": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
    "multipart without a boundary": (b"x", "multipart/form-data", 400),
    "bytes": (b"grant_type=password&username=\xff", FORM, 400),
    "another charset": (b"grant_type=\xff", f"{FORM}; charset=utf-16", 400),
    "an unknown charset": (b"grant_type=refresh_token", f"{FORM}; charset=bogus", 401),
    "many fields": (b"grant_type=refresh_token" + b"&a=b" * 5000, FORM, 400),
    "too many bytes": (b"grant_type=password&password=" + b"x" * 1024 * 1024, FORM, 413),
    "escaped bytes": (b"grant_type=password&username=%ff&password=%ff", FORM, 401),
    "half a surrogate pair": (b"grant_type=refresh_token&refresh_token=%ed%a0%80", FORM, 401),
    "a NUL": (b"grant_type=password&username=%00&password=%00", FORM, 401),
    "no name": (b"grant_type=password&password=x", FORM, 401),
    "no refresh token": (b"grant_type=refresh_token", FORM, 401),
}


async def test_bad_forms(hub: Live, subtests: pytest.Subtests) -> None:
    for words, (body, content_type, status) in BAD_FORMS.items():
        with subtests.test(words):
            answer = await hub.client.post("/token", body, Content_Type=content_type)
            assert (answer.status, "errors" in answer.json()) == (status, True)


async def test_form_in_chunks_that_breaks_off(hub: Live) -> None:
    async with connect(hub) as raw:
        await raw.write(f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n".encode())
        await raw.write(b"Transfer-Encoding: chunked\r\n\r\n5\r\ngrant\r\n")
        raw.writer.write_eof()
        assert await raw.read_rest() == b""


@pytest.mark.parametrize(
    ("method", "target"), [("HEAD", "/token"), ("PUT", "/token"), ("POST", "/.well-known/jwks.json")]
)
async def test_other_methods(hub: Live, method: str, target: str) -> None:
    assert (await hub.client.send(method, target)).status == 405


# -- refresh tokens --------------------------------------------------------------------------------------


async def offline_by_get(live: Live) -> str:
    query = f"/token?offline_token=true&client_id=docker&scope={quote(PULL)}"
    answer = await live.client.get(query, Authorization=basic("ann"))
    check_answer(answer, "refresh_token")
    secret: str = answer.json()["refresh_token"]
    return secret


async def offline_by_post(live: Live) -> str:
    answer = await log_in(live, "ann", access_type="offline", client_id="docker")
    check_answer(answer, "scope", "refresh_token")
    secret: str = answer.json()["refresh_token"]
    return secret


async def refresh(live: Live, secret: str, **fields: str) -> Answer:
    return await post(
        live.client, grant_type="refresh_token", refresh_token=secret, service="longshore", **fields
    )


@pytest.mark.parametrize("login", [offline_by_get, offline_by_post])
async def test_refresh_token_stands_for_its_account(hub: Live, login: Callable[[Live], Any]) -> None:
    secret = await login(hub)
    for _ in range(2):
        answer = await refresh(hub, secret, scope=PUSH)
        check_answer(answer, "scope")
        assert claims_of(answer)["sub"] == "ann"
        assert granted(answer) == [PUSH]


async def test_refresh_token_is_given_back_to_who_asks(hub: Live) -> None:
    secret = await offline_by_post(hub)
    answer = await refresh(hub, secret, access_type="offline")
    check_answer(answer, "scope", "refresh_token")
    assert answer.json()["refresh_token"] == secret


async def test_each_login_has_a_refresh_token_of_its_own(hub: Live) -> None:
    secrets = {await offline_by_get(hub), await offline_by_post(hub), await offline_by_post(hub)}
    assert len(secrets) == 3
    assert all(secret.startswith("lsr_") for secret in secrets)


async def test_refresh_token_that_a_login_brings_along_is_not_given_back(hub: Live) -> None:
    answer = await log_in(hub, "ann", access_type="offline", refresh_token="made up")
    secret = answer.expect(200).json()["refresh_token"]
    assert secret != "made up"
    (await refresh(hub, secret)).expect(200)


@pytest.mark.parametrize("value", ["", "false", "1", "online"])
async def test_refresh_token_only_when_asked(hub: Live, value: str) -> None:
    answer = await hub.client.get(f"/token?offline_token={value}", Authorization=basic("ann"))
    assert "refresh_token" not in answer.expect(200).json()
    assert "refresh_token" not in (await log_in(hub, "ann", access_type=value)).expect(200).json()


def _change_password(live: Live) -> None:
    live.change_password("ann", "another password")


def _disable(live: Live) -> None:
    live.disable("ann")


def _disable_and_enable(live: Live) -> None:
    live.disable("ann")
    live.disable("ann", disabled=False)


def _remove(live: Live) -> None:
    later = datetime.fromtimestamp(time.time() + 365 * 24 * 3600, UTC)
    assert live.change(lambda db: accounts.remove_expired_refresh_tokens(db, now=later)) == 1


@pytest.mark.parametrize("end", [_change_password, _disable, _disable_and_enable, _remove])
async def test_refresh_token_ends(hub: Live, end: Callable[[Live], None]) -> None:
    secret = await offline_by_post(hub)
    (await refresh(hub, secret)).expect(200)
    end(hub)
    answer = await refresh(hub, secret, access_type="offline")
    assert answer.outcome == (401, "UNAUTHORIZED")


async def test_refresh_token_of_another_account_stays(hub: Live) -> None:
    secret = await offline_by_post(hub)
    hub.change_password("bob", "another password")
    (await refresh(hub, secret)).expect(200)


async def test_refresh_token_expires(serving: Serving) -> None:
    async with serving(refresh_token_lifetime=3600) as live:
        live.add_account("ann")
        secret = await offline_by_post(live)
        live.change(
            lambda db: db.exec_driver_sql(
                "UPDATE refresh_tokens SET expires_at = expires_at - 3601 * 1000000"
            )
        )
        assert (await refresh(live, secret)).status == 401


async def test_refresh_token_is_no_bearer_token_and_no_password(hub: Live) -> None:
    secret = await offline_by_post(hub)
    assert (await hub.client.with_token(secret).get("/v2/")).status == 401
    assert (await hub.client.get("/token", Authorization=basic("ann", secret))).status == 401


async def test_secrets_are_not_stored(hub: Live) -> None:
    secret = await offline_by_post(hub)
    content = b"".join(path.read_bytes() for path in hub.data.glob("longshore.db*"))
    for text in (secret, secret.removeprefix("lsr_"), password_of("ann")):
        assert text.encode() not in content


# -- guessing --------------------------------------------------------------------------------------------


def guess_often(live: Live, account: str) -> None:
    """Count so many failures for an account and this address that the wait is the longest one."""
    pair = [key.text for key in throttle.keys(account, "127.0.0.1") if key.forgiven]
    now = datetime.now(UTC)
    for _ in range(30):
        live.change(lambda db: login_failures.record(db, pair, forget_before=now, now=now))


async def test_guesses_are_slowed_down(hub: Live) -> None:
    """Five are free, and each of those after them makes the next one wait."""
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 20:
        answer = await log_in(hub, "ann", password="wrong")
        statuses.append(answer.status)
    assert statuses[:6] == [401] * 6
    assert set(statuses[6:-1]) <= {401}
    assert answer.outcome == (429, "TOOMANYREQUESTS")
    assert 1 <= int(answer.headers["Retry-After"]) <= throttle.LONGEST_DELAY


async def test_nobody_looks_at_a_password_that_comes_too_soon(hub: Live) -> None:
    guess_often(hub, "ann")
    for answer in (await hub.client.get("/token", Authorization=basic("ann")), await log_in(hub, "ann")):
        assert answer.outcome == (429, "TOOMANYREQUESTS")
        assert answer.headers["Retry-After"] == "900"
    # Others log in, and nobody in particular needs no password.
    (await log_in(hub, "bob")).expect(200)
    (await hub.client.get("/token")).expect(200)


async def test_login_forgives_a_few_guesses(hub: Live) -> None:
    for _ in range(3):
        for _ in range(5):
            assert (await log_in(hub, "ann", password="wrong")).status == 401
        (await log_in(hub, "ann")).expect(200)


async def test_refresh_token_works_while_guesses_wait(hub: Live) -> None:
    secret = await offline_by_post(hub)
    guess_often(hub, "ann")
    (await refresh(hub, secret)).expect(200)


# -- accounts --------------------------------------------------------------------------------------------


async def test_disabled_account_does_not_log_in(hub: Live) -> None:
    hub.disable("ann")
    wrong = await hub.client.get("/token", Authorization=basic("bob", "wrong"))
    for answer in (await hub.client.get("/token", Authorization=basic("ann")), await log_in(hub, "ann")):
        assert answer.outcome == (401, "UNAUTHORIZED")
        assert answer.body == wrong.body
    hub.disable("ann", disabled=False)
    (await log_in(hub, "ann")).expect(200)


async def test_changed_password(hub: Live) -> None:
    hub.change_password("ann", "another password")
    assert (await log_in(hub, "ann")).status == 401
    (await log_in(hub, "ann", password="another password")).expect(200)


def _hash_of(live: Live, name: str) -> str:
    account = live.change(lambda db: accounts.find(db, name))
    assert account is not None
    assert account.password_hash is not None
    return account.password_hash


async def test_login_renews_a_hash_of_lower_cost(serving: Serving) -> None:
    async with serving() as live:
        live.add_account("ann")
        before = _hash_of(live, "ann")
        (await log_in(live, "ann")).expect(200)
        assert _hash_of(live, "ann") == before
    async with serving(password_time_cost=2) as live:
        assert (await log_in(live, "ann", password="wrong")).status == 401
        assert _hash_of(live, "ann") == before
        (await log_in(live, "ann")).expect(200)
        after = _hash_of(live, "ann")
        assert "t=1," in before
        assert "t=2," in after
        assert passwords_of(live.settings).verify(password_of("ann"), after).ok
    async with serving() as live:
        (await log_in(live, "ann")).expect(200)
        assert _hash_of(live, "ann") == after


@pytest.mark.parametrize("scheme", ["argon2", "bcrypt"])
async def test_either_scheme(serving: Serving, scheme: str) -> None:
    async with serving(password_scheme=scheme, password_rounds=4) as live:
        live.add_account("ann")
        (await log_in(live, "ann")).expect(200)
    async with serving(password_scheme="argon2", password_rounds=4) as live:
        (await log_in(live, "ann")).expect(200)
        assert _hash_of(live, "ann").startswith("$argon2id$")


# -- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_published_keys_verify_a_token(serving: Serving, algorithm: str) -> None:
    """By a library alone, as a proxy would do it."""
    async with serving(token_algorithm=algorithm) as live:
        if algorithm == "EdDSA":
            live.keys.rotate("EdDSA", 1000)
        answer = await live.client.get("/.well-known/jwks.json")
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        keys = jwt.PyJWKSet.from_dict(answer.expect(200).json())
        token = await live.token(None)
        header = jwt.get_unverified_header(token)
        assert header["alg"] == algorithm
        claims = jwt.decode(token, keys[header["kid"]], [algorithm], audience="longshore", issuer="longshore")
        assert claims["access"] == []


async def test_published_keys_hold_nothing_secret(hub: Live) -> None:
    hub.keys.rotate("EdDSA", 1000)
    keys = (await hub.client.get("/.well-known/jwks.json")).json()["keys"]
    assert [set(key) for key in keys] == [
        {"kty", "crv", "x", "use", "alg", "kid"},
        {"kty", "crv", "x", "y", "use", "alg", "kid"},
    ]
    assert (await hub.client.head("/.well-known/jwks.json")).status == 200


async def test_rotated_keys_log_nobody_out(hub: Live) -> None:
    before = await hub.login("ann", PULL)
    secret = await offline_by_post(hub)
    old = hub.keys.load().signing.kid
    new = hub.keys.rotate("ES256", 1000).signing.kid
    after = await hub.login("ann", PULL)
    assert jwt.get_unverified_header(_token(before))["kid"] == old
    assert jwt.get_unverified_header(_token(after))["kid"] == new
    for client in (before, after):
        (await client.get("/v2/ann/app/manifests/v1")).expect(200)
    (await refresh(hub, secret)).expect(200)
    assert {key["kid"] for key in (await hub.client.get("/.well-known/jwks.json")).json()["keys"]} == {
        old,
        new,
    }


def _token(client: Client) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


async def test_tokens_outlive_a_restart(serving: Serving) -> None:
    async with serving() as live:
        live.add_account("ann")
        token, secret = await live.token("ann"), await offline_by_post(live)
    async with serving() as live:
        (await live.client.with_token(token).get("/v2/")).expect(200)
        (await refresh(live, secret)).expect(200)


# -- forgery ---------------------------------------------------------------------------------------------


def _forger(hub: Live) -> Forger:
    """Whoever has the server's key, and claims to be its administrator."""
    return Forger(hub.keys.load().signing, "root", 3, "ann/app")


async def test_forgeries(hub: Live, subtests: pytest.Subtests) -> None:
    forger = _forger(hub)
    target = "/v2/ann/app/manifests/v1"
    for words, forge in FORGERIES.items():
        with subtests.test(words):
            client = hub.client.with_token(forge(forger))
            for method in ("GET", "DELETE"):
                answer = await client.send(method, target)
                assert answer.outcome == (401, "UNAUTHORIZED")
                assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    # What all of them are variations of is believed.
    (await hub.client.with_token(forger.of()).get(target)).expect(200)
    (await hub.client.with_token(forger.of(exp=now() - 1)).get(target)).expect(200)


async def test_admin_in_a_token_makes_no_administrator(hub: Live) -> None:
    """Who is one is asked of the database."""
    access = [{"type": "repository", "name": "bob/app", "actions": ["*"]}]
    token = _forger(hub).of(sub="ann", account=1, admin=True, access=access)
    client = hub.client.with_token(token)
    assert (await client.post("/v2/bob/app/blobs/uploads/")).outcome == (403, "DENIED")


async def test_anonymous_token_with_rights_has_those_of_nobody(hub: Live) -> None:
    client = hub.client.with_token(_forger(hub).of(sub="", account=None))
    (await client.get("/v2/ann/app/manifests/v1")).expect(200)
    assert (await client.delete("/v2/ann/app/manifests/v1")).outcome == (403, "DENIED")


async def test_role_that_is_given_later_is_granted(hub: Live) -> None:
    hub.publish("ann/app", public=False)
    query = f"/token?scope={quote(PULL)}"
    assert granted(await hub.client.get(query, Authorization=basic("bob"))) == []
    hub.grant(Role.READ, "ann/app", "bob")
    assert granted(await hub.client.get(query, Authorization=basic("bob"))) == [PULL]


async def test_login_in_bytes(hub: Live) -> None:
    """What urllib, curl and a shell would write."""
    body = f"grant_type=password&username=ann&password={password_of('ann').replace(' ', '+')}".encode()
    head = f"POST /token HTTP/1.0\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    status, _, content = await exchange(hub, head.encode() + body)
    assert status == 200
    assert json.loads(content)["token"]
