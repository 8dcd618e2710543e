"""Images: what is in a manifest, and what refers to it."""

from aiohttp import web

from registry.catalog import Catalog
from registry.images import Images as ImagesService
from registry.web.api import contents
from registry.web.api.answers import Page, respond, respond_list, respond_nothing
from registry.web.api.bodies import ImageQuery
from registry.web.api.repositories import OF_ONE
from registry.web.api.requests import digest_in, read_query, repository_in
from registry.web.callers import Callers


class Images:
    """The handlers of `manifests` and `referrers`."""

    def __init__(self, callers: Callers, images: ImagesService, catalog: Catalog) -> None:
        self._callers = callers
        self._images = images
        self._catalog = catalog

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        manifest = OF_ONE + "/manifests/{digest}"
        return [
            web.get(manifest, self.get_image),
            web.delete(manifest, self.delete),
            web.get(OF_ONE + "/referrers/{digest}", self.list_referrers),
        ]

    async def get_image(self, request: web.Request) -> web.Response:
        """Tell what is in an image; of an index, what is in one of its platforms."""
        caller, query = await self._callers.enter(request), read_query(request, ImageQuery)
        name, digest = repository_in(request), digest_in(request)
        found = await self._images.image(caller, name, digest, query.platform)
        return respond(contents.Image.of(found))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a manifest with its tags."""
        caller = await self._callers.enter(request)
        await self._catalog.delete_manifest(caller, repository_in(request), digest_in(request))
        return respond_nothing()

    async def list_referrers(self, request: web.Request) -> web.Response:
        """List what refers to a manifest."""
        caller = await self._callers.enter(request)
        found = await self._images.referrers(
            caller, repository_in(request), digest_in(request), attestations=True
        )
        return respond_list(request, Page[contents.Referrer], found)
