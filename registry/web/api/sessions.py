"""Where the caller is signed in."""

from aiohttp import web

from registry.sessions import Sessions as SessionsService
from registry.web.api import models
from registry.web.api.answers import Page, respond_list, respond_nothing
from registry.web.api.requests import id_in
from registry.web.callers import SESSION, Callers


class Sessions:
    """The handlers of `/me/sessions`."""

    def __init__(self, callers: Callers, sessions: SessionsService) -> None:
        self._callers = callers
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/me/sessions", self.list_sessions),
            web.delete("/api/v1/me/sessions", self.end_others),
            web.delete("/api/v1/me/sessions/{id}", self.end_session),
        ]

    async def list_sessions(self, request: web.Request) -> web.Response:
        """List where the caller is signed in."""
        caller = await self._callers.enter(request)
        found = await self._sessions.sessions(caller, request.get(SESSION))
        return respond_list(request, Page[models.Session], found)

    async def end_others(self, request: web.Request) -> web.Response:
        """Sign the caller out everywhere but here."""
        caller = await self._callers.enter(request)
        await self._sessions.revoke_others(caller, request.get(SESSION))
        return respond_nothing()

    async def end_session(self, request: web.Request) -> web.Response:
        """Sign the caller out somewhere."""
        caller = await self._callers.enter(request)
        await self._sessions.revoke(caller, id_in(request))
        return respond_nothing()
