"""Finding repositories."""

from typing import Final, Literal

from aiohttp import web

from registry.catalog import CATEGORIES
from registry.search import Search
from registry.web import words
from registry.web.pages.paths import choice
from registry.web.pages.shell import Shell

Sort = Literal["relevance", "stars", "pulls", "pushed", "name"]

SORTS: Final[dict[Sort, str]] = {
    "relevance": "Best match",
    "stars": "Most stars",
    "pulls": "Most pulls",
    "pushed": "Latest push",
    "name": "Name",
}
KINDS: Final = {"": "Everything", "image": "Images", "chart": "Helm charts", "artifact": "Artifacts"}
STARS: Final = {0: "Any", 1: "At least one", 10: "10 and more", 100: "100 and more"}

_MAX_TERM: Final = 200
_PAGE: Final = 20


class Finder:
    """The handlers of `/search`."""

    def __init__(self, shell: Shell, search: Search) -> None:
        self._shell = shell
        self._search = search

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/search", self.get_results),
            web.get("/search/suggestions", self.get_suggestions),
        ]

    async def get_results(self, request: web.Request) -> web.StreamResponse:
        """Show what was found. A filter that does not exist filters nothing."""
        visitor = await self._shell.enter(request)
        term = _term_in(request)
        kind = choice(request, "kind", tuple(KINDS)) or None
        category = request.query.get("category")
        category = category if category in CATEGORIES else None
        stars = request.query.get("stars", "")
        minimum = int(stars) if stars in {str(each) for each in STARS} else 0
        official = request.query.get("official") == "yes"
        sort = _sort_in(request)
        found = await self._search.find(
            visitor.identity,
            term,
            official=official,
            stars=minimum,
            kind=kind,
            category=category,
            sort=sort,
            cursor=request.query.get("cursor"),
            limit=_PAGE,
        )
        return self._shell.render(
            request,
            "search.html",
            finder_q=term,
            found=found,
            kind=kind or "",
            category=category,
            stars=minimum,
            official=official,
            sort=sort,
            sorts=SORTS,
            kinds=KINDS,
            star_steps=STARS,
            categories=CATEGORIES,
        )

    async def get_suggestions(self, request: web.Request) -> web.StreamResponse:
        """Return the first few names that begin so, for the search field."""
        visitor = await self._shell.enter(request)
        found = await self._search.suggest(visitor.identity, _term_in(request), limit=8)
        items = [
            {
                "name": each.name.removeprefix("library/"),
                "summary": words.plain(each.summary),
                "path": f"/r/{each.name}",
            }
            for each in found
        ]
        return web.json_response({"items": items}, headers={"Cache-Control": "private, no-store"})


def _term_in(request: web.Request) -> str:
    return request.query.get("q", "").strip()[:_MAX_TERM]


def _sort_in(request: web.Request) -> Sort:
    said = request.query.get("sort")
    return next((each for each in SORTS if each == said), "relevance")
