"""The pages of a repository: overview, tags, statistics."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from registry.catalog import CATEGORIES, Catalog, Details, TagRow, TagSort
from registry.images import Images
from registry.names import RepositoryName
from registry.statistics import Statistics
from registry.web import charts, markdown
from registry.web.pages.commands import address, first_push, pulling
from registry.web.pages.paths import choice, moved, repository_in
from registry.web.pages.shell import Shell, Visitor, local_path, see_other

SORTS: Final[dict[TagSort, str]] = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "name": "Name, A to Z",
    "-name": "Name, Z to A",
}
PERIODS: Final = {"30": "30 days", "90": "90 days", "365": "A year"}

_RECENT: Final = 5
_PAGE: Final = 30
_MAX_FILTER: Final = 128


class Repositories:
    """The handlers of `/r/{name}` and what stands behind it, single images aside."""

    def __init__(self, shell: Shell, catalog: Catalog, images: Images, statistics: Statistics) -> None:
        self._shell = shell
        self._catalog = catalog
        self._images = images
        self._statistics = statistics

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; that of the overview takes every path that none before it took."""
        return [
            web.get("/r/{name:.+}/-/tags", self.get_tags),
            web.get("/r/{name:.+}/-/statistics", self.get_statistics),
            web.post("/r/{name:.+}/-/star", self.star),
            web.get("/r/{name:.+}", self.get_overview),
        ]

    async def get_overview(self, request: web.Request) -> web.StreamResponse:
        """Show what the repository says of itself, and how to pull from it."""
        visitor, details = await self._look(request)
        if elsewhere := moved(request, details.card.name):
            return elsewhere
        recent = await self._catalog.tags(visitor.identity, details.card.name, limit=_RECENT)
        host = self._shell.host(request)
        kind, name = details.card.kind, details.card.name
        shown = _shown_of(recent.items)
        return self._render(
            request,
            "overview",
            details,
            overview=await markdown.show(details.overview) if details.overview.strip() else "",
            recent=recent.items,
            tag="" if shown is None else shown.name,
            pull=[] if shown is None else pulling(host, name, kind, shown.name, shown.digest),
            steps=first_push(host, name, kind),
        )

    async def get_tags(self, request: web.Request) -> web.StreamResponse:
        """List the tags, filtered and sorted."""
        visitor, details = await self._look(request)
        if elsewhere := moved(request, details.card.name):
            return elsewhere
        q = request.query.get("q", "").strip()[:_MAX_FILTER]
        sort = _sort_in(request)
        name = RepositoryName(details.card.name)
        found = await self._catalog.tags(
            visitor.identity, name, q=q, sort=sort, cursor=request.query.get("cursor"), limit=_PAGE
        )
        facts = await self._images.facts(visitor.identity, name, [row.digest for row in found.items])
        host = self._shell.host(request)
        commands = {
            row.name: pulling(
                host, name, facts[row.digest].kind if row.digest in facts else "image", row.name, ""
            )[0].text
            for row in found.items
        }
        return self._render(
            request,
            "tags",
            details,
            found=found,
            facts=facts,
            commands=commands,
            q=q,
            sort=sort,
            sorts=SORTS,
        )

    async def get_statistics(self, request: web.Request) -> web.StreamResponse:
        """Show pulls and pushes by day."""
        visitor, details = await self._look(request)
        if elsewhere := moved(request, details.card.name):
            return elsewhere
        period = choice(request, "days", tuple(PERIODS))
        days = await self._statistics.daily(visitor.identity, details.card.name, days=int(period))
        return self._render(
            request,
            "statistics",
            details,
            days=days,
            by_tag=await self._statistics.by_tag(visitor.identity, details.card.name, days=int(period)),
            chart=charts.bars([(each.day, each.pulls, each.pushes) for each in days]),
            period=period,
            periods=PERIODS,
        )

    async def star(self, request: web.Request) -> web.StreamResponse:
        """Star the repository or take the star back."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)
        name = repository_in(request)
        await self._catalog.star(visitor.identity, name, form.get("starred") == "yes")
        return see_other(local_path(form.get("next"), f"/r/{name}"))

    async def _look(self, request: web.Request) -> tuple[Visitor, Details]:
        visitor = await self._shell.enter(request)
        return visitor, await self._catalog.repository(visitor.identity, repository_in(request))

    def _render(self, request: web.Request, section: str, details: Details, **values: Any) -> web.Response:
        return self._shell.render(
            request,
            f"repository/{section}.html",
            **in_frame(details, "" if section == "overview" else f"/-/{section}"),
            place=address(self._shell.host(request), details.card.name),
            **values,
        )


def in_frame(details: Details, section: str) -> Mapping[str, Any]:
    """Return what the head of a repository's pages shows; `section` is the path behind its name."""
    return {
        "details": details,
        "categories": CATEGORIES,
        "section_path": f"/r/{details.card.name}{section}",
    }


def _sort_in(request: web.Request) -> TagSort:
    said = request.query.get("sort")
    return next((each for each in SORTS if each == said), "newest")


def _shown_of(recent: Sequence[TagRow]) -> TagRow | None:
    """Return the tag that the overview shows how to pull: "latest" if it is among the newest."""
    found = next((row for row in recent if row.name == "latest"), None)
    return found or next(iter(recent), None)
