"""The orders that lists of repositories come in, and how one goes on behind a card."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, select, tuple_, type_coerce

from storage.metadata import cards
from storage.metadata.cards import Card
from storage.metadata.schema import microseconds, repositories

Order = Literal["stars", "pulls", "pushed", "name"]
Key = tuple[Any, ...]

_C = repositories.c
_PUSHED: Final = type_coerce(_C.last_pushed_at, BigInteger)
# A cursor may come from anybody: whatever number it holds is compared.
_STARS: Final = type_coerce(_C.star_count, BigInteger)

# Ties of numbers go to the greater of the next one: so one index, read backwards, is the whole order.
_COLUMNS: Final[dict[Order, tuple[ColumnElement[Any], ...]]] = {
    "stars": (_STARS, _C.pull_count, _C.name),
    "pulls": (_C.pull_count, _STARS, _C.name),
    "pushed": (_PUSHED, _C.name),
    "name": (_C.name,),
}


def key_of(card: Card, order: Order) -> Key:
    """Return where the card stands: numbers, strings and None."""
    match order:
        case "stars":
            return card.stars, card.pulls, card.name
        case "pulls":
            return card.pulls, card.stars, card.name
        case "pushed":
            pushed = card.last_pushed_at
            return None if pushed is None else microseconds(pushed), card.name
        case "name":
            return (card.name,)


def read(
    db: Connection, conditions: Sequence[ColumnElement[bool]], order: Order, after: Key | None, limit: int
) -> Sequence[Card]:
    """Return the cards behind the key `after` that the conditions hold for, at most `limit`."""
    columns = _COLUMNS[order]
    statement = select(*cards.COLUMNS).where(*conditions)
    statement = statement.order_by(*(each.asc() if order == "name" else each.desc() for each in columns))
    if order == "name":
        behind = statement if after is None else statement.where(_C.name > after[0])
        return cards.read(db, db.execute(behind.limit(limit)))
    if order == "pushed":
        return cards.read(db, _by_push(db, statement, after, limit))
    behind = statement if after is None else statement.where(tuple_(*columns) < after)
    return cards.read(db, db.execute(behind.limit(limit)))


def _by_push(db: Connection, statement: Select[Any], after: Key | None, limit: int) -> Sequence[Row[Any]]:
    """Read those that nobody has pushed to last: databases differ in where they put them."""
    rows: list[Row[Any]] = []
    never = _C.last_pushed_at.is_(None)
    if after is None or after[0] is not None:
        some = statement.where(_C.last_pushed_at.is_not(None))
        behind = some if after is None else some.where(tuple_(_PUSHED, _C.name) < after)
        rows += db.execute(behind.limit(limit))
    if len(rows) < limit:
        rest = never if after is None or after[0] is not None else never & (_C.name < after[1])
        rows += db.execute(statement.where(rest).limit(limit - len(rows)))
    return rows
