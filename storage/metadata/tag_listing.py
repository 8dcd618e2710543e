"""Tags as people read them: many thousands in one repository, sorted, filtered, page by page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, func, select, tuple_, type_coerce, update

from storage.digest import Digest
from storage.metadata.schema import manifests, microseconds, statistics, tags
from storage.metadata.statistics import days_until

Sort = Literal["newest", "oldest", "name", "-name"]
Key = tuple[Any, ...]

PULLS_DAYS: Final = 30
"""A tag's pulls are those of so many days."""

_C = tags.c


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag with what it means; `pulls` are those of the last PULLS_DAYS days."""

    name: str
    digest: Digest
    media_type: str
    artifact_type: str | None
    tagged_at: datetime
    tagged_by: str | None
    deprecation: str | None
    last_pulled_at: datetime | None
    pulls: int


# Stored moments are whole numbers, and so are those in a key.
_TAGGED: Final = type_coerce(_C.tagged_at, BigInteger)

# Each is an index of the table read forwards or backwards.
_ORDERS: Final[dict[Sort, tuple[ColumnElement[Any], ...]]] = {
    "newest": (_TAGGED, _C.name),
    "oldest": (_TAGGED, _C.name),
    "name": (_C.name,),
    "-name": (_C.name,),
}
_DESCENDING: Final = frozenset({"newest", "-name"})


def key_of(row: TagRow, sort: Sort) -> Key:
    """Return where the tag stands in an order: a number and a string, or a string."""
    return (microseconds(row.tagged_at), row.name) if sort in ("newest", "oldest") else (row.name,)


def rows(
    db: Connection,
    repository_id: int,
    *,
    q: str = "",
    sort: Sort = "newest",
    after: Key | None = None,
    limit: int,
    today: date,
) -> Sequence[TagRow]:
    """Return the tags behind the key `after` that hold `q`, whatever its case, at most `limit`."""
    order = _ORDERS[sort]
    key = tuple_(*order)
    # The names first, which the index alone knows: rows are fetched for one page only.
    statement = select(_C.name).where(_C.repository_id == repository_id)
    if q:
        # SQLite's LIKE does not mind the case of ASCII, all that tags are made of; others have to be told.
        holds = _C.name.contains if db.dialect.name == "sqlite" else _C.name.icontains
        statement = statement.where(holds(q, autoescape=True))
    if after is not None:
        statement = statement.where(key < after if sort in _DESCENDING else key > after)
    statement = statement.order_by(*(each.desc() if sort in _DESCENDING else each.asc() for each in order))
    names = list(db.execute(statement.limit(limit)).scalars())
    found = _read(db, repository_id, names, today)
    return [found[name] for name in names if name in found]


def find(db: Connection, repository_id: int, name: str, *, today: date) -> TagRow | None:
    """Return the tag."""
    return _read(db, repository_id, [name], today).get(name)


def deprecate(db: Connection, repository_id: int, name: str, text: str | None) -> bool:
    """Change what is told to whoever pulls by the tag; tell whether it is there."""
    statement = update(tags).where(_C.repository_id == repository_id, _C.name == name)
    return db.execute(statement.values(deprecation=text)).rowcount > 0


def _read(db: Connection, repository_id: int, names: Sequence[str], today: date) -> dict[str, TagRow]:
    of_tag = (manifests.c.repository_id == _C.repository_id) & (manifests.c.digest == _C.digest)
    statement = (
        select(
            _C.name,
            _C.digest,
            manifests.c.media_type,
            manifests.c.artifact_type,
            _C.tagged_at,
            _C.tagged_by,
            _C.deprecation,
            _C.last_pulled_at,
        )
        .join(manifests, of_tag)
        .where(_C.repository_id == repository_id, _C.name.in_(names))
    )
    pulls = _pulls(db, repository_id, names, today)
    found = db.execute(statement).all()
    return {row[0]: TagRow(row[0], Digest(row[1]), *row[2:], pulls=pulls.get(row[0], 0)) for row in found}


def _pulls(db: Connection, repository_id: int, names: Iterable[str], today: date) -> dict[str, int]:
    c = statistics.c
    # Days and tags one by one: a lookup each, however many tags of the repository were pulled.
    statement = (
        select(c.tag, func.sum(c.pulls))
        .where(
            c.repository_id == repository_id,
            c.day.in_(days_until(today, PULLS_DAYS)),
            c.tag.in_(list(names)),
        )
        .group_by(c.tag)
    )
    return {tag: int(pulls) for tag, pulls in db.execute(statement)}
