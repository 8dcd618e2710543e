"""What `docker search HOST/term` and `podman search` ask: the search of Docker's first registry API.

The engine pings, and then searches: with a token for `registry:catalog:search` where a login left it one, or
with name and password (Basic) where the login was stored so. podman sends no credentials. What a filter of
the clients takes away, they take away themselves.
"""

import re
from typing import Any, Final

from aiohttp import web

from auth.identity import Identity
from auth.passwords import ACCESS_PREFIX
from registry.errors import Problem, RegistryError
from registry.names import RepositoryName
from registry.search import Card, Search
from registry.web.access import Gate
from registry.web.callers import Callers

_PAGE: Final = 25
_MAX_PAGE: Final = 100

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


class ClientSearch:
    """The handlers of `/v1/_ping` and `/v1/search`."""

    def __init__(self, gate: Gate, callers: Callers, search: Search) -> None:
        self._gate = gate
        self._callers = callers
        self._search = search

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/v1/_ping", self.ping), web.get("/v1/search", self.find)]

    async def ping(self, _: web.Request) -> web.Response:
        """Say that there is a search. Not standalone: the engine need not send passwords everywhere."""
        return web.json_response(True, headers={"X-Docker-Registry-Standalone": "false"})

    async def find(self, request: web.Request) -> web.Response:
        """Find repositories among those that the caller may see."""
        caller = await self._identify(request)
        number, size = _number(request, "page", 1), min(_number(request, "n", _PAGE), _MAX_PAGE)
        query = request.query.get("q", "")
        found = await self._search.find_page(caller, query, number=number, size=size)
        answer = {
            "query": query,
            "num_results": found.total,
            "num_pages": -(-found.total // size),
            "page": number,
            "page_size": size,
            "results": [_describe(card) for card in found.items],
        }
        return web.json_response(answer)

    async def _identify(self, request: web.Request) -> Identity:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic" or credentials.strip().startswith(ACCESS_PREFIX):
            return await self._callers.enter(request)
        return await self._gate.enter_catalog(request)


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise RegistryError(Problem.PAGE_INVALID, f"{name} is a whole number, 1 or more")
    return int(text)


def _describe(card: Card) -> dict[str, Any]:
    return {
        # So that what is behind the host's name pulls it, as short as it can be.
        "name": min(RepositoryName(card.name).aliases, key=len),
        "description": card.summary,
        "star_count": card.stars,
        "is_official": card.is_official,
        "is_automated": False,
    }
