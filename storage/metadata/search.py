"""Finding repositories by words, and lists of them that are filtered and sorted.

What is ranked does not grow with what matches: that is the most popular matches, up to a bound at which the
count ends as well. An order other than relevance is exact all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, literal, or_, select, union_all

from storage.metadata import cards, documents, order
from storage.metadata.cards import Card
from storage.metadata.documents import LEVEL, MAX_LEVEL, REPOSITORY_ID
from storage.metadata.order import Key, Order
from storage.metadata.repositories import Viewer, shared_with, visible_to
from storage.metadata.schema import repositories, repository_aliases, repository_categories

Sort = Literal["relevance", "stars", "pulls", "pushed", "name"]

MAX_FOUND: Final = 1000
"""Matches that are counted, and ranked by relevance, at most."""

# Names that match are looked for besides: where a word is in everything, those called so still come first.
_MAX_NAMED: Final = 300

# Documents that a suggestion is chosen from.
_MAX_SUGGESTED: Final = 60

# Rows that filters leave at most for them to be read first; where there are more, each match is checked.
_RARE: Final = 20_000

# What counts besides relevance, which is 1 for the best match and at least this for a name with all words.
_WORTH_OF_NAME: Final = 0.7
_WORTH_OF_POPULARITY: Final = 1.5
_WORTH_OF_OFFICIAL: Final = 0.25

# How near a name is to the query, the nearest first.
_EXACT, _SAME_WORDS, _BEGINNING, _ELSEWHERE = range(4)

_OFFICIAL: Final = "library/"

_C = repositories.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. The first `documents.MAX_WORDS` words of `text` count; without one, all match."""

    text: str = ""
    official: bool = False
    stars: int = 0
    kind: str | None = None
    category: str | None = None
    sort: Sort = "relevance"

    @property
    def order(self) -> Order | None:
        """The order of a list; None is that of relevance, which takes a word."""
        if self.sort != "relevance":
            return self.sort
        return None if self.text.strip() else "stars"


@dataclass(frozen=True, slots=True)
class Found:
    """A page of cards; `total` counts all of them, up to MAX_FOUND when `capped`."""

    cards: Sequence[Card] = ()
    more: bool = False
    total: int = 0
    capped: bool = False


def find(
    db: Connection, viewer: Viewer, wanted: Wanted, *, after: Key | None = None, limit: int = 25
) -> Found:
    """Return the page of what the viewer may see behind `after`, at most `limit`.

    `after` is a key of `order.key_of`; for relevance it is the number of cards that came before.
    """
    words = documents.words_in(wanted.text)
    if wanted.text.strip() and not words:
        return Found()
    query = _Query(db, viewer, wanted, words)
    matches = query.matches()
    capped = len(matches) > MAX_FOUND
    if wanted.order is None:
        matches = query.ranked(matches)
        start = after[0] if after else 0
        page = _cards(db, viewer, [match.id for match in matches[start : start + limit + 1]])
    elif capped:
        page = order.read(db, query.conditions(), wanted.order, after, limit + 1)
    else:
        conditions = [visible_to(viewer), _C.id.in_([match.id for match in matches])]
        page = order.read(db, conditions, wanted.order, after, limit + 1)
    return Found(page[:limit], more=len(page) > limit, total=min(len(matches), MAX_FOUND), capped=capped)


def suggest(db: Connection, viewer: Viewer, text: str, *, limit: int) -> Sequence[Card]:
    """Return the repositories whose name is best continued from `text`, at most `limit`."""
    words = documents.words_in(text)
    if not words:
        return ()
    query = _Query(db, viewer, Wanted(text), words)
    ranked = _rank([*query.exact(), *query.popular(_MAX_SUGGESTED, in_name=True)], words)
    return _cards(db, viewer, [match.id for match in ranked[:limit]])


def _cards(db: Connection, viewer: Viewer, ids: Sequence[int]) -> Sequence[Card]:
    statement = select(*cards.COLUMNS).where(_C.id.in_(ids), visible_to(viewer))
    found = {card.id: card for card in cards.read(db, db.execute(statement))}
    return [found[each] for each in ids if each in found]


class _Match(NamedTuple):
    id: int
    name: str
    level: int = 0
    relevance: float = 0.0
    nearness: int = _ELSEWHERE


@dataclass(frozen=True, slots=True)
class _Query:
    """One question, and how the database is asked it."""

    db: Connection
    viewer: Viewer
    wanted: Wanted
    words: Sequence[str]
    narrowed: Sequence[ColumnElement[bool]] = field(init=False)
    """The filters as conditions on documents."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "narrowed", self._narrowed())

    def matches(self) -> Sequence[_Match]:
        """Return what matches, the most popular first: one more than MAX_FOUND if there are more."""
        if self.words:
            return self.popular(MAX_FOUND + 1)
        statement = select(_C.id, _C.name).where(*self.conditions()).limit(MAX_FOUND + 1)
        return [_Match(*row) for row in self.db.execute(statement)]

    def ranked(self, matches: Sequence[_Match]) -> Sequence[_Match]:
        """Return the matches by relevance, at most MAX_FOUND."""
        named = self.popular(_MAX_NAMED, in_name=True) if len(matches) > MAX_FOUND else ()
        return _rank([*self.exact(), *named, *matches], self.words)[:MAX_FOUND]

    def popular(self, limit: int, *, in_name: bool = False) -> Sequence[_Match]:
        """Return the most popular matches."""
        statement = (
            select(_C.id, _C.name, LEVEL, literal(0.0) if in_name else documents.relevance(self.words))
            .select_from(documents.search)
            .join(repositories, _C.id == REPOSITORY_ID)
            .where(documents.holds(self.words, in_name=in_name), *self._shown(), visible_to(self.viewer))
            .where(*self.narrowed)
            .order_by(documents.POPULAR_FIRST)
            .limit(limit)
        )
        return [_Match(*row) for row in self.db.execute(statement)]

    def exact(self) -> Sequence[_Match]:
        """Return the repository that is called, or was called, what the query says."""
        name = self.wanted.text.strip().lower()
        if len(name) > documents.MAX_TEXT or not name.isprintable():
            return ()
        if "/" not in name:
            name = _OFFICIAL + name
        c = repository_aliases.c
        called = union_all(
            select(_C.id).where(_C.name == name), select(c.repository_id).where(c.name == name)
        )
        ids = self.db.execute(called).scalars().all()
        if not ids:
            return ()
        conditions = [_C.id.in_(ids), visible_to(self.viewer), *self._filters(), *self._of_category(_C.id)]
        rows = self.db.execute(select(_C.id, _C.name).where(*conditions))
        return [_Match(*row, level=MAX_LEVEL, nearness=_EXACT) for row in rows]

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        """Return what holds for the rows of `repositories` that match.

        The zeros keep SQLite from reading a row for each entry of an index or a set and sorting them all:
        where many rows pass, an index in the wanted order shows the first ones sooner.
        """
        conditions = [
            visible_to(self.viewer),
            *self._filters(_C.star_count + 0),
            *self._of_category(_C.id + 0),
        ]
        if self.words:
            holders = select(REPOSITORY_ID).select_from(documents.search)
            held = holders.where(documents.holds(self.words), *self._shown()).correlate(None)
            conditions.append((_C.id + 0).in_(held))
        return conditions

    def _filters(self, stars: ColumnElement[int] = _C.star_count) -> Sequence[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self.wanted.kind is not None:
            conditions.append(_C.kind == self.wanted.kind)
        if self.wanted.stars > 0:
            conditions.append(stars >= self.wanted.stars)
        if self.wanted.official:
            conditions += [_C.name >= _OFFICIAL, _C.name < _OFFICIAL.replace("/", "0")]
        return conditions

    def _of_category(self, repository_id: ColumnElement[int]) -> Sequence[ColumnElement[bool]]:
        if self.wanted.category is None:
            return ()
        c = repository_categories.c
        return (repository_id.in_(select(c.repository_id).where(c.category == self.wanted.category)),)

    def _narrowed(self) -> Sequence[ColumnElement[bool]]:
        """Return the filters as they are cheapest: as a set of ids where few rows pass them."""
        filters = self._filters()
        if not self.words or not filters:
            return self._of_category(REPOSITORY_ID)
        passing = _ids_where(*filters)
        some = passing.limit(_RARE + 1).subquery()
        few = self.db.execute(select(func.count()).select_from(some)).scalar_one() <= _RARE
        checked = (REPOSITORY_ID.in_(passing),) if few else self._filters(_C.star_count + 0)
        return (*checked, *self._of_category(REPOSITORY_ID))

    def _shown(self) -> Sequence[ColumnElement[bool]]:
        """Return what spares SQLite the rows of most repositories that the viewer may not see."""
        if self.viewer.sees_all and self.viewer.only is None:
            return ()
        return (or_(documents.IS_PUBLIC, REPOSITORY_ID.in_(_ids_where(shared_with(self.viewer)))),)


def _ids_where(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(_C.id).where(*conditions).correlate(None)


# -- ranking -----------------------------------------------------------------------------------------------


def _rank(matches: Sequence[_Match], words: Sequence[str]) -> list[_Match]:
    """Return each match once, by how near its name is to the words and then by what it is worth."""
    best = max((match.relevance for match in matches), default=0.0) or 1.0
    keys: dict[int, tuple[int, float, str]] = {}
    unique: dict[int, _Match] = {}
    for match in matches:
        key = _rank_of(match, match.relevance / best, words)
        if match.id not in keys or key < keys[match.id]:
            keys[match.id], unique[match.id] = key, match
    return sorted(unique.values(), key=lambda match: keys[match.id])


def _rank_of(match: _Match, worth: float, words: Sequence[str]) -> tuple[int, float, str]:
    parts = documents.words_of_name(match.name)
    if worth < _WORTH_OF_NAME and all(any(part.startswith(word) for part in parts) for word in words):
        worth = _WORTH_OF_NAME
    worth += _WORTH_OF_POPULARITY * match.level / MAX_LEVEL
    worth += _WORTH_OF_OFFICIAL * match.name.startswith(_OFFICIAL)
    return min(match.nearness, _nearness(match.name, parts, words)), -worth, match.name


def _nearness(name: str, parts: Sequence[str], words: Sequence[str]) -> int:
    """Tell whether the name, or what is behind its namespace, has just these words or begins with them."""
    if not any(part.startswith(words[0]) for part in parts):
        return _ELSEWHERE
    own = parts[len(documents.words_of_name(name.partition("/")[0])) :]
    if list(words) in (parts, own):
        return _SAME_WORDS
    return _BEGINNING if _begins(parts, words) or _begins(own, words) else _ELSEWHERE


def _begins(parts: Sequence[str], words: Sequence[str]) -> bool:
    end = len(words) - 1
    return len(parts) > end and list(words[:end]) == parts[:end] and parts[end].startswith(words[end])
