"""What all pages share: who is looking, the frame around the content, headers, forms, refusals.

How a handler of a page is written:

    async def get_profile(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._shell.enter(request)          # first of all: who is asking
        profile = await self._people.profile(visitor.identity, name)
        return self._shell.render(request, "profile.html", profile=profile)

    async def edit_profile(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._shell.require_login(request)  # or to the sign-in page and back
        form = await self._shell.read_form(request)         # has checked where it comes from
        ...
        return see_other("/account", notice="saved")        # a code of notices.NOTICES

Templates extend "page.html" and fill its blocks `title`, `content` and, for modules of their own, `scripts`.
Each has, besides the values of its handler:

    visitor    Visitor: .name, .signed_in, .administers, .identity, .csrf
    host       what stands before repository names in commands, such as registry.example.com:5000
    base_url   the URL of this server, for links that are given away
    address    the path of this page with its query, for `next`
    notice     Notice or None
    theme      "light", "dark" or "" (what the system prefers)
    static(file), icon(name)    the path of a static file; an icon of static/icons.svg
    cursor     where the page of a list begins, "" on the first: for lists.pager
    with_query(**changes)       the path of this page with other parameters; None removes one

Filters: count ("1.2k"), size ("3.4 MiB"), when ("2 days ago"), day ("1 March 2026"), breakable (may be broken
behind separators), line (one line of somebody else's text, bounded), tint (see lists.tile), as_written (text
in a field, which goes back as it was). All other text is made inert: see `words.inert`.

Macros: `{% import "macros/forms.html" as forms %}` has csrf, summary, field, textarea, select, checkbox,
radios, button, action, deletion; `{% import "macros/lists.html" as lists %}` has cards, badge, badges, tabs,
pager, table, empty, command, alert, tile, name.

Every form that posts has `{{ forms.csrf(csrf) }}` within; `action` and `deletion` have it already. A form
that was refused is rendered again with status 422 and `errors`, the mapping in the detail of Problem.INVALID.
There is no inline script or style: also no attribute `style`. Sizes that vary are attributes of SVG.
"""

import hmac
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from auth.identity import ANONYMOUS, Identity
from registry.errors import Problem, RegistryError
from registry.web.access import SUBJECT
from registry.web.body import FORM, parse_form, read_body
from registry.web.origin import Origins
from registry.web.pages import notices
from registry.web.pages.assets import Assets, accepts_gzip
from registry.web.pages.environment import make_environment

SIGN_IN: Final = "/sign-in"
THEME: Final = "theme"

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

# Below this a packet carries it anyway.
_WORTH_COMPRESSING: Final = 1024

_MAX_FORM: Final = 1024 * 1024
_MAX_FIELDS: Final = 200
_MAX_NEXT: Final = 1024


class Caller(Protocol):
    """Who a request comes from."""

    @property
    def identity(self) -> Identity:
        """Whose rights count."""

    @property
    def csrf(self) -> str:
        """What the forms of this caller's session carry; "" without a session."""


class Callers(Protocol):
    """What finds out who a request comes from."""

    async def identify(self, request: web.Request) -> Caller:
        """Return the caller, who may be anonymous: a session that has ended is no error."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page."""

    identity: Identity = ANONYMOUS
    csrf: str = ""

    @property
    def name(self) -> str:
        """The account's name; "" for the anonymous visitor."""
        return self.identity.name

    @property
    def signed_in(self) -> bool:
        """Whether there is an account: not so where access control is off, though everything is allowed."""
        return self.identity.account_id is not None

    @property
    def administers(self) -> bool:
        """Whether the pages of administration are for this visitor."""
        return self.identity.administers


VISITOR: Final = web.RequestKey("visitor", Visitor)


class Shell:
    """Renders pages; one for the process. `open_access`: access control is off, nobody signs in."""

    def __init__(
        self,
        callers: Callers,
        origins: Origins,
        assets: Assets,
        *,
        signup: bool = False,
        open_access: bool = False,
    ) -> None:
        self._callers = callers
        self._origins = origins
        self._environment = make_environment(assets)
        self._environment.globals.update(signup=signup, open_access=open_access)

    async def enter(self, request: web.Request) -> Visitor:
        """Return who is looking: every handler asks first, and `render` remembers."""
        caller = await self._callers.identify(request)
        visitor = Visitor(caller.identity, caller.csrf)
        request[VISITOR] = visitor
        request[SUBJECT] = visitor.name
        return visitor

    async def require_login(self, request: web.Request) -> Visitor:
        """Return who is looking. Raises UNAUTHORIZED for nobody: the page that comes of it is the sign-in."""
        visitor = await self.enter(request)
        if visitor.identity.is_anonymous:
            raise RegistryError(Problem.UNAUTHORIZED)
        return visitor

    async def read_form(self, request: web.Request) -> Mapping[str, str]:
        """Return the fields of a form that one of our own pages sent, the last one where a name comes twice.

        Raises:
            RegistryError: DENIED, the form is not of this session; REQUEST_INVALID; BODY_TOO_LARGE.
        """
        return dict(await self.read_fields(request))

    async def read_fields(self, request: web.Request) -> list[tuple[str, str]]:
        """Return the fields of a form as `read_form` does, all of them in order."""
        fields = await _parse_form(request)
        if not self._is_ours(request, dict(fields).get("csrf", "")):
            raise RegistryError(Problem.DENIED, "The form is not of this session. Load the page anew.")
        return [(name, value) for name, value in fields if name != "csrf"]

    async def read_open_form(self, request: web.Request) -> Mapping[str, str]:
        """Return the fields of a form that may come from anywhere, because it changes nothing of worth."""
        return dict(await _parse_form(request))

    def render(
        self, request: web.Request, template: str, *, status: int = 200, **values: Any
    ) -> web.Response:
        """Return a page."""
        visitor = request.get(VISITOR, Visitor())
        text = self._environment.get_template(template).render(self._values(request, visitor) | values)
        return self._respond(request, visitor, text, status)

    def render_part(self, request: web.Request, template: str, **values: Any) -> str:
        """Return a piece of a page, for scripts that put it in."""
        visitor = request.get(VISITOR, Visitor())
        return self._environment.get_template(template).render(self._values(request, visitor) | values)

    def render_refusal(
        self, request: web.Request, error: RegistryError, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Return the page that says what went wrong; the sign-in page where that would help."""
        visitor = request.get(VISITOR)
        if error.problem is Problem.UNAUTHORIZED and (visitor is None or visitor.identity.is_anonymous):
            return _go_to_sign_in(request)
        response = self.render(request, "refusal.html", status=error.problem.status, error=error)
        response.headers.update({name: headers[name] for name in ("Allow", "Retry-After") if name in headers})
        return response

    def base_url(self, request: web.Request) -> str:
        """Return the URL of this server as the visitor knows it."""
        return self._origins.base_url(request)

    def host(self, request: web.Request) -> str:
        """Return what stands before repository names in commands."""
        return urlsplit(self.base_url(request)).netloc

    def _values(self, request: web.Request, visitor: Visitor) -> dict[str, Any]:
        theme = request.cookies.get(THEME, "")
        with_query = _query_of(request)
        return {
            "visitor": visitor,
            "known": VISITOR in request,
            "csrf": visitor.csrf,
            "host": self.host(request),
            "base_url": self.base_url(request),
            "path": request.path,
            "address": with_query() if request.method in ("GET", "HEAD") else "/",
            "notice": notices.find(request.query.get(notices.PARAMETER)),
            "theme": theme if theme in ("light", "dark") else "",
            "cursor": request.query.get("cursor", ""),
            "with_query": with_query,
        }

    def _respond(self, request: web.Request, visitor: Visitor, text: str, status: int) -> web.Response:
        body = text.encode(errors="replace")
        response = web.Response(status=status, content_type="text/html", charset="utf-8")
        secure(response, private=not visitor.identity.is_anonymous)
        if len(body) > _WORTH_COMPRESSING and accepts_gzip(request):
            # The cookie of a session is not sent with requests of other sites, which is what attacks that
            # measure compressed secrets would need.
            body = zlib.compress(body, 5, wbits=31)
            response.headers["Content-Encoding"] = "gzip"
        response.body = body
        return response

    def _is_ours(self, request: web.Request, csrf: str) -> bool:
        """Tell whether a form comes from a page of ours, and of this session where there is one."""
        visitor = request.get(VISITOR, Visitor())
        proven = hmac.compare_digest(csrf.encode(errors="replace"), visitor.csrf.encode())
        return proven and not self._origins.is_foreign(request)


def secure(response: web.StreamResponse, *, private: bool) -> None:
    """Set the headers that every page has; a `private` one is kept nowhere."""
    response.headers.update(
        {
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "private, no-store" if private else "private, no-cache",
            "Vary": "Cookie, Accept-Encoding",
        }
    )


def see_other(path: str, *, notice: str | None = None) -> web.Response:
    """Return what sends the visitor to another page of ours (303), which says the notice of this code."""
    if notice is not None:
        if notice not in notices.NOTICES:
            raise KeyError(notice)
        path += ("&" if "?" in path else "?") + urlencode({notices.PARAMETER: notice})
    return web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})


def local_path(text: str | None, default: str = "/") -> str:
    """Return `text` if it is the path of a page of ours: where to go after signing in."""
    if text is None or len(text) > _MAX_NEXT or not text.isprintable():
        return default
    # Browsers read a backslash as a slash, and two slashes as the start of a host.
    if not text.startswith("/") or text.startswith("//") or "\\" in text:
        return default
    return text


async def _parse_form(request: web.Request) -> list[tuple[str, str]]:
    content = await read_body(request, _MAX_FORM)
    if request.content_type != FORM:
        raise RegistryError(Problem.MEDIA_TYPE_UNSUPPORTED)
    fields = parse_form(content, _MAX_FIELDS)
    # Browsers send line ends as CR LF; text is kept as it was written.
    return [(name, value.replace("\r\n", "\n")) for name, value in fields]


def _go_to_sign_in(request: web.Request) -> web.Response:
    back = request.raw_path if request.method in ("GET", "HEAD") else "/"
    return see_other(f"{SIGN_IN}?next={quote(back, safe='')}")


def _query_of(request: web.Request) -> Callable[..., str]:
    def with_query(**changes: object) -> str:
        kept = [
            (name, value)
            for name, value in request.query.items()
            if name not in changes and name != notices.PARAMETER
        ]
        added = [(name, str(value)) for name, value in changes.items() if value is not None]
        query = urlencode([*kept, *added])
        return f"{quote(request.path)}?{query}" if query else quote(request.path)

    return with_query
