"""Requests that the catalog's interface refuses, as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from registry.errors import Problem

ME: Final = "/me"
ACME: Final = "/organizations/acme"
LARGE: Final = 256 * 1024 + 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A request of ann's that is refused; she owns acme."""

    problem: Problem
    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    """What is wrong, where that is said."""


def _unfit(path: str, body: Any, *fields: str, method: str = "PATCH") -> Refused:
    return Refused(Problem.INVALID, method, path, body, {}, fields)


BY_API: Final = [
    Refused(Problem.NOT_HERE, "GET", "/users/nobody"),
    Refused(Problem.NOT_HERE, "GET", "/users/" + "a" * 300),
    Refused(Problem.NOT_HERE, "GET", "/users/%00"),
    Refused(Problem.NOT_HERE, "GET", "/users/%ed%a0%80"),
    Refused(Problem.NOT_HERE, "DELETE", "/me/tokens/0"),
    Refused(Problem.NOT_HERE, "DELETE", "/me/tokens/99999999999999999999"),
    Refused(Problem.NOT_HERE, "DELETE", "/me/tokens/x"),
    Refused(Problem.NOT_HERE, "GET", "/invitations/lsi_none"),
    Refused(Problem.NAME_TAKEN, "POST", "/organizations", {"name": "acme"}),
    Refused(Problem.NAME_TAKEN, "POST", "/organizations", {"name": "bob"}),
    Refused(Problem.CONFLICT, "DELETE", f"{ACME}/members/ann"),
    Refused(Problem.EDITED, "PATCH", ACME, {"about": "x"}, {"If-Match": '"7"'}),
    Refused(Problem.EDITED, "PATCH", ACME, {"about": "x"}, {"If-Match": '"x"'}),
    Refused(Problem.EDITED, "PATCH", ACME, {"about": "x"}, {"If-Match": '"01"'}),
    Refused(Problem.EDITED, "PATCH", ACME, {"about": "x"}, {"If-Match": 'W/"1"'}),
    Refused(Problem.EDITED, "PATCH", ACME, {"about": "x"}, {"If-Match": f'"{"9" * 40}"'}),
    Refused(Problem.REQUEST_INVALID, "PATCH", ACME, {"about": "x"}, {"If-Match": "1"}),
    Refused(Problem.REQUEST_INVALID, "PATCH", ACME, {"about": "x"}, {"If-Match": '"1", "2"'}),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b""),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b"{"),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b"{}{}"),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b'{"about":"\xff"}'),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b'{"about":"\\ud800"}'),
    Refused(Problem.REQUEST_INVALID, "PATCH", ME, b"[" * 100_000),
    Refused(Problem.MEDIA_TYPE_UNSUPPORTED, "PATCH", ME, b"about=x", {"Content-Type": "text/plain"}),
    Refused(Problem.MEDIA_TYPE_UNSUPPORTED, "PATCH", ME, b"{}", {"Content-Type": ""}),
    Refused(Problem.BODY_TOO_LARGE, "PATCH", ME, b" " * LARGE),
    Refused(Problem.PAGE_INVALID, "GET", "/organizations?cursor=x"),
    Refused(Problem.DENIED, "GET", "/users"),
    Refused(Problem.NOT_FOUND, "GET", "/none"),
    Refused(Problem.NOT_FOUND, "GET", "/me/"),
    Refused(Problem.METHOD_NOT_ALLOWED, "DELETE", "/me"),
    _unfit(ME, [], "body"),
    _unfit(ME, {"name": "x"}, "name"),
    _unfit(ME, {"about": 5}, "about"),
    _unfit(ME, {"about": None}, "about"),
    _unfit(ME, {"about": "a\0b"}, "about"),
    _unfit(ME, {"about": "a" * 1001}, "about"),
    _unfit(ME, {"full_name": "two\nlines", "website": "javascript:alert(1)"}, "full_name", "website"),
    _unfit("/me/tokens", {"name": "x"}, "permission", method="POST"),
    _unfit("/me/tokens", {"name": "x", "permission": "all"}, "permission", method="POST"),
    _unfit("/me/tokens", {"name": "x", "permission": 4}, "permission", method="POST"),
    _unfit("/me/tokens", {"name": "x", "permission": "read", "expires_at": 5}, "expires_at", method="POST"),
    _unfit(
        "/me/tokens",
        {"name": "x", "permission": "read", "expires_at": "2030-01-01"},
        "expires_at",
        method="POST",
    ),
    _unfit(
        "/me/tokens",
        {"name": "x", "permission": "read", "expires_at": "2020-01-01T00:00:00Z"},
        "expires_at",
        method="POST",
    ),
    _unfit("/organizations", {"name": "A"}, "name", method="POST"),
    _unfit("/organizations?limit=0", None, "limit", method="GET"),
    _unfit("/organizations?limit=101", None, "limit", method="GET"),
    _unfit("/organizations?limit=x", None, "limit", method="GET"),
    _unfit("/organizations?limit=%2B1", None, "limit", method="GET"),
    _unfit("/organizations?limit=%D9%A1", None, "limit", method="GET"),
    _unfit("/organizations?limit=1&limit=2", None, "limit", method="GET"),
    _unfit("/organizations?mine=maybe", None, "mine", method="GET"),
    _unfit("/organizations?q=%00", None, "q", method="GET"),
]
