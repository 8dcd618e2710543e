"""Who may do what, as data: every kind of caller against every operation of the three surfaces.

An operation names the callers that it is open to. All others are refused: who may see the thing with 403,
and who may not with exactly the answer that a thing gives which is not there.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

# -- callers ---------------------------------------------------------------------------------------------

# How somebody comes: with a password, or with an access token. Nobody in particular with neither.
ACCOUNTS: Final = (
    "stranger",
    "member",
    "reader",
    "writer",
    "keeper",  # the role admin on team/app
    "team-reader",
    "team-writer",
    "team-keeper",
    "team-all-writer",  # of a team with the role write on the whole namespace
    "owner",
    "root",
    "gone",  # an owner whose account is closed
)

TOKENS: Final = (
    "robot:read",
    "robot:write",
    "robot:delete",
    "owner:read",
    "owner:write",
    "owner:delete",
    "owner:admin",
    "owner:app",  # delete, for team/app alone
    "owner:elsewhere",  # delete, for team/open alone
    "owner:expired",
    "root:read",
    "gone:admin",
)

ANONYMOUS: Final = "anonymous"
CALLERS: Final = (ANONYMOUS, *ACCOUNTS, *TOKENS)

# Whose credentials are worth nothing: they are told so, whatever they ask for.
DEAD: Final = frozenset({"gone", "gone:admin", "owner:expired"})

EVERYBODY: Final = frozenset(CALLERS) - DEAD
LOGGED_IN: Final = EVERYBODY - {ANONYMOUS}
PEOPLE: Final = frozenset(ACCOUNTS) - DEAD

_ROBOTS: Final = frozenset({"robot:read", "robot:write", "robot:delete"})

SEE: Final = frozenset(
    {"reader", "writer", "keeper", "team-reader", "team-writer", "team-keeper", "team-all-writer", "owner"}
    | {"root", "owner:read", "owner:write", "owner:delete", "owner:admin", "owner:app", "root:read"}
    | _ROBOTS
)
PUSH: Final = SEE - {"reader", "team-reader", "robot:read", "owner:read", "root:read"}
DELETE: Final = PUSH - {"writer", "team-writer", "team-all-writer", "robot:write", "owner:write"}
KEEP: Final = DELETE - {"robot:delete", "owner:delete", "owner:app"}

CREATE: Final = PUSH - {"writer", "team-writer", "keeper", "team-keeper", "owner:app"}

OWN: Final = frozenset({"owner", "owner:admin", "root"})
BELONG: Final = frozenset({"member", *(each for each in PEOPLE if each.startswith("team-"))})
ADMINISTER: Final = frozenset({"root"})

# -- operations ------------------------------------------------------------------------------------------

Surface = Literal["oci", "api", "page"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A request, and whom it is open to.

    `path` holds names of the world: `{digest}`, `{blob}`, `{loose}`. `seen_by` may know that what it is about
    is there; to the others it looks like `absent`, the same request about what is not there.
    """

    method: str
    path: str
    open_to: frozenset[str]
    seen_by: frozenset[str]
    absent: str | None = None
    body: Any = None
    changes: bool = False
    status: int = 200
    surface: Surface = "api"
    form: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """How the test is called."""
        said = self.body or self.form
        return f"{self.method} {self.path}" + (f" {said}" if said else "")


def _in_app(method: str, rest: str, open_to: frozenset[str], **more: Any) -> Operation:
    """Return an operation of the interface on the private repository."""
    path = "/api/v1/repositories/{repository}" + rest
    return Operation(
        method,
        path.replace("{repository}", "team/app"),
        open_to,
        SEE,
        absent=path.replace("{repository}", "team/absent"),
        changes=method not in ("GET", "HEAD"),
        **more,
    )


def _in_team(method: str, rest: str, open_to: frozenset[str], **more: Any) -> Operation:
    """Return an operation on the organization, which everybody who is logged in may know."""
    # It has a public repository, so that everybody may know of it.
    more.setdefault("seen_by", EVERYBODY)
    return Operation(
        method,
        f"/api/v1/organizations/team{rest}",
        open_to,
        changes=method not in ("GET", "HEAD"),
        absent=f"/api/v1/organizations/absent{rest}",
        **more,
    )


def _oci(method: str, rest: str, open_to: frozenset[str], **more: Any) -> Operation:
    """Return an operation of the distribution specification on the private repository."""
    return Operation(
        method,
        f"/v2/team/app{rest}",
        open_to,
        frozenset(),  # there, who may not learns nothing at all
        absent=f"/v2/team/absent{rest}",
        changes=method not in ("GET", "HEAD"),
        surface="oci",
        **more,
    )


OCI: Final = (
    _oci("GET", "/manifests/v1", SEE),
    _oci("HEAD", "/manifests/v1", SEE),
    _oci("GET", "/manifests/{digest}", SEE),
    _oci("GET", "/blobs/{blob}", SEE),
    _oci("HEAD", "/blobs/{blob}", SEE),
    _oci("GET", "/tags/list", SEE),
    _oci("GET", "/referrers/{digest}", SEE),
    _oci("POST", "/blobs/uploads/", PUSH, status=202),
    _oci("POST", "/blobs/uploads/?mount={blob}&from=team/open", PUSH, status=201),
    _oci("PUT", "/manifests/v2", PUSH, body="{manifest}", status=201),
    _oci("DELETE", "/manifests/v1", DELETE, status=202),
    _oci("DELETE", "/manifests/{digest}", DELETE, status=202),
    _oci("DELETE", "/blobs/{loose}", DELETE, status=202),
)

REPOSITORIES: Final = (
    _in_app("GET", "", SEE),
    _in_app("PATCH", "", PUSH, body={"summary": "said anew"}),
    _in_app("PATCH", "", KEEP, body={"public": True}),
    _in_app("PATCH", "", KEEP, body={"archived": True}),
    _in_app("DELETE", "", DELETE, status=204),
    _in_app("POST", "/-/rename", KEEP, body={"name": "team/renamed"}),
    _in_app("POST", "/-/rename", frozenset({"root"}), body={"name": "library/moved"}),
    _in_app("GET", "/-/consequences", SEE),
    _in_app("PUT", "/-/star", (SEE & PEOPLE) | {"owner:admin"}, status=204),
    _in_app("GET", "/-/tags", SEE),
    _in_app("GET", "/-/tags/v1", SEE),
    _in_app("PATCH", "/-/tags/v1", PUSH, body={"deprecation": "use v2"}),
    _in_app("DELETE", "/-/tags/v1", DELETE, status=204),
    _in_app("GET", "/-/manifests/{digest}", SEE),
    _in_app("DELETE", "/-/manifests/{digest}", DELETE, status=204),
    _in_app("GET", "/-/referrers/{digest}", SEE),
    _in_app("GET", "/-/statistics", SEE),
    _in_app("GET", "/-/roles", KEEP),
    _in_app("PUT", "/-/roles/stranger", KEEP, body={"role": "read"}, status=204),
    _in_app("DELETE", "/-/roles/reader", KEEP, status=204),
    Operation(
        "POST",
        "/api/v1/repositories",
        CREATE,
        LOGGED_IN,
        body={"name": "team/made"},
        status=201,
        changes=True,
    ),
)

ORGANIZATIONS: Final = (
    _in_team("GET", "", EVERYBODY),
    _in_team("PATCH", "", OWN, body={"about": "said anew"}),
    _in_team("GET", "/members", BELONG | OWN),
    _in_team("PUT", "/members/stranger", OWN, body={"owner": False}, status=204),
    _in_team("DELETE", "/members/member", OWN | {"member"}, status=204),
    _in_team("GET", "/teams", BELONG | OWN),
    _in_team("POST", "/teams", OWN, body={"name": "made"}, status=201),
    _in_team("GET", "/teams/readers", BELONG | OWN),
    _in_team("PATCH", "/teams/readers", OWN, body={"about": "said anew"}),
    _in_team("DELETE", "/teams/readers", OWN, status=204),
    _in_team("GET", "/teams/readers/members", BELONG | OWN),
    _in_team("PUT", "/teams/readers/members/member", OWN, status=204),
    _in_team("DELETE", "/teams/readers/members/team-reader", OWN, status=204),
    _in_team("GET", "/teams/readers/repositories", BELONG | OWN),
    _in_team("PUT", "/teams/readers/repositories/team/app", OWN, body={"role": "write"}, status=204),
    _in_team("DELETE", "/teams/readers/repositories/team/app", OWN, status=204),
    _in_team("GET", "/robots", OWN),
    _in_team("POST", "/robots", OWN, body={"name": "made"}, status=201),
    _in_team("DELETE", "/robots/robot", OWN, status=204),
    _in_team("GET", "/robots/robot/tokens", OWN),
    _in_team("POST", "/robots/robot/tokens", OWN, body={"name": "made", "permission": "read"}, status=201),
    _in_team("GET", "/invitations", OWN),
    _in_team("POST", "/invitations", OWN, body={"note": "made"}, status=201),
)

OWN_THINGS: Final = (
    Operation("GET", "/api/v1/me", LOGGED_IN - _ROBOTS, EVERYBODY - _ROBOTS),
    Operation(
        "PATCH", "/api/v1/me", PEOPLE | {"owner:admin"}, EVERYBODY, body={"about": "said anew"}, changes=True
    ),
    Operation("GET", "/api/v1/me/tokens", PEOPLE | {"owner:admin"}, EVERYBODY),
    Operation(
        "POST",
        "/api/v1/me/tokens",
        PEOPLE | {"owner:admin"},
        EVERYBODY,
        body={"name": "made", "permission": "read"},
        status=201,
        changes=True,
    ),
    Operation("GET", "/api/v1/me/sessions", PEOPLE | {"owner:admin"}, EVERYBODY),
    Operation(
        "POST",
        "/api/v1/organizations",
        PEOPLE | {"owner:admin"},
        EVERYBODY,
        body={"name": "made"},
        status=201,
        changes=True,
    ),
    Operation("GET", "/api/v1/repositories", EVERYBODY, EVERYBODY),
    Operation("GET", "/api/v1/search?q=app", EVERYBODY, EVERYBODY),
)

ADMINISTRATION: Final = (
    Operation("GET", "/api/v1/users", ADMINISTER, EVERYBODY),
    Operation(
        "POST",
        "/api/v1/users",
        ADMINISTER,
        EVERYBODY,
        body={"name": "made", "password": "long enough to pass"},
        status=201,
        changes=True,
    ),
    Operation(
        "PATCH", "/api/v1/users/stranger", ADMINISTER, EVERYBODY, body={"disabled": True}, changes=True
    ),
    Operation("PATCH", "/api/v1/users/stranger", ADMINISTER, EVERYBODY, body={"admin": True}, changes=True),
    Operation("GET", "/api/v1/admin/invitations", ADMINISTER, EVERYBODY),
    Operation("GET", "/api/v1/admin/namespaces", ADMINISTER, EVERYBODY),
    Operation("GET", "/api/v1/admin/jobs", ADMINISTER, EVERYBODY),
    Operation("GET", "/api/v1/admin/settings", ADMINISTER, EVERYBODY),
    Operation("GET", "/api/v1/admin/health", ADMINISTER, EVERYBODY),
)


def _page(method: str, rest: str, open_to: frozenset[str], **more: Any) -> Operation:
    """Return a page of the private repository: for people alone, as tokens do not sign in."""
    return Operation(
        method,
        f"/r/team/app{rest}",
        open_to & PEOPLE,
        SEE & PEOPLE,
        absent=f"/r/team/absent{rest}",
        changes=method != "GET",
        status=303 if method == "POST" else 200,
        surface="page",
        **more,
    )


def _place(method: str, path: str, open_to: frozenset[str], **more: Any) -> Operation:
    """Return another page."""
    more.setdefault("status", 303 if method == "POST" else 200)
    return Operation(method, path, open_to, PEOPLE, changes=method != "GET", surface="page", **more)


PAGES: Final = (
    _page("GET", "", SEE),
    _page("GET", "/-/tags", SEE),
    _page("GET", "/-/tags/v1", SEE),
    _page("GET", "/-/digests/{digest}", SEE),
    _page("GET", "/-/statistics", SEE),
    _page("POST", "/-/star", SEE, form={"starred": "yes"}),
    _page("POST", "/-/settings", PUSH, form={"summary": "said anew"}),
    _page("POST", "/-/visibility", KEEP, form={"visibility": "public"}),
    _page("POST", "/-/archive", KEEP, form={"archived": "yes"}),
    _page("POST", "/-/rename", KEEP, form={"new_name": "team/renamed"}),
    _page("POST", "/-/roles", KEEP, form={"person": "stranger", "role": "read"}),
    _page("POST", "/-/delete", DELETE, form={"confirm": "team/app"}),
    _page("POST", "/-/tags/v1/-/settings", PUSH, form={"deprecation": "use v2"}),
    _page("POST", "/-/tags/v1/-/delete", DELETE),
    _place("GET", "/", PEOPLE | {ANONYMOUS, "gone"}),
    _place("GET", "/explore", PEOPLE | {ANONYMOUS, "gone"}),
    _place("GET", "/account", PEOPLE),
    _place("GET", "/account/tokens", PEOPLE),
    _place("GET", "/account/sessions", PEOPLE),
    _place("GET", "/organizations", PEOPLE),
    _place("GET", "/organizations/team/teams", (BELONG | OWN) & PEOPLE),
    _place("GET", "/organizations/team/robots", OWN & PEOPLE),
    _place("GET", "/organizations/team/invitations", OWN & PEOPLE),
    _place("POST", "/organizations/team/teams", OWN & PEOPLE, form={"team": "made"}),
    _place("POST", "/organizations/team/teams/readers/delete", OWN & PEOPLE),
    _place("POST", "/organizations/team/robots/robot/delete", OWN & PEOPLE),
    _place("GET", "/administration", ADMINISTER),
    _place("GET", "/administration/people", ADMINISTER),
    _place("GET", "/administration/namespaces", ADMINISTER),
    _place("GET", "/administration/jobs", ADMINISTER),
    _place("GET", "/administration/settings", ADMINISTER),
    _place("POST", "/administration/people/stranger", ADMINISTER, form={"disabled": "yes"}),
)

OPERATIONS: Final = (*OCI, *REPOSITORIES, *ORGANIZATIONS, *OWN_THINGS, *ADMINISTRATION, *PAGES)
