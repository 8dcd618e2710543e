"""Administration: people, storage by namespace, jobs, settings, health."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from registry.administration import Administration
from registry.guards import require_administrator
from registry.invitations import Invitations
from registry.people import People
from registry.web.pages.attempts import Attempt, Words, attempt
from registry.web.pages.shell import Shell, Visitor, see_other

_PAGE: Final = 50


class AdministrationPages:
    """The handlers below `/administration`, for administrators alone."""

    def __init__(
        self, shell: Shell, administration: Administration, people: People, invitations: Invitations
    ) -> None:
        self._shell = shell
        self._administration = administration
        self._people = people
        self._invitations = invitations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/administration", self.get_health),
            web.get("/administration/people", self.list_people),
            web.post("/administration/people", self.add_person),
            web.post("/administration/people/{name}", self.change_person),
            web.post("/administration/invitations", self.invite),
            web.get("/administration/namespaces", self.list_namespaces),
            web.get("/administration/jobs", self.list_jobs),
            web.get("/administration/settings", self.list_settings),
        ]

    async def get_health(self, request: web.Request) -> web.StreamResponse:
        """Show how the registry is."""
        visitor = await self._enter(request)
        health = await self._administration.health(visitor.identity)
        return self._shell.render(request, "administration/health.html", health=health)

    async def list_people(self, request: web.Request) -> web.StreamResponse:
        """List the accounts, with the forms for another one."""
        visitor = await self._enter(request)
        return await self._show_people(request, visitor, Attempt())

    async def add_person(self, request: web.Request) -> web.StreamResponse:
        """Add an account."""
        visitor = await self._enter(request)
        form = await self._shell.read_form(request)
        tried = await attempt(
            self._people.add_person(
                visitor.identity,
                form.get("name", "").strip(),
                form.get("password", ""),
                is_admin=form.get("admin") == "yes",
            ),
            taken="name",
        )
        if tried.failed:
            return await self._show_people(request, visitor, tried, said=form)
        return see_other("/administration/people", notice="created")

    async def change_person(self, request: web.Request) -> web.StreamResponse:
        """Close or open an account, or let it administer or no more."""
        visitor = await self._enter(request)
        form = await self._shell.read_form(request)
        name = request.match_info["name"]
        if "disabled" in form:
            change = self._people.set_disabled(visitor.identity, name, disabled=form["disabled"] == "yes")
        else:
            change = self._people.set_admin(visitor.identity, name, is_admin=form.get("admin") == "yes")
        tried = await attempt(change)
        if tried.failed:
            return await self._show_people(request, visitor, tried)
        return see_other("/administration/people", notice="saved")

    async def invite(self, request: web.Request) -> web.StreamResponse:
        """Make a link with which somebody makes an account."""
        visitor = await self._enter(request)
        form = await self._shell.read_form(request)
        tried = await attempt(self._invitations.invite(visitor.identity, note=form.get("note", "")))
        said = form if tried.failed else None
        return await self._show_people(request, visitor, tried, said=said, invited=tried.value)

    async def list_namespaces(self, request: web.Request) -> web.StreamResponse:
        """List what each namespace takes."""
        visitor = await self._enter(request)
        cursor = request.query.get("cursor")
        found = await self._administration.namespaces(visitor.identity, cursor=cursor, limit=_PAGE)
        return self._shell.render(request, "administration/namespaces.html", found=found)

    async def list_jobs(self, request: web.Request) -> web.StreamResponse:
        """List the background jobs."""
        visitor = await self._enter(request)
        jobs = await self._administration.jobs(visitor.identity)
        return self._shell.render(request, "administration/jobs.html", jobs=jobs)

    async def list_settings(self, request: web.Request) -> web.StreamResponse:
        """List the settings in force, secrets masked."""
        visitor = await self._enter(request)
        settings = await self._administration.settings(visitor.identity)
        return self._shell.render(request, "administration/settings.html", settings=settings)

    async def _enter(self, request: web.Request) -> Visitor:
        visitor = await self._shell.require_login(request)
        require_administrator(visitor.identity)
        return visitor

    async def _show_people(
        self,
        request: web.Request,
        visitor: Visitor,
        tried: Attempt[Any],
        said: Mapping[str, str] | None = None,
        invited: object = None,
    ) -> web.Response:
        q, cursor = request.query.get("q", "").strip()[:64], request.query.get("cursor")
        return self._shell.render(
            request,
            "administration/people.html",
            status=422 if tried.failed else 200,
            found=await self._people.people(visitor.identity, q=q, cursor=cursor, limit=_PAGE),
            invitations=await self._invitations.invitations(visitor.identity),
            q=q,
            tried=tried,
            said=Words(said or {}),
            invited=invited,
        )
