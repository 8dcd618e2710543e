"""Search, and suggestions as one types."""

from aiohttp import web

from registry.people import People
from registry.search import Search as SearchService
from registry.web.api import models
from registry.web.api.answers import Page, respond_list, respond_page
from registry.web.api.bodies import SearchQuery, SuggestionsQuery
from registry.web.api.requests import read_query
from registry.web.callers import Callers


class Search:
    """The handlers of `/search` and `/suggestions`."""

    def __init__(self, callers: Callers, search: SearchService, people: People) -> None:
        self._callers = callers
        self._search = search
        self._people = people

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/search", self.find),
            web.get("/api/v1/suggestions", self.suggest),
            web.get("/api/v1/suggestions/people", self.suggest_people),
        ]

    async def find(self, request: web.Request) -> web.Response:
        """Find repositories by words."""
        caller, query = await self._callers.enter(request), read_query(request, SearchQuery)
        found = await self._search.find(caller, **query.model_dump())
        return respond_page(request, models.Found.model_validate(found), found.next)

    async def suggest(self, request: web.Request) -> web.Response:
        """Suggest repositories for the beginning of a word."""
        caller, query = await self._callers.enter(request), read_query(request, SuggestionsQuery)
        found = await self._search.suggest(caller, query.q, limit=query.limit)
        return respond_list(request, Page[models.Suggestion], found)

    async def suggest_people(self, request: web.Request) -> web.Response:
        """Suggest people for the beginning of a name."""
        caller, query = await self._callers.enter(request), read_query(request, SuggestionsQuery)
        found = await self._people.suggest_people(caller, query.q, limit=query.limit)
        return respond_list(request, Page[models.Named], [{"name": name} for name in found])
