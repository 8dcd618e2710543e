"""Every page, and as whom to look at it: the tests of all pages go through this list.

A page that is not on it fails a test: see `test_pages_axe.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .images import small_index
from .seed import APP, CHART, PYTHON, Hub

# GET routes among the pages that are none: parts of pages, streams and files.
NO_PAGES: Final = frozenset(
    {
        "/favicon.ico",
        "/openapi.yaml",
        "/static/{version}/{file}",
        "/search/suggestions",
        "/r/{name}/-/events",
    }
)


@dataclass(frozen=True, slots=True)
class Stop:
    """A page as somebody looks at it: `who` is a name, "" for nobody's."""

    path: str
    who: str = ""
    status: int = 200

    def __str__(self) -> str:
        """As in the name of a test."""
        return f"{self.path} as {self.who or 'nobody'}"

    def address(self, hub: Hub) -> str:
        """The path on this server."""
        return self.path.replace("{invitation}", hub.invitation)


MAP: Final[Mapping[str, tuple[Stop, ...]]] = {
    "/": (Stop("/"), Stop("/", "alice"), Stop("/", "carol")),
    "/explore": (Stop("/explore"), Stop("/explore?category=languages&sort=stars", "alice")),
    "/search": (
        Stop("/search?q=python"),
        Stop("/search?q=acme&kind=chart", "bob"),
        Stop("/search?q=nothingofthename"),
    ),
    "/u/{name}": (
        Stop("/u/library"),
        Stop("/u/acme"),
        Stop("/u/acme", "bob"),
        Stop("/u/alice", "alice"),
        Stop("/u/alice?show=stars", "alice"),
        Stop("/u/nobody", status=404),
    ),
    "/r/{name}": (
        Stop("/r/library/python"),
        Stop("/r/library/python", "alice"),
        Stop("/r/alice/app", "alice"),
        Stop("/r/alice/hostile"),
        Stop("/r/acme/site"),
        Stop("/r/acme/model", "alice"),
        Stop("/r/acme/old"),
        Stop("/r/alice/app", "carol"),
        Stop("/r/alice/app", status=404),
    ),
    "/r/{name}/-/tags": (
        Stop("/r/library/python/-/tags"),
        Stop("/r/alice/app/-/tags", "alice"),
        Stop("/r/acme/nightly/-/tags?q=2026&sort=name"),
    ),
    "/r/{name}/-/statistics": (Stop("/r/library/python/-/statistics"),),
    "/r/{name}/-/tags/{tag}": (
        Stop("/r/library/python/-/tags/latest"),
        Stop("/r/alice/app/-/tags/1.0", "alice"),
        Stop("/r/alice/app/-/tags/0.9", "alice"),
        Stop("/r/acme/site/-/tags/1.2.3"),
        Stop("/r/alice/hostile/-/tags/latest"),
    ),
    "/r/{name}/-/digests/{digest}": (
        Stop(f"/r/alice/app/-/digests/{APP.manifest.digest}", "alice"),
        Stop(f"/r/library/python/-/digests/{PYTHON.manifest.digest}"),
        Stop(f"/r/library/python/-/digests/{PYTHON.children[1].manifest.digest}"),
        Stop(f"/r/acme/site/-/digests/{CHART.manifest.digest}"),
        Stop(f"/r/library/python/-/digests/{small_index('missing').manifest.digest}", status=404),
    ),
    "/sign-in": (Stop("/sign-in"), Stop("/sign-in?next=/account")),
    "/sign-up": (Stop("/sign-up"),),
    "/invitations/{secret}": (
        Stop("/invitations/{invitation}"),
        Stop("/invitations/{invitation}", "carol"),
        Stop("/invitations/unknown", status=404),
    ),
    "/account": (Stop("/account", "alice"), Stop("/account")),
    "/account/tokens": (Stop("/account/tokens", "alice"), Stop("/account/tokens", "carol")),
    "/account/sessions": (Stop("/account/sessions", "alice"),),
    "/docs": (Stop("/docs"),),
    "/repositories/new": (Stop("/repositories/new?namespace=acme", "alice"),),
    "/r/{name}/-/settings": (
        Stop("/r/alice/app/-/settings", "alice"),
        Stop("/r/acme/old/-/settings", "alice"),
        Stop("/r/alice/app/-/settings", "carol", 403),
    ),
    "/r/{name}/-/delete": (Stop("/r/alice/app/-/delete", "alice"),),
    "/r/{name}/-/tags/{tag}/-/settings": (
        Stop("/r/alice/app/-/tags/0.9/-/settings", "alice"),
        Stop("/r/alice/app/-/tags/latest/-/settings", "alice"),
    ),
    "/organizations": (Stop("/organizations", "alice"), Stop("/organizations", "carol")),
    "/organizations/{name}": (Stop("/organizations/acme", "alice"), Stop("/organizations/acme", "bob")),
    "/organizations/{name}/teams": (Stop("/organizations/acme/teams", "alice"),),
    "/organizations/{name}/teams/{team}": (
        Stop("/organizations/acme/teams/developers", "alice"),
        Stop("/organizations/acme/teams/operators", "bob"),
    ),
    "/organizations/{name}/teams/{team}/delete": (
        Stop("/organizations/acme/teams/developers/delete", "alice"),
        Stop("/organizations/acme/teams/developers/delete", "bob", 403),
    ),
    "/organizations/{name}/invitations": (Stop("/organizations/acme/invitations", "alice"),),
    "/organizations/{name}/robots": (Stop("/organizations/acme/robots", "alice"),),
    "/organizations/{name}/robots/{robot}": (Stop("/organizations/acme/robots/ci", "alice"),),
    "/organizations/{name}/robots/{robot}/delete": (Stop("/organizations/acme/robots/ci/delete", "alice"),),
    "/organizations/{name}/settings": (Stop("/organizations/acme/settings", "alice"),),
    "/organizations/{name}/delete": (Stop("/organizations/acme/delete", "alice"),),
    "/administration": (Stop("/administration", "admin"), Stop("/administration", "alice", 403)),
    "/administration/people": (Stop("/administration/people", "admin"),),
    "/administration/namespaces": (Stop("/administration/namespaces", "admin"),),
    "/administration/jobs": (Stop("/administration/jobs", "admin"),),
    "/administration/settings": (Stop("/administration/settings", "admin"),),
}


def stops() -> Iterator[Stop]:
    """Every stop of the map, and of the world around it."""
    for each in MAP.values():
        yield from each
    yield Stop("/no/such/page", status=404)
