"""The token endpoint and the public keys.

Sources: the Docker token and OAuth 2 specifications (distribution.github.io, "Token Authentication"),
RFC 6749, RFC 7517.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from auth.identity import ANONYMOUS, Authenticator, Identity, WrongCredentials
from auth.jwk import KeyRing
from auth.policy import Standing, grant
from auth.scope import Scope
from auth.tokens import TokenIssuer
from registry.accounts import StoredAccounts
from registry.errors import Problem, RegistryError
from registry.names import parse_name
from registry.web.access import read_login
from registry.web.body import FORM, parse_form, read_body
from registry.web.origin import Origins

_NO_STANDING: Final = Standing(exists=False, public=False, namespace_exists=False)

# Long enough to spare the fetch, short enough to learn of a rotation before the old key is gone.
_JWKS_MAX_AGE: Final = 300

_MAX_CLIENT_ID: Final = 128

# Room for the longest password and scope, in bytes.
_MAX_FORM: Final = 1024 * 1024
_MAX_FIELDS: Final = 100


class Tokens:
    """The handlers of `/token` and `/.well-known/jwks.json`."""

    def __init__(
        self,
        accounts: StoredAccounts,
        authenticator: Authenticator,
        issuer: TokenIssuer,
        keyring: Callable[[], KeyRing],
        origins: Origins,
    ) -> None:
        self._accounts = accounts
        self._authenticator = authenticator
        self._issuer = issuer
        self._keyring = keyring
        self._origins = origins

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/token", self.get_token, allow_head=False),
            web.post("/token", self.post_token),
            web.get("/.well-known/jwks.json", self.get_keys),
        ]

    async def get_token(self, request: web.Request) -> web.Response:
        """Issue a token to the caller with Basic credentials, or to an anonymous one."""
        identity = await self._identify_by_basic(request)
        answer, _ = await self._issue(identity, request.query.getall("scope", []))
        if request.query.get("offline_token") == "true":
            answer |= await self._offline(identity, request.query.get("client_id", ""))
        return _respond(answer)

    async def post_token(self, request: web.Request) -> web.Response:
        """Issue a token for a password or a refresh token, given as a form."""
        form = await _read_form(request)
        identity = await self._identify_by_form(request, form)
        answer, granted = await self._issue(identity, [form.get("scope", "")])
        answer["scope"] = str(granted)
        if form.get("access_type") == "offline":
            kept = form["refresh_token"] if form["grant_type"] == "refresh_token" else None
            answer |= await self._offline(identity, form.get("client_id", ""), kept)
        return _respond(answer)

    async def get_keys(self, _: web.Request) -> web.Response:
        """Publish the keys that verify our tokens (RFC 7517)."""
        headers = {"Cache-Control": f"public, max-age={_JWKS_MAX_AGE}"}
        return web.json_response(self._keyring().jwks(), headers=headers)

    async def _identify_by_basic(self, request: web.Request) -> Identity:
        header = request.headers.get("Authorization")
        if header is None:
            return ANONYMOUS
        login = read_login(header)
        return await self._authenticate(request, login.login, login.password)

    async def _identify_by_form(self, request: web.Request, form: Mapping[str, str]) -> Identity:
        match form.get("grant_type"):
            case "password":
                return await self._authenticate(request, form.get("username", ""), form.get("password", ""))
            case "refresh_token":
                identity = await self._accounts.find_by_refresh_token(form.get("refresh_token", ""))
                if identity is None:
                    raise WrongCredentials("the refresh token is unknown, expired or withdrawn")
                return identity
        raise RegistryError(Problem.REQUEST_INVALID, "grant_type is password or refresh_token")

    async def _authenticate(self, request: web.Request, name: str, password: str) -> Identity:
        address = self._origins.client_address(request)
        return await self._authenticator.authenticate(name, password, address)

    async def _issue(self, identity: Identity, scopes: Iterable[str]) -> tuple[dict[str, Any], Scope]:
        """Return the answer with a token for what of the scopes may be granted, maybe nothing; and that."""
        requested = Scope.parse(scopes)
        standings = {
            each.name: await self._standing(identity, each.name)
            for each in requested
            if each.type == "repository"
        }
        granted = grant(identity, requested, standings.__getitem__)
        issued = self._issuer.issue(identity, granted)
        answer = {
            "token": issued.token,
            "access_token": issued.token,
            "expires_in": issued.expires_in,
            "issued_at": issued.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return answer, granted

    async def _standing(self, identity: Identity, name: str) -> Standing:
        try:
            repository = parse_name(name)
        except RegistryError:
            return _NO_STANDING  # nobody has rights on what cannot be; asking is no error
        return await self._accounts.standing(identity, repository)

    async def _offline(self, identity: Identity, client_id: str, kept: str | None = None) -> dict[str, str]:
        """Return the member with a refresh token: the one that was used, or a new one."""
        secret = kept or await self._accounts.add_refresh_token(identity, client_id[:_MAX_CLIENT_ID])
        return {} if secret is None else {"refresh_token": secret}


async def _read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of the form, the only kind that OAuth 2 has (RFC 6749, appendix B)."""
    content = await read_body(request, _MAX_FORM)
    return dict(parse_form(content, _MAX_FIELDS)) if request.content_type == FORM else {}


def _respond(answer: Mapping[str, Any]) -> web.Response:
    return web.json_response(answer, headers={"Cache-Control": "no-store"})
