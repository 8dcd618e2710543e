"""The interface, described: the file for programs and the page for people, which is made of it."""

import asyncio
import gzip
import hashlib
from typing import Final

from aiohttp import web
from markupsafe import Markup

from registry.web import description
from registry.web.pages.assets import accepts_gzip
from registry.web.pages.shell import Shell

MEDIA_TYPE: Final = "application/yaml"
"""RFC 9512."""


class Reference:
    """The handlers of `/openapi.yaml` and `/docs`."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._source = description.source()
        self._compressed = gzip.compress(self._source, 9, mtime=0)
        self._etag = hashlib.sha256(self._source).hexdigest()[:32]
        self._content: Markup | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/openapi.yaml", self.get_file), web.get("/docs", self.get_page)]

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """Send the file, unless the client has it."""
        headers = {"Cache-Control": "public, no-cache", "Vary": "Accept-Encoding"}
        response = web.Response(headers=headers)
        response.etag = self._etag
        known = request.if_none_match or ()
        if any(each.value in (self._etag, "*") for each in known):
            response.set_status(304)
            return response
        if accepts_gzip(request):
            response.headers["Content-Encoding"] = "gzip"
        response.body = self._compressed if accepts_gzip(request) else self._source
        response.content_type, response.charset = MEDIA_TYPE, "utf-8"
        return response

    async def get_page(self, request: web.Request) -> web.StreamResponse:
        """Show what the file says."""
        await self._shell.enter(request)
        if self._content is None:
            found = await asyncio.to_thread(description.read, self._source)
            part = self._shell.render_part(request, "reference/content.html", description=found)
            self._content = Markup(part)  # noqa: S704 - what the engine has escaped
        return self._shell.render(request, "reference/page.html", content=self._content)
