"""The first page, and the one that shows what there is."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from auth.identity import Identity
from registry.catalog import CATEGORIES, Card, Catalog, Sort
from registry.people import People
from registry.web.pages.commands import address, needs_exception, pushing
from registry.web.pages.shell import Shell, Visitor

_SHOWN = 6
_OWN = 25


class Home:
    """The handlers of `/` and `/explore`."""

    def __init__(self, shell: Shell, catalog: Catalog, people: People) -> None:
        self._shell = shell
        self._catalog = catalog
        self._people = people

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/", self.get_home), web.get("/explore", self.get_explore)]

    async def get_home(self, request: web.Request) -> web.StreamResponse:
        """Show visitors what there is, and people what is theirs."""
        visitor = await self._shell.enter(request)
        if not visitor.signed_in:
            return await self._explore(request, visitor, hero=True)
        identity = visitor.identity
        own = await self._catalog.repositories(
            identity,
            namespace=visitor.name,
            sort="pushed",
            cursor=request.query.get("cursor"),
            limit=_OWN,
        )
        profile = await self._people.profile(identity, visitor.name)
        starred = await self._catalog.repositories(
            identity, starred_by=visitor.name, sort="name", limit=_SHOWN
        )
        return self._shell.render(
            request,
            "home.html",
            own=own,
            starred=starred.items,
            organizations=profile.organizations,
            **self._first_steps(request, visitor.name),
        )

    async def get_explore(self, request: web.Request) -> web.StreamResponse:
        """Show what there is."""
        return await self._explore(request, await self._shell.enter(request), hero=False)

    async def _explore(self, request: web.Request, visitor: Visitor, *, hero: bool) -> web.StreamResponse:
        identity = visitor.identity
        official = (
            await self._catalog.repositories(identity, official=True, sort="pulls", limit=_SHOWN)
        ).items
        pulled = await self._first(identity, "pulls", official)
        pushed = await self._first(identity, "pushed", [*official, *pulled])
        return self._shell.render(
            request,
            "explore.html",
            hero=hero,
            official=official,
            pulled=pulled,
            pushed=pushed,
            sample=address(self._shell.host(request), next((card.name for card in official), "app")),
            categories=CATEGORIES,
            **self._first_steps(request, visitor.name if visitor.signed_in else ""),
        )

    async def _first(self, caller: Identity, sort: Sort, shown: Sequence[Card]) -> Sequence[Card]:
        """Return the first few in an order, without those that the page shows already."""
        found = await self._catalog.repositories(caller, sort=sort, limit=_SHOWN + len(shown))
        known = {card.id for card in shown}
        return [card for card in found.items if card.id not in known and card.last_pushed_at][:_SHOWN]

    def _first_steps(self, request: web.Request, account: str) -> dict[str, Any]:
        host, base_url = self._shell.host(request), self._shell.base_url(request)
        return {"steps": pushing(host, account), "needs_exception": needs_exception(base_url, host)}
