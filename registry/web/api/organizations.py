"""Organizations and who belongs to them."""

from aiohttp import web

from registry.organizations import Organizations as OrganizationsService
from registry.organizations import ProfileEdit
from registry.web.api import models
from registry.web.api.answers import Page, respond, respond_created, respond_list, respond_nothing
from registry.web.api.bodies import (
    MemberChange,
    NewOrganization,
    OrganizationsQuery,
    PageQuery,
    ProfileChanges,
)
from registry.web.api.requests import name_in, read_body, read_query, version_in
from registry.web.callers import Callers

_ALL = "/api/v1/organizations"
_ONE = _ALL + "/{organization}"


class Organizations:
    """The handlers of `/organizations` and of `members`."""

    def __init__(self, callers: Callers, organizations: OrganizationsService) -> None:
        self._callers = callers
        self._organizations = organizations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(_ALL, self.list_organizations),
            web.post(_ALL, self.create),
            web.get(_ONE, self.get_organization),
            web.patch(_ONE, self.edit),
            web.delete(_ONE, self.delete),
            web.get(_ONE + "/members", self.list_members),
            web.put(_ONE + "/members/{person}", self.set_member),
            web.delete(_ONE + "/members/{person}", self.remove_member),
        ]

    async def list_organizations(self, request: web.Request) -> web.Response:
        """List organizations, all or those of the caller."""
        caller, query = await self._callers.enter(request), read_query(request, OrganizationsQuery)
        found = await self._organizations.organizations(
            caller, mine=query.mine, q=query.q, cursor=query.cursor, limit=query.limit
        )
        return respond_list(request, Page[models.Organization], found)

    async def create(self, request: web.Request) -> web.Response:
        """Make an organization, that the caller owns."""
        caller = await self._callers.enter(request)
        body = await read_body(request, NewOrganization)
        made = await self._organizations.create(caller, body.name, full_name=body.full_name, about=body.about)
        answer = models.Organization.model_validate(made)
        return respond_created(answer, "organizations", made.name, version=made.version)

    async def get_organization(self, request: web.Request) -> web.Response:
        """Tell of an organization."""
        caller = await self._callers.enter(request)
        found = await self._organizations.organization(caller, name_in(request, "organization"))
        return respond(models.Organization.model_validate(found), version=found.version)

    async def edit(self, request: web.Request) -> web.Response:
        """Change what an organization says of itself."""
        caller = await self._callers.enter(request)
        body, version = await read_body(request, ProfileChanges), version_in(request)
        edit = ProfileEdit(**body.changes())
        name = name_in(request, "organization")
        found = await self._organizations.edit(caller, name, edit, version=version)
        return respond(models.Organization.model_validate(found), version=found.version)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete an organization that has no repositories."""
        caller = await self._callers.enter(request)
        await self._organizations.delete(caller, name_in(request, "organization"))
        return respond_nothing()

    async def list_members(self, request: web.Request) -> web.Response:
        """List who belongs to an organization."""
        caller, query = await self._callers.enter(request), read_query(request, PageQuery)
        found = await self._organizations.members(
            caller, name_in(request, "organization"), cursor=query.cursor, limit=query.limit
        )
        return respond_list(request, Page[models.Member], found)

    async def set_member(self, request: web.Request) -> web.Response:
        """Make somebody a member or an owner."""
        caller = await self._callers.enter(request)
        body = await read_body(request, MemberChange)
        organization, person = name_in(request, "organization"), name_in(request, "person")
        await self._organizations.set_member(caller, organization, person, is_owner=body.owner)
        return respond_nothing()

    async def remove_member(self, request: web.Request) -> web.Response:
        """Take somebody out of an organization and its teams; oneself may leave."""
        caller = await self._callers.enter(request)
        organization, person = name_in(request, "organization"), name_in(request, "person")
        await self._organizations.remove_member(caller, organization, person)
        return respond_nothing()
