"""Where one begins: what there is, and where it is described."""

from importlib.metadata import version
from typing import Final

from aiohttp import web

from registry.web.api import models
from registry.web.api.answers import ROOT, respond

_RESOURCES: Final = (
    "me",
    "users",
    "organizations",
    "repositories",
    "search",
    "suggestions",
    "categories",
    "admin/health",
)


class Index:
    """The handler of the root."""

    def __init__(self) -> None:
        resources = {name.partition("/")[0]: f"{ROOT}/{name}" for name in _RESOURCES}
        self._index = models.Index(
            version=version("longshore"), openapi="/openapi.yaml", docs="/docs", resources=resources
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get(ROOT, self.get_index)]

    async def get_index(self, _: web.Request) -> web.Response:
        """Say what there is, to everybody."""
        return respond(self._index)
