"""The page of an image, by tag or by digest."""

from typing import Final

from aiohttp import web

from registry.catalog import Catalog
from registry.images import Child, Image, Images, Referrer, Step
from registry.names import RepositoryName
from registry.web import charts
from registry.web.pages.commands import pulling
from registry.web.pages.paths import moved, reference_in, repository_in
from registry.web.pages.repository import in_frame
from registry.web.pages.shell import Shell, Visitor
from storage.digest import Digest

_MAX_PLATFORM: Final = 255


class ImagePages:
    """The handlers of `/r/{name}/-/tags/{tag}` and `/r/{name}/-/digests/{digest}`."""

    def __init__(self, shell: Shell, catalog: Catalog, images: Images) -> None:
        self._shell = shell
        self._catalog = catalog
        self._images = images

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/r/{name:.+}/-/tags/{tag}", self.get_image),
            web.get("/r/{name:.+}/-/digests/{digest}", self.get_image),
        ]

    async def get_image(self, request: web.Request) -> web.StreamResponse:
        """Show everything about a manifest; of an index, about the platform that the query names."""
        visitor = await self._shell.enter(request)
        reference = reference_in(request)
        details = await self._catalog.repository(visitor.identity, repository_in(request))
        name = RepositoryName(details.card.name)
        if elsewhere := moved(request, name):
            return elsewhere
        platform = request.query.get("platform", "")[:_MAX_PLATFORM] or None
        image = await self._images.image(visitor.identity, name, reference, platform)
        tag = None
        if not isinstance(reference, Digest):
            tag = await self._catalog.tag(visitor.identity, name, reference)
        host = self._shell.host(request)
        return self._shell.render(
            request,
            "repository/image.html",
            **in_frame(details, "/-/tags"),
            image=image,
            tag=tag,
            here=request.path,
            platforms=[each for each in image.outline.children.items if not each.attests],
            steps=_steps_of(image),
            referrers=await self._referrers(visitor, name, image),
            attestations=_attestations_of(image),
            pull=pulling(host, name, image.outline.kind, "" if tag is None else tag.name, image.digest),
            share=charts.share,
        )

    async def _referrers(self, visitor: Visitor, name: RepositoryName, image: Image) -> list[Referrer]:
        """Return what refers to the manifest, or to the one of the platform that is shown."""
        digests = dict.fromkeys([image.digest, *([image.selected.digest] if image.selected else [])])
        found: dict[str, Referrer] = {}
        for each in digests:
            for referrer in await self._images.referrers(visitor.identity, name, Digest(each)):
                found.setdefault(referrer.digest, referrer)
        return list(found.values())


def _steps_of(image: Image) -> list[Step]:
    """Return the build's steps; the layers alone where nothing tells how they were made."""
    if image.steps.items:
        return list(image.steps.items)
    return [Step("", layer) for layer in image.layers.items]


def _attestations_of(image: Image) -> list[Child]:
    """Return the manifests that an index lists as what is known of the one that is shown."""
    if image.selected is None:
        return []
    return [each for each in image.outline.children.items if each.attests == image.selected.digest]
