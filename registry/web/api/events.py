"""What happens in a repository, as it happens."""

from aiohttp import web

from registry.watch import Watch
from registry.web.api.answers import CACHING
from registry.web.api.repositories import OF_ONE
from registry.web.api.requests import repository_in
from registry.web.callers import Callers
from registry.web.events import EventStreams


class Events:
    """The handler of `events`."""

    def __init__(self, callers: Callers, watch: Watch, streams: EventStreams) -> None:
        self._callers = callers
        self._watch = watch
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get(OF_ONE + "/events", self.follow, allow_head=False)]

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send what happens, until the client leaves."""
        caller = await self._callers.enter(request)
        events = self._watch.follow(caller, repository_in(request))
        return await self._streams.send(request, web.StreamResponse(headers=CACHING), events)
