"""Teams: who is in them, and what they may do."""

from typing import Any

from aiohttp import web

from auth.policy import Role
from registry.organizations import Organizations, TeamEdit
from registry.web.api import models
from registry.web.api.answers import Page, respond, respond_created, respond_list, respond_nothing
from registry.web.api.bodies import NewTeam, RoleChange, TeamChanges
from registry.web.api.requests import name_in, read_body, repository_in, version_in
from registry.web.callers import Callers

_ALL = "/api/v1/organizations/{organization}/teams"
_ONE = _ALL + "/{team}"
_MEMBER = _ONE + "/members/{person}"
_REPOSITORY = _ONE + "/repositories/{name:.+}"


class Teams:
    """The handlers of `teams`."""

    def __init__(self, callers: Callers, organizations: Organizations) -> None:
        self._callers = callers
        self._organizations = organizations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(_ALL, self.list_teams),
            web.post(_ALL, self.create),
            web.get(_ONE, self.get_team),
            web.patch(_ONE, self.edit),
            web.delete(_ONE, self.delete),
            web.get(_ONE + "/members", self.list_members),
            web.put(_MEMBER, self.add_member),
            web.delete(_MEMBER, self.remove_member),
            web.get(_ONE + "/repositories", self.list_repositories),
            web.put(_REPOSITORY, self.set_role),
            web.delete(_REPOSITORY, self.remove_role),
        ]

    async def list_teams(self, request: web.Request) -> web.Response:
        """List the teams of an organization."""
        caller = await self._callers.enter(request)
        found = await self._organizations.teams(caller, name_in(request, "organization"))
        return respond_list(request, Page[models.Team], found)

    async def create(self, request: web.Request) -> web.Response:
        """Make a team."""
        caller, organization = await self._callers.enter(request), name_in(request, "organization")
        body = await read_body(request, NewTeam)
        made = await self._organizations.create_team(
            caller, organization, body.name, about=body.about, role=role_of(body.role)
        )
        answer = models.Team.model_validate(made)
        path = ("organizations", organization, "teams", made.name)
        return respond_created(answer, *path, version=made.version)

    async def get_team(self, request: web.Request) -> web.Response:
        """Tell of a team."""
        caller = await self._callers.enter(request)
        found = await self._organizations.team(caller, *_team(request))
        return respond(models.Team.model_validate(found), version=found.version)

    async def edit(self, request: web.Request) -> web.Response:
        """Change a team's name, words and role."""
        caller = await self._callers.enter(request)
        body, version = await read_body(request, TeamChanges), version_in(request)
        changes: dict[str, Any] = body.changes()
        if "role" in changes:
            changes["role"] = role_of(body.role)
        edit = TeamEdit(**changes)
        found = await self._organizations.edit_team(caller, *_team(request), edit, version=version)
        return respond(models.Team.model_validate(found), version=found.version)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a team."""
        caller = await self._callers.enter(request)
        await self._organizations.delete_team(caller, *_team(request))
        return respond_nothing()

    async def list_members(self, request: web.Request) -> web.Response:
        """List who is in a team."""
        caller = await self._callers.enter(request)
        found = await self._organizations.team_members(caller, *_team(request))
        return respond_list(request, Page[models.Member], found)

    async def add_member(self, request: web.Request) -> web.Response:
        """Put a member of the organization into a team."""
        caller = await self._callers.enter(request)
        await self._organizations.add_team_member(caller, *_team(request), name_in(request, "person"))
        return respond_nothing()

    async def remove_member(self, request: web.Request) -> web.Response:
        """Take somebody out of a team."""
        caller = await self._callers.enter(request)
        await self._organizations.remove_team_member(caller, *_team(request), name_in(request, "person"))
        return respond_nothing()

    async def list_repositories(self, request: web.Request) -> web.Response:
        """List the repositories on which a team has a role of its own."""
        caller = await self._callers.enter(request)
        found = await self._organizations.team_repositories(caller, *_team(request))
        roles = [{"name": name, "role": role} for name, role in found]
        return respond_list(request, Page[models.TeamRepository], roles)

    async def set_role(self, request: web.Request) -> web.Response:
        """Give a team a role on a repository."""
        caller = await self._callers.enter(request)
        body = await read_body(request, RoleChange)
        name, role = repository_in(request), role_of(body.role)
        await self._organizations.set_team_role(caller, *_team(request), name, role)
        return respond_nothing()

    async def remove_role(self, request: web.Request) -> web.Response:
        """Take a team's role on a repository away."""
        caller = await self._callers.enter(request)
        await self._organizations.set_team_role(caller, *_team(request), repository_in(request), None)
        return respond_nothing()


def role_of(word: str | None) -> Role | None:
    """Return the role of a word in a document."""
    return None if word is None else Role[word.upper()]


def _team(request: web.Request) -> tuple[str, str]:
    return name_in(request, "organization"), name_in(request, "team")
