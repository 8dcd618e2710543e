"""Repositories: what they say of themselves, who may do what, what happened."""

from typing import Final

from aiohttp import web

from registry.catalog import CATEGORIES, Catalog, RepositoryEdit
from registry.errors import Problem, RegistryError
from registry.statistics import Statistics
from registry.web.api import models
from registry.web.api.answers import (
    Page,
    respond,
    respond_created,
    respond_list,
    respond_nothing,
)
from registry.web.api.bodies import (
    ConsequencesQuery,
    CountsQuery,
    NewName,
    NewRepository,
    PageQuery,
    RepositoriesQuery,
    RepositoryChanges,
    RoleChange,
    StatisticsQuery,
)
from registry.web.api.requests import name_in, read_body, read_query, repository_in, version_in
from registry.web.api.teams import role_of
from registry.web.callers import Callers

ALL: Final = "/api/v1/repositories"

# What follows a name stands behind "-", which is no part of any name.
ONE: Final = ALL + "/{name:(?:(?!-/)[^/]+/)*[^/]+}"
OF_ONE: Final = ALL + "/{name:.+?}/-"


class Repositories:
    """The handlers of `/repositories`."""

    def __init__(self, callers: Callers, catalog: Catalog, statistics: Statistics) -> None:
        self._callers = callers
        self._catalog = catalog
        self._statistics = statistics

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        role = OF_ONE + "/roles/{person}"
        return [
            web.get(ALL, self.list_repositories),
            web.post(ALL, self.create),
            web.get(ONE, self.get_repository),
            web.patch(ONE, self.edit),
            web.delete(ONE, self.delete),
            web.post(OF_ONE + "/rename", self.rename),
            web.get(OF_ONE + "/consequences", self.get_consequences),
            web.put(OF_ONE + "/star", self.star),
            web.delete(OF_ONE + "/star", self.unstar),
            web.get(OF_ONE + "/statistics", self.list_days),
            web.get(OF_ONE + "/statistics/tags", self.list_tag_counts),
            web.get(OF_ONE + "/roles", self.list_roles),
            web.put(role, self.set_role),
            web.delete(role, self.remove_role),
            web.get("/api/v1/me/stars", self.list_stars),
            web.get("/api/v1/categories", self.list_categories),
        ]

    async def list_repositories(self, request: web.Request) -> web.Response:
        """List the repositories that the caller may see."""
        caller, query = await self._callers.enter(request), read_query(request, RepositoriesQuery)
        found = await self._catalog.repositories(caller, **query.model_dump())
        return respond_list(request, Page[models.Card], found)

    async def create(self, request: web.Request) -> web.Response:
        """Make a repository before anything is pushed."""
        caller = await self._callers.enter(request)
        body = await read_body(request, NewRepository)
        changes = body.changes()
        made = await self._catalog.create(caller, changes.pop("name"), RepositoryEdit(**changes))
        answer = models.Repository.of(made)
        return respond_created(answer, "repositories", answer.name, version=made.version)

    async def get_repository(self, request: web.Request) -> web.Response:
        """Tell of a repository."""
        caller = await self._callers.enter(request)
        found = await self._catalog.repository(caller, repository_in(request))
        return respond(models.Repository.of(found), version=found.version)

    async def edit(self, request: web.Request) -> web.Response:
        """Change what a repository says of itself, and who may see it."""
        caller = await self._callers.enter(request)
        body, version = await read_body(request, RepositoryChanges), version_in(request)
        edit = RepositoryEdit(**body.changes())
        found = await self._catalog.edit(caller, repository_in(request), edit, version=version)
        return respond(models.Repository.of(found), version=found.version)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a repository with all that is in it."""
        caller = await self._callers.enter(request)
        await self._catalog.delete(caller, repository_in(request))
        return respond_nothing()

    async def rename(self, request: web.Request) -> web.Response:
        """Give a repository another name, maybe in another namespace; the old one goes on working."""
        caller = await self._callers.enter(request)
        body, version = await read_body(request, NewName), version_in(request)
        found = await self._catalog.rename(caller, repository_in(request), body.name, version=version)
        return respond(models.Repository.of(found), version=found.version)

    async def get_consequences(self, request: web.Request) -> web.Response:
        """Tell what would go with a repository or a tag."""
        caller, query = await self._callers.enter(request), read_query(request, ConsequencesQuery)
        found = await self._catalog.consequences(caller, repository_in(request), query.tag)
        return respond(models.Consequences.model_validate(found))

    async def star(self, request: web.Request) -> web.Response:
        """Star a repository."""
        caller = await self._callers.enter(request)
        await self._catalog.star(caller, repository_in(request), True)
        return respond_nothing()

    async def unstar(self, request: web.Request) -> web.Response:
        """Take the star back."""
        caller = await self._callers.enter(request)
        await self._catalog.star(caller, repository_in(request), False)
        return respond_nothing()

    async def list_stars(self, request: web.Request) -> web.Response:
        """List the repositories that the caller has starred."""
        caller, query = await self._callers.enter(request), read_query(request, PageQuery)
        if caller.is_anonymous:
            raise RegistryError(Problem.UNAUTHORIZED)
        found = await self._catalog.repositories(
            caller, starred_by=caller.name, cursor=query.cursor, limit=query.limit
        )
        return respond_list(request, Page[models.Card], found)

    async def list_days(self, request: web.Request) -> web.Response:
        """List pulls and pushes by day."""
        caller, query = await self._callers.enter(request), read_query(request, StatisticsQuery)
        found = await self._statistics.daily(caller, repository_in(request), days=query.days, tag=query.tag)
        return respond_list(request, Page[models.Day], found)

    async def list_tag_counts(self, request: web.Request) -> web.Response:
        """List the tags that were pulled most."""
        caller, query = await self._callers.enter(request), read_query(request, CountsQuery)
        name = repository_in(request)
        found = await self._statistics.by_tag(caller, name, days=query.days, limit=query.limit)
        return respond_list(request, Page[models.TagCount], found)

    async def list_roles(self, request: web.Request) -> web.Response:
        """List who was given a role on a repository."""
        caller = await self._callers.enter(request)
        found = await self._catalog.roles(caller, repository_in(request))
        return respond_list(request, Page[models.Collaborator], found)

    async def set_role(self, request: web.Request) -> web.Response:
        """Give somebody a role on a repository."""
        caller = await self._callers.enter(request)
        body = await read_body(request, RoleChange)
        name, person = repository_in(request), name_in(request, "person")
        await self._catalog.set_role(caller, name, person, role_of(body.role))
        return respond_nothing()

    async def remove_role(self, request: web.Request) -> web.Response:
        """Take somebody's role on a repository away."""
        caller = await self._callers.enter(request)
        await self._catalog.set_role(caller, repository_in(request), name_in(request, "person"), None)
        return respond_nothing()

    async def list_categories(self, request: web.Request) -> web.Response:
        """List what repositories can be about."""
        await self._callers.enter(request)
        found = [{"name": name, "title": title} for name, title in CATEGORIES.items()]
        return respond_list(request, Page[models.Category], found)
