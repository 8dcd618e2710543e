"""Tags: what each means, and what is told to whoever pulls by it."""

from collections.abc import Sequence

from aiohttp import web

from auth.identity import Identity
from registry.catalog import Catalog, TagRow
from registry.errors import Problem, RegistryError
from registry.images import Images
from registry.listing import Listing
from registry.names import RepositoryName, Tag, parse_tag
from registry.web.api import contents
from registry.web.api.answers import Page, respond, respond_list, respond_nothing
from registry.web.api.bodies import TagChanges, TagsQuery
from registry.web.api.repositories import OF_ONE
from registry.web.api.requests import read_body, read_query, repository_in
from registry.web.callers import Callers


class Tags:
    """The handlers of `tags`."""

    def __init__(self, callers: Callers, catalog: Catalog, images: Images) -> None:
        self._callers = callers
        self._catalog = catalog
        self._images = images

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        tag = OF_ONE + "/tags/{tag}"
        return [
            web.get(OF_ONE + "/tags", self.list_tags),
            web.get(tag, self.get_tag),
            web.patch(tag, self.edit),
            web.delete(tag, self.delete),
        ]

    async def list_tags(self, request: web.Request) -> web.Response:
        """List tags, with what each means."""
        caller, query = await self._callers.enter(request), read_query(request, TagsQuery)
        name = repository_in(request)
        found = await self._catalog.tags(caller, name, **query.model_dump())
        tags = await self._describe(caller, name, found.items)
        return respond_list(request, Page[contents.Tag], Listing(tags, found.next))

    async def get_tag(self, request: web.Request) -> web.Response:
        """Tell of a tag."""
        caller, name = await self._callers.enter(request), repository_in(request)
        found = await self._catalog.tag(caller, name, _tag(request))
        (tag,) = await self._describe(caller, name, [found])
        return respond(tag)

    async def edit(self, request: web.Request) -> web.Response:
        """Deprecate a tag, or no more."""
        caller, name = await self._callers.enter(request), repository_in(request)
        body = await read_body(request, TagChanges)
        found = await self._catalog.deprecate_tag(caller, name, _tag(request), body.deprecation)
        (tag,) = await self._describe(caller, name, [found])
        return respond(tag)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a tag, not what it means."""
        caller = await self._callers.enter(request)
        await self._catalog.delete_tag(caller, repository_in(request), _tag(request))
        return respond_nothing()

    async def _describe(
        self, caller: Identity, name: RepositoryName, rows: Sequence[TagRow]
    ) -> list[contents.Tag]:
        facts = await self._images.facts(caller, name, [row.digest for row in rows])
        return [contents.Tag.of(row, facts.get(row.digest)) for row in rows]


def _tag(request: web.Request) -> Tag:
    """Return the tag in the path. What cannot be a tag is not here."""
    try:
        return parse_tag(request.match_info["tag"])
    except RegistryError as error:
        raise RegistryError(Problem.NOT_HERE) from error
