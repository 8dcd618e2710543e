"""The catalog's interface: JSON below `/api/v1`, one module for each noun."""

from aiohttp import web

from registry.services import Services
from registry.web.api.administration import Administration
from registry.web.api.events import Events
from registry.web.api.images import Images
from registry.web.api.index import Index
from registry.web.api.invitations import Invitations
from registry.web.api.organizations import Organizations
from registry.web.api.people import People
from registry.web.api.repositories import Repositories
from registry.web.api.robots import Robots
from registry.web.api.search import Search
from registry.web.api.sessions import Sessions
from registry.web.api.tags import Tags
from registry.web.api.teams import Teams
from registry.web.api.tokens import Tokens
from registry.web.callers import Callers
from registry.web.events import EventStreams


def routes(services: Services, callers: Callers, streams: EventStreams) -> list[web.RouteDef]:
    """Return every route of the interface."""
    return [
        *Index().routes(),
        *People(callers, services.people, services.invitations).routes(),
        *Sessions(callers, services.sessions).routes(),
        *Tokens(callers, services.access_tokens).routes(),
        *Invitations(callers, services.invitations).routes(),
        *Organizations(callers, services.organizations).routes(),
        *Teams(callers, services.organizations).routes(),
        *Robots(callers, services.organizations).routes(),
        *Repositories(callers, services.catalog, services.statistics).routes(),
        *Tags(callers, services.catalog, services.images).routes(),
        *Images(callers, services.images, services.catalog).routes(),
        *Events(callers, services.watch, streams).routes(),
        *Search(callers, services.search, services.people).routes(),
        *Administration(callers, services.administration).routes(),
    ]
