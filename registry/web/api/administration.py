"""Administration: who takes how much, what runs, what is set, whether all is well."""

from aiohttp import web

from registry.administration import Administration as AdministrationService
from registry.web.api import models
from registry.web.api.answers import Page, respond, respond_list
from registry.web.api.bodies import PageQuery
from registry.web.api.requests import read_query
from registry.web.callers import Callers


class Administration:
    """The handlers of `/admin`."""

    def __init__(self, callers: Callers, administration: AdministrationService) -> None:
        self._callers = callers
        self._administration = administration

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/admin/namespaces", self.list_namespaces),
            web.get("/api/v1/admin/jobs", self.list_jobs),
            web.get("/api/v1/admin/settings", self.list_settings),
            web.get("/api/v1/admin/health", self.get_health),
        ]

    async def list_namespaces(self, request: web.Request) -> web.Response:
        """List the namespaces with the storage that they use."""
        caller, query = await self._callers.enter(request), read_query(request, PageQuery)
        found = await self._administration.namespaces(caller, cursor=query.cursor, limit=query.limit)
        return respond_list(request, Page[models.NamespaceUse], found)

    async def list_jobs(self, request: web.Request) -> web.Response:
        """List the background jobs."""
        caller = await self._callers.enter(request)
        return respond_list(request, Page[models.Job], await self._administration.jobs(caller))

    async def list_settings(self, request: web.Request) -> web.Response:
        """List the settings in force, secrets masked."""
        caller = await self._callers.enter(request)
        return respond_list(request, Page[models.Setting], await self._administration.settings(caller))

    async def get_health(self, request: web.Request) -> web.Response:
        """Tell how the registry is."""
        caller = await self._callers.enter(request)
        return respond(models.Health.model_validate(await self._administration.health(caller)))
