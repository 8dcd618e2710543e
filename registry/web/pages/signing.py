"""Signing in and out, signing up, and invitations."""

from aiohttp import web

from registry.invitations import Invitations
from registry.web.callers import Callers
from registry.web.pages.attempts import Words, attempt
from registry.web.pages.shell import Shell, local_path, see_other


class Signing:
    """The handlers of `/sign-in`, `/sign-out`, `/sign-up` and `/invitations/{secret}`."""

    def __init__(self, shell: Shell, callers: Callers, invitations: Invitations) -> None:
        self._shell = shell
        self._callers = callers
        self._invitations = invitations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/sign-in", self.get_sign_in),
            web.post("/sign-in", self.sign_in),
            web.post("/sign-out", self.sign_out),
            web.get("/sign-up", self.get_sign_up),
            web.post("/sign-up", self.sign_up),
            web.get("/invitations/{secret}", self.get_invitation),
            web.post("/invitations/{secret}", self.accept),
        ]

    async def get_sign_in(self, request: web.Request) -> web.StreamResponse:
        """Show the form, to whoever is not signed in."""
        self._callers.begin_form(request)
        visitor = await self._shell.enter(request)
        back = local_path(request.query.get("next"))
        if not visitor.identity.is_anonymous:
            return see_other(back)
        response = self._shell.render(request, "sign_in.html", next=back, name="", message="")
        self._callers.keep_form(request, response)
        return response

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Begin a session; what was wrong is not told apart."""
        await self._shell.enter(request)
        form = await self._shell.read_form(request)
        name, back = form.get("name", "").strip(), local_path(form.get("next"))
        tried = await attempt(self._callers.sign_in(request, name, form.get("password", "")))
        if tried.value is None:
            return self._shell.render(
                request, "sign_in.html", status=401, next=back, name=name, message=tried.message
            )
        response = see_other(back)
        await self._callers.begin(request, response, tried.value)
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        await self._shell.enter(request)
        await self._shell.read_form(request)
        response = see_other("/", notice="signed-out")
        await self._callers.end(request, response)
        return response

    async def get_sign_up(self, request: web.Request) -> web.StreamResponse:
        """Show the form for an account, where people may make one by themselves."""
        self._callers.begin_form(request)
        await self._shell.enter(request)
        response = self._show_sign_up(request)
        self._callers.keep_form(request, response)
        return response

    async def sign_up(self, request: web.Request) -> web.StreamResponse:
        """Make an account and sign in with it."""
        await self._shell.enter(request)
        form = await self._shell.read_form(request)
        self._callers.check_form(request)
        name, secret = form.get("name", "").strip(), form.get("invitation") or None
        password = form.get("password", "")
        if password != form.get("again", ""):
            errors = Words(again="This is not the same password")
            return self._show_sign_up(request, status=422, name=name, secret=secret, errors=errors)
        address = self._callers.origins.client_address(request)
        work = self._invitations.sign_up(name, password, address=address, invitation=secret)
        tried = await attempt(work, taken="name")
        if tried.value is None:
            return self._show_sign_up(
                request, status=422, name=name, secret=secret, errors=tried.errors, message=tried.message
            )
        response = see_other("/", notice="welcome")
        await self._callers.begin(request, response, tried.value)
        return response

    async def get_invitation(self, request: web.Request) -> web.StreamResponse:
        """Show what an invitation is to: with an account it is accepted, without one it makes one."""
        self._callers.begin_form(request)
        visitor = await self._shell.enter(request)
        secret = request.match_info["secret"]
        invitation = await self._invitations.invitation(secret)
        if not visitor.signed_in:
            response = self._show_sign_up(request, secret=secret, invitation=invitation)
            self._callers.keep_form(request, response)
            return response
        return self._shell.render(request, "invitation.html", invitation=invitation, message="")

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Join the organization."""
        visitor = await self._shell.require_login(request)
        await self._shell.read_form(request)
        accepted = await self._invitations.accept_invitation(visitor.identity, request.match_info["secret"])
        return see_other(f"/organizations/{accepted.organization}", notice="joined")

    def _show_sign_up(self, request: web.Request, status: int = 200, **values: object) -> web.Response:
        known: dict[str, object] = {
            "name": "",
            "secret": None,
            "invitation": None,
            "errors": Words(),
            "message": "",
        }
        return self._shell.render(request, "sign_up.html", status=status, **(known | values))
