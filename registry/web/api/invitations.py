"""Invitations: what owners and administrators send out, and what comes of them."""

from aiohttp import web

from registry.invitations import Invitations as InvitationsService
from registry.invitations import NewInvitation as MadeInvitation
from registry.web.api import models
from registry.web.api.answers import Page, respond, respond_list, respond_nothing, respond_secret
from registry.web.api.bodies import NewAccountInvitation, NewInvitation
from registry.web.api.requests import id_in, name_in, read_body
from registry.web.callers import Callers

_OF_ORGANIZATION = "/api/v1/organizations/{organization}/invitations"
_OF_REGISTRY = "/api/v1/admin/invitations"


class Invitations:
    """The handlers of `/invitations`, and of those of an organization and of the registry."""

    def __init__(self, callers: Callers, invitations: InvitationsService) -> None:
        self._callers = callers
        self._invitations = invitations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(_OF_ORGANIZATION, self.list_of_organization),
            web.post(_OF_ORGANIZATION, self.invite_to_organization),
            web.delete(_OF_ORGANIZATION + "/{id}", self.withdraw),
            web.get(_OF_REGISTRY, self.list_of_registry),
            web.post(_OF_REGISTRY, self.invite_to_registry),
            web.delete(_OF_REGISTRY + "/{id}", self.withdraw),
            web.get("/api/v1/invitations/{secret}", self.get_invitation),
            web.post("/api/v1/invitations/{secret}/accept", self.accept),
        ]

    async def list_of_organization(self, request: web.Request) -> web.Response:
        """List an organization's invitations."""
        caller = await self._callers.enter(request)
        found = await self._invitations.invitations(caller, name_in(request, "organization"))
        return respond_list(request, Page[models.KeptInvitation], found)

    async def invite_to_organization(self, request: web.Request) -> web.Response:
        """Make a link that makes whoever has it a member."""
        caller, organization = await self._callers.enter(request), name_in(request, "organization")
        body = await read_body(request, NewInvitation)
        made = await self._invitations.invite(
            caller,
            organization=organization,
            team=body.team,
            as_owner=body.owner,
            note=body.note,
            days=body.days,
        )
        return self._present(request, made, "organizations", organization, "invitations")

    async def list_of_registry(self, request: web.Request) -> web.Response:
        """List the invitations to make an account."""
        caller = await self._callers.enter(request)
        return respond_list(request, Page[models.KeptInvitation], await self._invitations.invitations(caller))

    async def invite_to_registry(self, request: web.Request) -> web.Response:
        """Make a link with which somebody can make an account."""
        caller = await self._callers.enter(request)
        body = await read_body(request, NewAccountInvitation)
        made = await self._invitations.invite(caller, note=body.note, days=body.days)
        return self._present(request, made, "admin", "invitations")

    async def withdraw(self, request: web.Request) -> web.Response:
        """Make a link worth nothing."""
        caller = await self._callers.enter(request)
        await self._invitations.withdraw_invitation(caller, id_in(request))
        return respond_nothing()

    async def get_invitation(self, request: web.Request) -> web.Response:
        """Tell what an invitation is to, to whoever has it."""
        found = await self._invitations.invitation(name_in(request, "secret"))
        return respond(models.Invitation.model_validate(found))

    async def accept(self, request: web.Request) -> web.Response:
        """Become a member."""
        caller = await self._callers.enter(request)
        found = await self._invitations.accept_invitation(caller, name_in(request, "secret"))
        return respond(models.Invitation.model_validate(found))

    def _present(self, request: web.Request, made: MadeInvitation, *path: str) -> web.Response:
        url = f"{self._callers.origins.base_url(request)}/invitations/{made.secret}"
        kept = models.KeptInvitation.model_validate(made.invitation)
        answer = models.SecretInvitation(**kept.model_dump(), secret=made.secret, url=url)
        return respond_secret(answer, *path, str(kept.id))
