"""Search among what the caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from auth.identity import Identity
from registry.errors import Problem, RegistryError
from registry.listing import MAX_PAGE, Listing, decode, encode
from registry.local import viewer_of
from storage.metadata import order, search
from storage.metadata.cards import Card
from storage.metadata.engine import Metadata
from storage.metadata.search import MAX_FOUND, Sort, Wanted

__all__ = ["KINDS", "MAX_FOUND", "Card", "Found", "Search", "Sort", "Suggestion"]

KINDS: Final = ("image", "chart", "artifact")
"""What a repository may hold."""

_MAX_STARS: Final = 10**9

# What a cursor holds behind the name of its order.
_KEYS: Final[dict[str, tuple[type | tuple[type, ...], ...]]] = {
    "relevance": (int,),
    "stars": (int, int, str),
    "pulls": (int, int, str),
    "pushed": ((int, type(None)), str),
    "name": (str,),
}


@dataclass(frozen=True, slots=True)
class Found(Listing[Card]):
    """A page of what was found; `total` counts all of it, up to MAX_FOUND when `capped`."""

    total: int = 0
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A repository that the words typed so far may mean."""

    name: str
    summary: str
    kind: str
    is_official: bool


class Search:
    """Finds repositories."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def find(
        self,
        caller: Identity,
        q: str,
        *,
        official: bool = False,
        stars: int = 0,
        kind: str | None = None,
        category: str | None = None,
        sort: Sort = "relevance",
        cursor: str | None = None,
        limit: int = 25,
    ) -> Found:
        """Return a page of what the words of `q` are found in and the filters let pass; all without a word.

        By relevance the cursor is a number of places, at most MAX_FOUND: a key could not say where a page
        begins, as the ranks of all change with the words of any. Other orders have keys.

        Raises:
            RegistryError: INVALID for a kind or an order that there is none of, PAGE_INVALID.
        """
        _check("kind", kind, (None, *KINDS))
        _check("sort", sort, get_args(Sort))
        if category is not None and not category.isprintable():
            return Found(())
        wanted = Wanted(q, official, min(stars, _MAX_STARS), kind, category, sort)
        after = _after(cursor, wanted.order or "relevance")
        size = min(max(limit, 1), MAX_PAGE)
        viewer = viewer_of(caller)
        found = await self._metadata.read(search.find, viewer, wanted, after=after, limit=size)
        more = found.more and found.cards
        return Found(
            found.cards,
            _cursor(found.cards, wanted, after) if more else None,
            total=found.total,
            capped=found.capped,
        )

    async def find_page(self, caller: Identity, q: str, *, number: int, size: int) -> Found:
        """Return the page of that number, the first is 1, by relevance; without a word there is but one."""
        start, viewer = min((number - 1) * size, MAX_FOUND), viewer_of(caller)
        wanted = Wanted(q)
        if wanted.order is None:
            found = await self._metadata.read(search.find, viewer, wanted, after=(start,), limit=size)
            return Found(found.cards, total=found.total, capped=found.capped)
        found = await self._metadata.read(search.find, viewer, wanted, limit=size)
        return Found(() if start else found.cards, total=len(found.cards))

    async def suggest(self, caller: Identity, q: str, limit: int = 8) -> Sequence[Suggestion]:
        """Return the repositories whose name is best continued from `q`."""
        size = min(max(limit, 1), MAX_PAGE)
        found = await self._metadata.read(search.suggest, viewer_of(caller), q, limit=size)
        return [Suggestion(card.name, card.summary, card.kind, card.is_official) for card in found]


def _check(field: str, value: str | None, known: Sequence[str | None]) -> None:
    if value not in known:
        message = f"must be one of {', '.join(filter(None, known))}"
        raise RegistryError(Problem.INVALID, detail={"fields": {field: message}})


def _after(cursor: str | None, name: str) -> tuple[Any, ...] | None:
    key = decode(cursor, str, *_KEYS[name])
    if key is None:
        return None
    if key[0] != name or (name == "relevance" and not 0 <= key[1] <= MAX_FOUND):
        raise RegistryError(Problem.PAGE_INVALID, "the cursor is not one of this list")
    return key[1:]


def _cursor(cards: Sequence[Card], wanted: Wanted, after: tuple[Any, ...] | None) -> str:
    if wanted.order is None:
        return encode(("relevance", (after[0] if after else 0) + len(cards)))
    return encode((wanted.order, *order.key_of(cards[-1], wanted.order)))
