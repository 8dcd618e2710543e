"""Who calls the catalog's interface or looks at a page.

The interface takes a bearer token, which is an access token or a token of `/token` with the scope
`registry:api:…`; a name with a password or an access token (Basic); or the session of the pages, for their
scripts. The pages take sessions alone.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from auth.identity import (
    ANONYMOUS,
    SYSTEM,
    Authenticator,
    Identity,
    Limit,
    Permission,
    WrongCredentials,
)
from auth.passwords import ACCESS_PREFIX
from auth.policy import api_permission
from auth.scope import Access, Scope
from auth.tokens import InvalidToken, TokenVerifier, VerifiedToken, new_secret
from registry.accounts import StoredAccounts
from registry.errors import Problem, RegistryError
from registry.sessions import Sessions
from registry.web.access import SUBJECT, Challenge, read_login, speaker
from registry.web.origin import Origins

CSRF_HEADER: Final = "X-CSRF-Token"

SESSION: Final = web.RequestKey("session", int)
"""The id of the session that a request came with."""

_COOKIE: Final = "longshore_session"
_FORM_COOKIE: Final = "longshore_form"
_FORM: Final = web.RequestKey("form", str)

# As long as browsers keep any cookie: when a session ends is decided here, and visits prolong it.
_COOKIE_AGE: Final = 400 * 86_400

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_API: Final = Scope([Access("registry", "api", frozenset({"*"}))])

# The id of no access token, for the bound that a token of ours has by its scope alone.
_NO_TOKEN: Final = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a page is for; `csrf` is what its forms carry, "" where there can be none."""

    identity: Identity
    csrf: str = ""
    session_id: int | None = None


@dataclass(frozen=True, slots=True)
class Callers:
    """Finds out who a request comes from. Without a verifier access control is off: everybody is let in."""

    accounts: StoredAccounts
    sessions: Sessions
    authenticator: Authenticator
    verifier: TokenVerifier | None
    origins: Origins

    async def enter(self, request: web.Request) -> Identity:
        """Return who calls the interface.

        Raises:
            Challenge: the bearer token is none, or good for something else.
            WrongCredentials, TooManyAttempts: of a name and a password.
            RegistryError: DENIED, a session changes something without the proof that a page of ours asked.
        """
        if self.verifier is None:
            return SYSTEM
        identity = await self._enter(request, self.verifier)
        request[SUBJECT] = identity.name
        return identity

    async def identify(self, request: web.Request) -> Caller:
        """Return who looks at a page; a session that has ended is no error."""
        if self.verifier is None:
            return Caller(SYSTEM)
        secret = self._cookie(request, _COOKIE)
        found = None if not secret else await self.sessions.find(secret)
        if found is None:
            form = request.get(_FORM) or self._cookie(request, _FORM_COOKIE)
            return Caller(ANONYMOUS, csrf_of(form) if form else "")
        request[SESSION] = found.session_id
        return Caller(found.identity, csrf_of(secret), found.session_id)

    def begin_form(self, request: web.Request) -> None:
        """Give visitors without a session something that their forms can prove: call it before `identify`.

        Otherwise another site could sign somebody in here, as whom it likes.
        """
        request[_FORM] = self._cookie(request, _FORM_COOKIE) or new_secret("")

    def keep_form(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give the browser what `begin_form` began."""
        self._set_cookie(request, response, _FORM_COOKIE, request[_FORM])

    def check_form(self, request: web.Request) -> None:
        """Return if the form can have proven something: `begin_form` was called for the page that it is of.

        Raises:
            RegistryError: DENIED.
        """
        if self.origins.is_foreign(request) or not self._cookie(request, _FORM_COOKIE):
            raise RegistryError(Problem.DENIED, "The form is not of this browser. Load the page anew.")

    async def sign_in(self, request: web.Request, name: str, password: str) -> Identity:
        """Return who this is, by a password alone: what an access token may do is bounded, a session is not.

        Raises:
            RegistryError: DENIED, as `check_form` does.
            WrongCredentials, TooManyAttempts: as a login of a client does, counted with those.
        """
        self.check_form(request)
        if password.startswith(ACCESS_PREFIX):
            raise WrongCredentials("an access token does not sign in here")
        return await self.authenticator.authenticate(name, password, self.origins.client_address(request))

    async def begin(self, request: web.Request, response: web.StreamResponse, identity: Identity) -> None:
        """Begin a session and give it to the browser; one that was there before ends."""
        await self.end(request, response)
        secret = await self.sessions.start(
            identity,
            address=self.origins.client_address(request),
            agent=request.headers.get("User-Agent", ""),
        )
        self._set_cookie(request, response, _COOKIE, secret, _COOKIE_AGE)

    async def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the session that the request came with, and the forms from before."""
        secret = self._cookie(request, _COOKIE)
        if secret:
            await self.sessions.end(secret)
        for name in (_COOKIE, _FORM_COOKIE):
            self._set_cookie(request, response, name, "", 0)

    def _cookie(self, request: web.Request, name: str) -> str:
        return request.cookies.get(self._name(request, name), "")

    def _set_cookie(
        self,
        request: web.Request,
        response: web.StreamResponse,
        name: str,
        value: str,
        age: int | None = None,
    ) -> None:
        response.set_cookie(
            self._name(request, name),
            value,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self._is_secure(request),
            max_age=age,
        )

    def _name(self, request: web.Request, name: str) -> str:
        """Return the cookie's name: behind TLS one that no other host can set (RFC 6265bis, "__Host-")."""
        return f"__Host-{name}" if self._is_secure(request) else name

    def _is_secure(self, request: web.Request) -> bool:
        return self.origins.base_url(request).startswith("https://")

    async def _enter(self, request: web.Request, verifier: TokenVerifier) -> Identity:
        header = request.headers.get("Authorization")
        if header is None:
            return await self._by_session(request)
        scheme, _, credentials = header.partition(" ")
        match scheme.lower():
            case "bearer":
                return await self._by_bearer(credentials.strip(), verifier)
            case "basic":
                return await self._by_basic(request, header)
        raise Challenge(_API, message="only Bearer and Basic are accepted here")

    async def _by_session(self, request: web.Request) -> Identity:
        caller = await self.identify(request)
        if not caller.identity.is_anonymous and request.method not in _SAFE:
            sent = request.headers.get(CSRF_HEADER, "")
            proven = hmac.compare_digest(sent.encode(errors="replace"), caller.csrf.encode())
            if not proven or self.origins.is_foreign(request):
                raise RegistryError(Problem.DENIED, f"a session changes things with the header {CSRF_HEADER}")
        return caller.identity

    async def _by_basic(self, request: web.Request, header: str) -> Identity:
        if request.method not in _SAFE and self.origins.is_foreign(request):
            # A browser that was once given a name and a password sends them along with forms of any site.
            raise RegistryError(Problem.DENIED, "a page of another site changes nothing here")
        login = read_login(header)
        address = self.origins.client_address(request)
        return await self.authenticator.authenticate(login.login, login.password, address)

    async def _by_bearer(self, secret: str, verifier: TokenVerifier) -> Identity:
        if secret.startswith(ACCESS_PREFIX):
            found = await self.accounts.find_access_token(secret)
            if found is None:
                raise Challenge(_API, "invalid_token", "the access token is unknown, expired or revoked")
            return found
        try:
            token = verifier.verify(secret)
        except InvalidToken as error:
            raise Challenge(_API, "invalid_token", str(error)) from error
        return await self._by_token(token)

    async def _by_token(self, token: VerifiedToken) -> Identity:
        permission = api_permission(token.scope)
        if token.external or token.account_id is None or permission is None:
            raise Challenge(_API, "insufficient_scope")
        return bound(await speaker(self.accounts, token, _API), permission)


def bound(identity: Identity, permission: Permission) -> Identity:
    """Return the identity, good for no more than `permission`."""
    if identity.may(permission) and permission < Permission.ADMIN:
        limit = identity.limit or Limit(_NO_TOKEN, permission)
        return replace(identity, limit=replace(limit, permission=permission))
    return identity


def csrf_of(secret: str) -> str:
    """Return what forms of a session carry: it follows from the secret, and tells nothing of it."""
    return hashlib.sha256(b"csrf:" + secret.encode(errors="replace")).hexdigest()
