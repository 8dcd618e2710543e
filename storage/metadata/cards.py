"""Cards: what a list of repositories shows of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from storage.metadata.schema import repositories, repository_categories

_OFFICIAL: Final = "library/"


@dataclass(frozen=True, slots=True)
class Card:
    """A repository as lists show it."""

    id: int
    name: str
    is_public: bool
    summary: str
    kind: str
    """Of what was tagged last: "image", "chart" or "artifact"."""
    deprecation: str | None
    is_archived: bool
    stars: int
    pulls: int
    created_at: datetime
    last_pushed_at: datetime | None
    last_pulled_at: datetime | None
    categories: tuple[str, ...] = ()

    @property
    def is_official(self) -> bool:
        """Whether administrators keep it."""
        return self.name.startswith(_OFFICIAL)


_C = repositories.c

COLUMNS: Final = (
    _C.id,
    _C.name,
    _C.is_public,
    _C.summary,
    _C.kind,
    _C.deprecation,
    _C.archived_at.is_not(None).label("is_archived"),
    _C.star_count,
    _C.pull_count,
    _C.created_at,
    _C.last_pushed_at,
    _C.last_pulled_at,
)


def read(db: Connection, rows: Iterable[Row[Any]]) -> Sequence[Card]:
    """Return the cards of rows of `COLUMNS`, in their order, with categories."""
    cards = [Card(*row[: len(COLUMNS)]) for row in rows]
    named = _categories(db, [card.id for card in cards])
    return [replace(card, categories=named.get(card.id, ())) for card in cards]


def _categories(db: Connection, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    c = repository_categories.c
    statement = select(c.repository_id, c.category).where(c.repository_id.in_(ids))
    found: dict[int, tuple[str, ...]] = {}
    for repository_id, category in db.execute(statement.order_by(c.category)):
        found[repository_id] = (*found.get(repository_id, ()), category)
    return found
