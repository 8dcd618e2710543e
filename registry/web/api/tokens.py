"""Access tokens: the caller's own, and those of robots."""

from aiohttp import web

from auth.identity import Identity, Permission
from registry.access_tokens import AccessTokens
from registry.organizations import whole_name
from registry.web.api import models
from registry.web.api.answers import Page, respond_list, respond_nothing, respond_secret
from registry.web.api.bodies import NewToken
from registry.web.api.requests import id_in, name_in, read_body
from registry.web.callers import Callers

_OF_ROBOT = "/api/v1/organizations/{organization}/robots/{robot}/tokens"


class Tokens:
    """The handlers of `/me/tokens` and of a robot's `tokens`."""

    def __init__(self, callers: Callers, tokens: AccessTokens) -> None:
        self._callers = callers
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/me/tokens", self.list_own),
            web.post("/api/v1/me/tokens", self.create_own),
            web.delete("/api/v1/me/tokens/{id}", self.revoke_own),
            web.get(_OF_ROBOT, self.list_robots),
            web.post(_OF_ROBOT, self.create_robots),
            web.delete(_OF_ROBOT + "/{id}", self.revoke_robots),
        ]

    async def list_own(self, request: web.Request) -> web.Response:
        """List the caller's tokens."""
        caller = await self._callers.enter(request)
        return respond_list(request, Page[models.Token], await self._tokens.tokens(caller))

    async def create_own(self, request: web.Request) -> web.Response:
        """Make a token for the caller."""
        caller = await self._callers.enter(request)
        return await self._create(request, caller, None, "me", "tokens")

    async def revoke_own(self, request: web.Request) -> web.Response:
        """Take a token of the caller's out of the world."""
        caller = await self._callers.enter(request)
        await self._tokens.revoke(caller, id_in(request))
        return respond_nothing()

    async def list_robots(self, request: web.Request) -> web.Response:
        """List a robot's tokens."""
        caller = await self._callers.enter(request)
        found = await self._tokens.tokens(caller, _robot(request))
        return respond_list(request, Page[models.Token], found)

    async def create_robots(self, request: web.Request) -> web.Response:
        """Make a token for a robot."""
        caller = await self._callers.enter(request)
        path = ("organizations", name_in(request, "organization"), "robots", name_in(request, "robot"))
        return await self._create(request, caller, _robot(request), *path, "tokens")

    async def revoke_robots(self, request: web.Request) -> web.Response:
        """Take a robot's token out of the world."""
        caller = await self._callers.enter(request)
        await self._tokens.revoke(caller, id_in(request), _robot(request))
        return respond_nothing()

    async def _create(
        self, request: web.Request, caller: Identity, robot: str | None, *path: str
    ) -> web.Response:
        body = await read_body(request, NewToken)
        made = await self._tokens.create(
            caller,
            body.name,
            Permission[body.permission.upper()],
            repositories=body.repositories,
            expires_at=body.expires_at,
            robot=robot,
        )
        token = models.Token.model_validate(made.token)
        answer = models.SecretToken(**token.model_dump(), secret=made.secret)
        return respond_secret(answer, *path, str(token.id))


def _robot(request: web.Request) -> str:
    """Return the name of a robot's account."""
    return whole_name(name_in(request, "organization"), name_in(request, "robot"))
