"""The page of a person or an organization."""

from typing import Final

from aiohttp import web

from registry.catalog import Catalog
from registry.names import LIBRARY
from registry.people import People
from registry.web.pages.paths import choice, name_in
from registry.web.pages.shell import Shell, see_other

_PAGE: Final = 24


class Profiles:
    """The handler of `/u/{name}`."""

    def __init__(self, shell: Shell, people: People, catalog: Catalog) -> None:
        self._shell = shell
        self._people = people
        self._catalog = catalog

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/u/{name}", self.get_profile)]

    async def get_profile(self, request: web.Request) -> web.StreamResponse:
        """Show who it is, and the repositories that are theirs or that they starred."""
        name = name_in(request)
        if name == LIBRARY:
            return see_other("/search?official=yes&sort=pulls")  # it is nobody
        visitor = await self._shell.enter(request)
        profile = await self._people.profile(visitor.identity, name)
        show = choice(request, "show", ("repositories", "stars"))
        stars = show == "stars" and not profile.is_organization
        found = await self._catalog.repositories(
            visitor.identity,
            namespace=None if stars else profile.name,
            starred_by=profile.name if stars else None,
            sort="name" if stars else "pushed",
            cursor=request.query.get("cursor"),
            limit=_PAGE,
        )
        return self._shell.render(
            request,
            "profile.html",
            profile=profile,
            found=found,
            stars=stars,
        )
