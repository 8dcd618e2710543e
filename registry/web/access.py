"""A request → who is asking → what they may do."""

from dataclasses import dataclass
from typing import Final

from aiohttp import BasicAuth, web

from auth.identity import ANONYMOUS, SYSTEM, Identity, WrongCredentials
from auth.policy import allowed_actions
from auth.scope import Access, Scope
from auth.tokens import InvalidToken, TokenVerifier, VerifiedToken
from registry.accounts import StoredAccounts
from registry.authorized import Action, Authorized, Mount
from registry.errors import Problem, RegistryError
from registry.interface import Registry
from registry.local import LocalRegistry
from registry.names import RepositoryName
from registry.rights import ARCHIVED

# What to ask for when one action is lacking: clients that push look first, and clients that delete as well.
_ACTIONS: Final[dict[Action, frozenset[str]]] = {
    "pull": frozenset({"pull"}),
    "push": frozenset({"pull", "push"}),
    "delete": frozenset({"pull", "delete"}),
}

SUBJECT: Final = web.RequestKey("subject", str)
"""Who is asking, for the log; "" for an anonymous caller."""

TOKEN_ENDS: Final = web.RequestKey("token_ends", int)
"""When the caller's token expires, in seconds since the epoch; not there without a token."""

_CATALOG: Final = Access("registry", "catalog", frozenset({"*"}))
_SEARCH: Final = Access("registry", "catalog", frozenset({"search"}))


class Challenge(RegistryError):
    """401: a token, or a better one, would help (Docker token specification; RFC 6750, section 3).

    `reason` is "invalid_token" or "insufficient_scope", and None when no token was sent.
    """

    def __init__(self, scope: Scope, reason: str | None = None, message: str = "") -> None:
        super().__init__(Problem.UNAUTHORIZED, message, detail=scope.to_claims() or None)
        self.scope = scope
        self.reason = reason

    def header(self, base_url: str, service: str) -> str:
        """Return the value of WWW-Authenticate."""
        parameters = {"realm": f"{base_url}/token", "service": service}
        if self.scope:
            parameters["scope"] = str(self.scope)
        if self.reason is not None:
            parameters["error"] = self.reason
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def read_login(header: str) -> BasicAuth:
    """Return the name and the password of an Authorization header (RFC 7617). Raises WrongCredentials."""
    try:
        return BasicAuth.decode(header, encoding="utf-8")
    except ValueError as error:
        raise WrongCredentials("the Authorization header is not Basic") from error


async def speaker(accounts: StoredAccounts, token: VerifiedToken, scope: Scope) -> Identity:
    """Return whom one of our tokens speaks for, as the account is now and not as it was when it was made.

    Raises a Challenge for `scope` where that is nobody any more.
    """
    identity = await accounts.find_by_token(token)
    if identity is None:
        raise Challenge(scope, "invalid_token", "what the token was made for is gone, closed or revoked")
    return identity


class Gate:
    """Lets callers in: one for the process, without a verifier where access control is off."""

    def __init__(
        self, registry: LocalRegistry, accounts: StoredAccounts, verifier: TokenVerifier | None
    ) -> None:
        self._registry = registry
        self._accounts = accounts
        self._verifier = verifier

    async def enter(self, request: web.Request) -> Registry:
        """Return the registry as the caller of `request` may use it.

        Raises:
            Challenge: the credentials are not a valid token.
        """
        if self._verifier is None:
            return Authorized(self._registry, OpenAccess(self._accounts))
        token = self._read_token(request)
        identity = ANONYMOUS if token is None else await self._identify(token)
        request[SUBJECT] = identity.name
        if token is not None:
            request[TOKEN_ENDS] = token.expires_at
        access = RequestAccess(self._accounts, identity, token)
        return Authorized(self._registry.acting_for(identity), access)

    async def enter_catalog(self, request: web.Request) -> Identity:
        """Return who searches: nobody in particular without a token, and with one whom it is for.

        Raises:
            Challenge: the credentials are not a valid token, or it is for something else.
        """
        if self._verifier is None:
            return SYSTEM
        token = self._read_token(request)
        if token is None:
            return ANONYMOUS
        if not token.scope.allows("registry", "catalog", "search"):
            raise Challenge(Scope([_SEARCH]), "insufficient_scope")
        identity = await self._identify(token)
        request[SUBJECT] = identity.name
        return identity

    async def require_login(self, request: web.Request) -> None:
        """Raise a Challenge unless the request carries a valid token, be it an anonymous one."""
        if self._verifier is None:
            return
        token = self._read_token(request)
        if token is None:
            raise Challenge(Scope())
        await self._identify(token)

    def _read_token(self, request: web.Request) -> VerifiedToken | None:
        header = request.headers.get("Authorization")
        if header is None or self._verifier is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Challenge(Scope(), message="only bearer tokens are accepted here")
        try:
            return self._verifier.verify(token.strip())
        except InvalidToken as error:
            raise Challenge(Scope(), "invalid_token", str(error)) from error

    async def _identify(self, token: VerifiedToken) -> Identity:
        """Return who the token speaks for."""
        if token.external:
            return token.identity
        if token.account_id is None:
            return ANONYMOUS
        return await speaker(self._accounts, token, Scope())


@dataclass(frozen=True, slots=True)
class RequestAccess:
    """What one caller may do; satisfies `registry.authorized.Access`.

    A token is an upper bound. What is granted is also asked of the database on each request, so a right that
    is withdrawn ends at once. An outside issuer's token is the whole answer.
    """

    accounts: StoredAccounts
    identity: Identity
    token: VerifiedToken | None

    async def require(self, repository: RepositoryName, action: Action) -> RepositoryName:
        """Return the name of now; what may not be seen looks like what is not there."""
        if not self._in_token(repository, action):
            raise await self._refusal(repository, action)
        name, allowed = await self._look_up(repository)
        if action not in allowed:
            raise await self._refusal(repository, action)
        if name != repository and action != "pull":
            raise RegistryError(Problem.DENIED, f"{repository} is called {name} now")
        return name

    async def require_mount(self, repository: RepositoryName, source: RepositoryName | None) -> Mount:
        """Require push; and pull from the source where that only takes a better token."""
        may_read, name = True, source
        if source is not None:
            name, allowed = await self._look_up(source)
            may_read = "pull" in allowed
            if may_read and not self._in_token(source, "pull"):
                raise self._challenge(_needed(repository, "push") | _needed(source, "pull"))
        return Mount(await self.require(repository, "push"), name, may_read)

    async def require_catalog(self) -> None:
        """Return if there is a token for the catalog: the list itself holds only what the caller may see."""
        if self.token is None or not self.token.scope.allows("registry", "catalog", "*"):
            raise self._challenge(Scope([_CATALOG]))

    def _in_token(self, repository: RepositoryName, action: Action) -> bool:
        if self.token is None:
            return True  # nobody in particular: the rights decide
        return any(self.token.scope.allows("repository", name, action) for name in repository.aliases)

    async def _look_up(self, repository: RepositoryName) -> tuple[RepositoryName, frozenset[str]]:
        """Return what the repository is called now, and what the caller may do there."""
        standing = await self.accounts.standing(self.identity, repository)
        name = RepositoryName(standing.name)
        if not self.identity.external:
            return name, allowed_actions(self.identity, standing)
        closed = frozenset({"push"}) if standing.archived else frozenset[str]()
        return name, frozenset(each for each in _ACTIONS if self._in_token(repository, each)) - closed

    async def _refusal(self, repository: RepositoryName, action: Action) -> RegistryError:
        """Return a challenge where a better token may help, else the plain refusal."""
        if self.token is not None and action == "push" and await self._is_archived(repository):
            return RegistryError(Problem.DENIED, ARCHIVED)
        if self.token is not None and self._in_token(repository, action):
            return RegistryError(Problem.DENIED)
        return self._challenge(_needed(repository, action))

    async def _is_archived(self, repository: RepositoryName) -> bool:
        """Tell whether that is why nobody can push, to who may know it."""
        standing = await self.accounts.standing(self.identity, repository)
        return standing.archived and "pull" in (await self._look_up(repository))[1]

    def _challenge(self, scope: Scope) -> Challenge:
        return Challenge(scope, None if self.token is None else "insufficient_scope")


@dataclass(frozen=True, slots=True)
class OpenAccess:
    """Everybody may do everything; satisfies `registry.authorized.Access`."""

    accounts: StoredAccounts

    async def require(self, repository: RepositoryName, action: Action) -> RepositoryName:
        """Return the name of now."""
        standing = await self.accounts.standing(SYSTEM, repository)
        if standing.archived and action == "push":
            raise RegistryError(Problem.DENIED, ARCHIVED)
        return RepositoryName(standing.name)

    async def require_mount(self, repository: RepositoryName, source: RepositoryName | None) -> Mount:
        """Return the names of now."""
        name = None if source is None else await self.require(source, "pull")
        return Mount(await self.require(repository, "push"), name, may_read=True)

    async def require_catalog(self) -> None:
        """Return."""


def _needed(repository: RepositoryName, action: Action) -> Scope:
    return Scope([Access("repository", repository, _ACTIONS[action])])
