"""Pushes as they land, for the page of a repository that is open."""

from aiohttp import web

from registry.watch import Watch
from registry.web.events import EventStreams
from registry.web.pages.paths import repository_in
from registry.web.pages.shell import Shell, secure


class Live:
    """The handler of `/r/{name}/-/events`."""

    def __init__(self, shell: Shell, watch: Watch, streams: EventStreams) -> None:
        self._shell = shell
        self._streams = streams
        self._watch = watch

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/r/{name:.+}/-/events", self.get_events, allow_head=False)]

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """Send events until one of the two ends has enough."""
        visitor = await self._shell.enter(request)
        response = web.StreamResponse()
        secure(response, private=True)
        events = self._watch.follow(visitor.identity, repository_in(request))
        return await self._streams.send(request, response, events)
