"""People: oneself, the others, and those who are about to be."""

from aiohttp import web

from registry.errors import Problem, RegistryError
from registry.invitations import Invitations
from registry.organizations import ProfileEdit
from registry.people import People as PeopleService
from registry.web.api import models
from registry.web.api.answers import Page, respond, respond_created, respond_list, respond_nothing
from registry.web.api.bodies import (
    NewPerson,
    PasswordChange,
    PersonChanges,
    ProfileChanges,
    SearchPageQuery,
    SignUp,
)
from registry.web.api.requests import name_in, read_body, read_query, version_in
from registry.web.callers import Callers


class People:
    """The handlers of `/me`, `/users` and `/sign-up`."""

    def __init__(self, callers: Callers, people: PeopleService, invitations: Invitations) -> None:
        self._callers = callers
        self._people = people
        self._invitations = invitations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/me", self.get_me),
            web.patch("/api/v1/me", self.edit_me),
            web.put("/api/v1/me/password", self.change_password),
            web.get("/api/v1/users", self.list_people),
            web.post("/api/v1/users", self.add_person),
            web.get("/api/v1/users/{person}", self.get_person),
            web.patch("/api/v1/users/{person}", self.edit_person),
            web.post("/api/v1/sign-up", self.sign_up),
        ]

    async def get_me(self, request: web.Request) -> web.Response:
        """Tell who is asking."""
        caller = await self._callers.enter(request)
        if caller.is_anonymous:
            raise RegistryError(Problem.UNAUTHORIZED)
        profile = await self._people.profile(caller, caller.name)
        return respond(models.Profile.model_validate(profile), version=profile.version)

    async def edit_me(self, request: web.Request) -> web.Response:
        """Change what the caller says of themself."""
        caller = await self._callers.enter(request)
        body, version = await read_body(request, ProfileChanges), version_in(request)
        profile = await self._people.edit_profile(caller, ProfileEdit(**body.changes()), version=version)
        return respond(models.Profile.model_validate(profile), version=profile.version)

    async def change_password(self, request: web.Request) -> web.Response:
        """Change the caller's password; whoever else is signed in as them no longer is."""
        caller = await self._callers.enter(request)
        body = await read_body(request, PasswordChange)
        address = self._callers.origins.client_address(request)
        await self._people.change_password(caller, body.current, body.new, address=address)
        return respond_nothing()

    async def list_people(self, request: web.Request) -> web.Response:
        """List everybody, to administrators."""
        caller, query = await self._callers.enter(request), read_query(request, SearchPageQuery)
        found = await self._people.people(caller, q=query.q, cursor=query.cursor, limit=query.limit)
        return respond_list(request, Page[models.Person], found)

    async def add_person(self, request: web.Request) -> web.Response:
        """Make an account, as an administrator."""
        caller = await self._callers.enter(request)
        body = await read_body(request, NewPerson)
        profile = await self._people.add_person(caller, body.name, body.password, is_admin=body.admin)
        return respond_created(models.Profile.model_validate(profile), "users", body.name)

    async def get_person(self, request: web.Request) -> web.Response:
        """Tell of somebody."""
        caller = await self._callers.enter(request)
        profile = await self._people.profile(caller, name_in(request, "person"))
        return respond(models.Profile.model_validate(profile), version=profile.version)

    async def edit_person(self, request: web.Request) -> web.Response:
        """Close or open an account, make somebody an administrator or not."""
        caller, name = await self._callers.enter(request), name_in(request, "person")
        body = await read_body(request, PersonChanges)
        said = body.changes()
        if "disabled" in said:
            await self._people.set_disabled(caller, name, disabled=body.disabled)
        if "admin" in said:
            await self._people.set_admin(caller, name, is_admin=body.admin)
        return respond(models.Profile.model_validate(await self._people.profile(caller, name)))

    async def sign_up(self, request: web.Request) -> web.Response:
        """Make an account of one's own, where that is open to everybody or with an invitation."""
        body = await read_body(request, SignUp)
        identity = await self._invitations.sign_up(
            body.name,
            body.password,
            address=self._callers.origins.client_address(request),
            invitation=body.invitation,
        )
        profile = await self._people.profile(identity, identity.name)
        return respond_created(models.Profile.model_validate(profile), "users", identity.name)
