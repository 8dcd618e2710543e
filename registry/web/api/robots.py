"""Robots: accounts for programs of an organization."""

from aiohttp import web

from registry.organizations import Organizations
from registry.web.api import models
from registry.web.api.answers import Page, respond_created, respond_list, respond_nothing
from registry.web.api.bodies import NewRobot, RobotChanges
from registry.web.api.requests import name_in, read_body
from registry.web.callers import Callers

_ALL = "/api/v1/organizations/{organization}/robots"
_ONE = _ALL + "/{robot}"


class Robots:
    """The handlers of `robots`."""

    def __init__(self, callers: Callers, organizations: Organizations) -> None:
        self._callers = callers
        self._organizations = organizations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(_ALL, self.list_robots),
            web.post(_ALL, self.create),
            web.patch(_ONE, self.edit),
            web.delete(_ONE, self.delete),
        ]

    async def list_robots(self, request: web.Request) -> web.Response:
        """List the robots of an organization."""
        caller = await self._callers.enter(request)
        found = await self._organizations.robots(caller, name_in(request, "organization"))
        return respond_list(request, Page[models.Robot], found)

    async def create(self, request: web.Request) -> web.Response:
        """Make a robot, that can do nothing until it has a token."""
        caller, organization = await self._callers.enter(request), name_in(request, "organization")
        body = await read_body(request, NewRobot)
        made = await self._organizations.create_robot(caller, organization, body.name, body.about)
        path = ("organizations", organization, "robots", body.name)
        return respond_created(models.Robot.model_validate(made), *path)

    async def edit(self, request: web.Request) -> web.Response:
        """Stop a robot, or let it go on."""
        caller = await self._callers.enter(request)
        body = await read_body(request, RobotChanges)
        await self._organizations.set_robot_disabled(caller, *_robot(request), disabled=body.disabled)
        return respond_nothing()

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a robot with its tokens."""
        caller = await self._callers.enter(request)
        await self._organizations.delete_robot(caller, *_robot(request))
        return respond_nothing()


def _robot(request: web.Request) -> tuple[str, str]:
    return name_in(request, "organization"), name_in(request, "robot")
