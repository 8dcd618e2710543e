"""The catalog's interface: JSON below `/api/v1`, one module for each noun."""

from aiohttp import web

from registry.services import Services
from registry.web.api.index import Index
from registry.web.api.invitations import Invitations
from registry.web.api.organizations import Organizations
from registry.web.api.people import People
from registry.web.api.robots import Robots
from registry.web.api.sessions import Sessions
from registry.web.api.teams import Teams
from registry.web.api.tokens import Tokens
from registry.web.callers import Callers


def routes(services: Services, callers: Callers) -> list[web.RouteDef]:
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
    ]
