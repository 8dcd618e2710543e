"""Tokens of an outside issuer, and where its keys come from."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from aiohttp import web

from auth.jwk import KeyRing, SigningKey
from registry.web.outside import OutsideKeys
from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.live import Client, Live

KEY: Final = SigningKey.generate("ES256", 0)
JWKS: Final = KeyRing([KEY]).jwks()

ISSUER: Final = "https://issuer.example.org"
EMPTY: Final = Digest.of(b"")


def _token(
    *scopes: tuple[str, str],
    subject: str = "ann",
    key: SigningKey = KEY,
    changes: Mapping[str, object] | None = None,
) -> str:
    now = int(time.time())
    access = [{"type": "repository", "name": name, "actions": actions.split(",")} for name, actions in scopes]
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "hub.example.org",
        "sub": subject,
        "iat": now,
        "exp": now + 300,
        "access": access,
        **(changes or {}),
    }
    return jwt.encode(claims, key.private_key, key.algorithm, headers={"kid": key.kid})


@contextlib.asynccontextmanager
async def _issuer(*answers: web.StreamResponse | bytes | Iterable[bytes]) -> AsyncIterator[str]:
    """An HTTP server that answers once with each of the answers; the URL of its keys."""
    left = iter(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = next(left)
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        response = web.StreamResponse()
        await response.prepare(request)
        for part in answer:
            await response.write(part)
            # The client reads what has come so far, which is not all.
            await asyncio.sleep(0.01)
        return response

    app = web.Application()
    app.router.add_get("/jwks.json", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _trusting(serving: Serving, source: str | Path) -> AsyncIterator[Live]:
    settings = {"outside_issuer": ISSUER, "outside_audience": "hub.example.org", "outside_jwks": str(source)}
    async with serving(**settings) as live:
        live.add_account("ann")
        yield live


@pytest.fixture
def jwks_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    return path


def _write(path: Path, content: bytes | None) -> None:
    """Change the file, or remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


# -- what such a token is good for -----------------------------------------------------------------------


async def _push(client: Client, name: str) -> tuple[int, str]:
    return (await client.post(f"/v2/{name}/blobs/uploads/?digest={EMPTY}")).outcome


async def test_keys_from_a_file(serving: Serving, jwks_file: Path) -> None:
    async with _trusting(serving, jwks_file) as live:
        client = live.client.with_token(_token(("ann/app", "pull,push")))
        assert await _push(client, "ann/app") == (201, "")
        (await client.get(f"/v2/ann/app/blobs/{EMPTY}")).expect(200)
        (await client.get("/v2/")).expect(200)


async def test_keys_by_http(serving: Serving) -> None:
    async with _issuer(json.dumps(JWKS).encode()) as url, _trusting(serving, url) as live:
        assert await _push(live.client.with_token(_token(("ann/app", "pull,push"))), "ann/app") == (201, "")


async def test_scope_is_the_whole_answer(serving: Serving, jwks_file: Path) -> None:
    """No account is asked for, not even one of the same name, and no right of it counts."""
    async with _trusting(serving, jwks_file) as live:
        owner = await live.login("ann", "repository:ann/app:*")
        await owner.push_blob("ann/app", b"x")
        target = f"/v2/ann/app/blobs/{Digest.of(b'x')}"
        (await live.client.with_token(_token(("ann/app", "pull"), subject="nobody")).get(target)).expect(200)
        for scopes in ([], [("ann/other", "pull")], [("ann/app", "push")]):
            answer = (await live.client.with_token(_token(*scopes)).get(target)).expect(401)
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        reader = live.client.with_token(_token(("ann/app", "pull")))
        assert await _push(reader, "ann/app") == (401, "UNAUTHORIZED")
        assert (await reader.delete(target)).status == 401


async def test_push_to_a_namespace_that_is_not_there(serving: Serving, jwks_file: Path) -> None:
    async with _trusting(serving, jwks_file) as live:
        client = live.client.with_token(
            _token(("nowhere/app", "pull,push"), changes={"admin": True, "account": 1})
        )
        assert await _push(client, "nowhere/app") == (403, "DENIED")
        manifest = b'{"schemaVersion":2,"manifests":[]}'
        media_type = "application/vnd.oci.image.index.v1+json"
        answer = await client.put("/v2/nowhere/app/manifests/v1", manifest, Content_Type=media_type)
        assert answer.outcome == (403, "DENIED")
        assert (await client.get("/v2/nowhere/app/tags/list")).outcome == (404, "NAME_UNKNOWN")
        assert list((live.data / "uploads").iterdir()) == []


async def test_nobody_outside_goes_on_with_an_upload_of_an_account(serving: Serving, jwks_file: Path) -> None:
    async with _trusting(serving, jwks_file) as live:
        location = await (await live.login("ann", "repository:ann/app:pull,push")).start_upload("ann/app")
        client = live.client.with_token(_token(("ann/app", "pull,push"), subject="ann"))
        assert (await client.patch(location, b"x")).outcome == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_catalog_for_somebody_outside_is_that_of_nobody(serving: Serving, jwks_file: Path) -> None:
    async with _trusting(serving, jwks_file) as live:
        owner = await live.login("ann", "repository:ann/private:*", "repository:ann/public:*")
        for name in ("ann/private", "ann/public"):
            await owner.push_blob(name, b"x")
        live.publish("ann/public")
        access = [{"type": "registry", "name": "catalog", "actions": ["*"]}]
        client = live.client.with_token(_token(changes={"access": access}))
        assert (await client.get("/v2/_catalog")).json() == {"repositories": ["ann/public"]}


CLAIMS_THAT_ARE_REFUSED: Final[list[Mapping[str, object]]] = [
    {"iss": "https://other.example.org"},
    {"iss": "longshore", "aud": "longshore"},
    {"aud": "longshore"},
    {"aud": None},
    {"sub": ""},
    {"sub": None},
    {"exp": 1},
]


async def test_claims_that_are_refused(serving: Serving, jwks_file: Path, subtests: pytest.Subtests) -> None:
    async with _trusting(serving, jwks_file) as live:
        for changes in CLAIMS_THAT_ARE_REFUSED:
            with subtests.test(str(changes)):
                client = live.client.with_token(_token(("ann/app", "pull"), changes=changes))
                answer = (await client.get("/v2/")).expect(401)
                assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_keys_are_not_mixed_up(serving: Serving, jwks_file: Path) -> None:
    """Neither issuer signs for the other."""
    async with _trusting(serving, jwks_file) as live:
        ours = live.keys.load().signing
        own = _token(changes={"iss": "longshore", "aud": "longshore", "account": 1})
        theirs = _token(("ann/app", "pull"), key=ours)
        for token in (own, theirs, _token(key=SigningKey.generate("ES256", 0))):
            assert (await live.client.with_token(token).get("/v2/")).status == 401


async def test_outside_tokens_mean_nothing_where_no_issuer_is_set(live: Live) -> None:
    assert (await live.client.with_token(_token(("ann/app", "pull"))).get("/v2/")).status == 401


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": 5}', '{"keys": []}'])
async def test_server_starts_without_usable_keys(serving: Serving, jwks_file: Path, content: str) -> None:
    _write(jwks_file, content.encode())
    async with _trusting(serving, jwks_file) as live:
        assert (await live.client.with_token(_token()).get("/v2/")).status == 401
        (await (await live.login("ann")).get("/v2/")).expect(200)


# -- reading the keys ------------------------------------------------------------------------------------


async def test_file_that_changes(jwks_file: Path) -> None:
    keys = OutsideKeys(str(jwks_file))
    assert keys.current() == {"keys": []}
    assert await keys.refresh()
    assert keys.current() == JWKS
    _write(jwks_file, b'{"keys": []}')
    assert keys.current() == JWKS
    assert await keys.refresh()
    assert keys.current() == {"keys": []}


BROKEN: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "bytes": b'{"keys": "\xff"}',
    "depth": b"[" * 100_000,
    "too much": b'{"keys": [' + b" " * (256 * 1024) + b"]}",
}


async def test_last_keys_stay_in_force(jwks_file: Path) -> None:
    keys = OutsideKeys(str(jwks_file))
    await keys.refresh()
    for content in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000):
        _write(jwks_file, content)
        assert not await keys.refresh()
        assert keys.current() == JWKS
    _write(jwks_file, None)
    assert not await keys.refresh()
    assert keys.current() == JWKS


@pytest.mark.parametrize("words", BROKEN)
async def test_last_keys_stay_in_force_by_http(words: str) -> None:
    async with _issuer(json.dumps(JWKS).encode(), BROKEN[words]) as url:
        keys = OutsideKeys(url)
        assert [await keys.refresh(), await keys.refresh()] == [True, False]
        assert keys.current() == JWKS


async def test_redirects_are_not_followed() -> None:
    redirect = web.Response(status=302, headers={"Location": "/jwks.json"})
    async with _issuer(redirect, json.dumps(JWKS).encode()) as url:
        assert not await OutsideKeys(url).refresh()


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_statuses_that_are_no_answer(status: int) -> None:
    refused = web.Response(status=status, body=json.dumps(JWKS).encode())
    async with _issuer(refused, json.dumps(JWKS).encode()) as url:
        keys = OutsideKeys(url)
        assert not await keys.refresh()
        assert keys.current() == {"keys": []}
        assert await keys.refresh()


async def test_nobody_answers() -> None:
    async with _issuer() as url:
        pass
    assert not await OutsideKeys(url).refresh()


async def test_key_set_that_comes_in_pieces() -> None:
    text = json.dumps(JWKS).encode()
    async with _issuer([text[:10], text[10:50], text[50:]], b"") as url:
        keys = OutsideKeys(url)
        assert await keys.refresh()
        assert keys.current() == JWKS


async def test_answer_that_breaks_off() -> None:
    text = json.dumps(JWKS).encode()

    def pieces() -> Iterable[bytes]:
        yield text[:10]
        raise ConnectionResetError

    async with _issuer(pieces()) as url:
        assert not await OutsideKeys(url).refresh()
