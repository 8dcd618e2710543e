"""A person's own pages: profile and password, access tokens, sessions."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from auth.identity import Permission
from registry.access_tokens import AccessTokens
from registry.guards import invalid
from registry.organizations import ProfileEdit
from registry.people import People
from registry.sessions import Sessions
from registry.web.callers import SESSION, Callers
from registry.web.pages.attempts import Attempt, Words, attempt
from registry.web.pages.paths import id_in, version_of
from registry.web.pages.shell import Shell, Visitor, see_other

EXPIRIES: Final = (("30", "30 days"), ("90", "90 days"), ("365", "One year"), ("", "Never"))
PERMISSIONS: Final = (
    ("read", "Read", "See and pull repositories."),
    ("write", "Read and write", "Push as well, and edit what repositories say of themselves."),
    ("delete", "Read, write and delete", "Delete tags, images and repositories as well."),
    ("admin", "Everything", "Whatever you may do yourself: people, teams, tokens and settings as well."),
)


class Account:
    """The handlers below `/account`."""

    def __init__(
        self, shell: Shell, callers: Callers, people: People, tokens: AccessTokens, sessions: Sessions
    ) -> None:
        self._shell = shell
        self._callers = callers
        self._people = people
        self._tokens = tokens
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/account", self.get_profile),
            web.post("/account", self.edit_profile),
            web.post("/account/password", self.change_password),
            web.get("/account/tokens", self.list_tokens),
            web.post("/account/tokens", self.create_token),
            web.post("/account/tokens/{id}/revoke", self.revoke_token),
            web.get("/account/sessions", self.list_sessions),
            web.post("/account/sessions/{id}/revoke", self.revoke_session),
            web.post("/account/sessions/revoke-others", self.revoke_others),
        ]

    # -- profile ---------------------------------------------------------------------------------------

    async def get_profile(self, request: web.Request) -> web.StreamResponse:
        """Show the forms for profile and password."""
        visitor = await self._shell.require_login(request)
        return await self._show_profile(request, visitor)

    async def edit_profile(self, request: web.Request) -> web.StreamResponse:
        """Change the profile."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)
        tried = await attempt(
            self._people.edit_profile(visitor.identity, profile_edit(form), version=version_of(form))
        )
        if tried.failed:
            return await self._show_profile(request, visitor, said=form, profile_tried=tried)
        return see_other("/account", notice="saved")

    async def change_password(self, request: web.Request) -> web.StreamResponse:
        """Change the password, which signs the person out everywhere else."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)
        tried: Attempt[None] = Attempt(errors=Words(again="This is not the same password"))
        if form.get("password", "") == form.get("again", ""):
            change = self._people.change_password(
                visitor.identity,
                form.get("current", ""),
                form.get("password", ""),
                address=self._callers.origins.client_address(request),
            )
            tried = await attempt(change)
        if tried.failed:
            return await self._show_profile(request, visitor, password_tried=tried)
        response = see_other("/account", notice="password")
        # All sessions have ended, this one too.
        await self._callers.begin(request, response, visitor.identity)
        return response

    async def _show_profile(
        self,
        request: web.Request,
        visitor: Visitor,
        said: Mapping[str, str] | None = None,
        profile_tried: Attempt[Any] | None = None,
        password_tried: Attempt[Any] | None = None,
    ) -> web.Response:
        profile = await self._people.profile(visitor.identity, visitor.name)
        return self._shell.render(
            request,
            "account/profile.html",
            status=422 if profile_tried or password_tried else 200,
            profile=profile,
            said=Words(said or {}),
            tried=profile_tried or Attempt(),
            password_tried=password_tried or Attempt(),
        )

    # -- access tokens ---------------------------------------------------------------------------------

    async def list_tokens(self, request: web.Request) -> web.StreamResponse:
        """List the access tokens, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_tokens(request, visitor)

    async def create_token(self, request: web.Request) -> web.StreamResponse:
        """Make an access token and show its secret, this once."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)

        tried = await attempt(create_token(self._tokens, visitor, form))
        return await self._show_tokens(request, visitor, said=form, tried=tried)

    async def revoke_token(self, request: web.Request) -> web.StreamResponse:
        """Revoke an access token."""
        visitor = await self._shell.require_login(request)
        await self._shell.read_form(request)
        await self._tokens.revoke(visitor.identity, id_in(request))
        return see_other("/account/tokens", notice="revoked")

    async def _show_tokens(
        self,
        request: web.Request,
        visitor: Visitor,
        said: Mapping[str, str] | None = None,
        tried: Attempt[Any] | None = None,
    ) -> web.Response:
        return self._shell.render(
            request,
            "account/tokens.html",
            status=422 if tried is not None and tried.failed else 200,
            tokens=await self._tokens.tokens(visitor.identity),
            said=Words(said or {}),
            tried=tried or Attempt(),
            expiries=EXPIRIES,
            permissions=PERMISSIONS,
            now=datetime.now(UTC),
        )

    # -- sessions --------------------------------------------------------------------------------------

    async def list_sessions(self, request: web.Request) -> web.StreamResponse:
        """List where the person is signed in."""
        visitor = await self._shell.require_login(request)
        found = await self._sessions.sessions(visitor.identity, request.get(SESSION))
        return self._shell.render(request, "account/sessions.html", sessions=found)

    async def revoke_session(self, request: web.Request) -> web.StreamResponse:
        """Sign the person out somewhere."""
        visitor = await self._shell.require_login(request)
        await self._shell.read_form(request)
        await self._sessions.revoke(visitor.identity, id_in(request))
        return see_other("/account/sessions", notice="revoked")

    async def revoke_others(self, request: web.Request) -> web.StreamResponse:
        """Sign the person out everywhere but here."""
        visitor = await self._shell.require_login(request)
        await self._shell.read_form(request)
        await self._sessions.revoke_others(visitor.identity, request.get(SESSION))
        return see_other("/account/sessions", notice="revoked")


def profile_edit(form: Mapping[str, str]) -> ProfileEdit:
    """Return what the form says of a person or an organization."""
    return ProfileEdit(form.get("full_name"), form.get("about"), form.get("website"))


async def create_token(
    tokens: AccessTokens, visitor: Visitor, form: Mapping[str, str], robot: str | None = None
) -> object:
    """Make the access token that a form asks for. Raises INVALID and what the service raises."""
    try:
        permission = Permission[form.get("permission", "").upper()]
    except KeyError as error:
        raise invalid(permission="choose one") from error
    days = form.get("days", "")
    if days not in dict(EXPIRIES):
        raise invalid(expires_at="choose one")
    names = form.get("repositories", "").split()
    return await tokens.create(
        visitor.identity,
        form.get("name", ""),
        permission,
        repositories=names or None,
        expires_at=datetime.now(UTC) + timedelta(days=int(days)) if days else None,
        robot=robot,
    )
