"""What is searched of each repository: a document of words, in an index of the database's own.

On SQLite that is a table of FTS5. A document's number says more than whose it is: its upper bits say how
popular the repository is, in powers of two, and the last one whether it is private. FTS5 finds documents in
the order of their numbers, so the most popular ones that match come first and the search can end after some,
even where a word is in half of all documents; and what is not for the viewer is passed over by its number.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    TableClause,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
)

from storage.metadata.schema import (
    SEARCH,
    accounts,
    namespaces,
    repositories,
    repository_categories,
)

MAX_TEXT: Final = 200
"""Characters of a query that are read."""

MAX_WORDS: Final = 10
"""Words of a query that are looked for."""

# Characters of an overview that are searched: what it is about stands at its beginning.
_MAX_OVERVIEW: Final = 16_000

_WORD: Final = re.compile(r"[^\W_]+")

# A number is the level, the repository's id and the bit of private ones.
_LEVEL_SHIFT: Final = 41
_ID_MASK: Final = (1 << 40) - 1
_LEVELS: Final = 64

# A star is worth as much as so many pulls.
_PULLS_OF_A_STAR: Final = 10

# How much a word counts where it is found, in the order of the columns.
_WEIGHTS: Final = {"name": 10.0, "owner": 4.0, "summary": 3.0, "categories": 3.0, "overview": 1.0}

search: Final[TableClause] = table(SEARCH, column("rowid"), *(column(name) for name in _WEIGHTS))


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a query; everything that is neither letter nor digit only separates them."""
    composed = unicodedata.normalize("NFC", text[:MAX_TEXT])
    return tuple(dict.fromkeys(word.lower() for word in _WORD.findall(composed)))[:MAX_WORDS]


def words_of_name(name: str) -> list[str]:
    """Return the words of a repository's name."""
    return _WORD.findall(name)


# -- keeping the index -------------------------------------------------------------------------------------


def refresh(db: Connection, repository_id: int) -> None:
    """Write the repository's document anew, in the transaction that changed what it says."""
    forget(db, repository_id)
    row = db.execute(_SOURCE.where(repositories.c.id == repository_id)).first()
    if row is not None:
        db.execute(insert(search).values(_document(row._mapping)))


def refresh_namespace(db: Connection, namespace_id: int) -> None:
    """Write the documents of all repositories of a namespace anew: it has another name or full name."""
    ids = db.execute(select(repositories.c.id).where(repositories.c.namespace_id == namespace_id)).scalars()
    for repository_id in ids.all():
        refresh(db, repository_id)


def move(db: Connection, repository_ids: Iterable[int]) -> None:
    """Put documents where the stars and pulls of their repositories belong; most are there already."""
    for repository_id in repository_ids:
        counts = select(repositories.c.is_public, repositories.c.star_count, repositories.c.pull_count)
        row = db.execute(counts.where(repositories.c.id == repository_id)).first()
        if row is not None:
            number = _number(repository_id, *row)
            if db.execute(select(search.c.rowid).where(search.c.rowid == number)).first() is None:
                refresh(db, repository_id)


def forget(db: Connection, repository_id: int) -> None:
    """Remove the repository's document, wherever it is."""
    numbers = [
        level << _LEVEL_SHIFT | repository_id << 1 | private for level in range(_LEVELS) for private in (0, 1)
    ]
    db.execute(delete(search).where(search.c.rowid.in_(numbers)))


def _number(repository_id: int, is_public: bool, stars: int, pulls: int) -> int:
    level = min((1 + _PULLS_OF_A_STAR * stars + pulls).bit_length(), _LEVELS) - 1
    return level << _LEVEL_SHIFT | repository_id << 1 | (not is_public)


_SOURCE: Final[Select[Any]] = (
    select(
        repositories.c.id,
        repositories.c.name,
        repositories.c.is_public,
        repositories.c.star_count,
        repositories.c.pull_count,
        repositories.c.summary,
        func.substr(repositories.c.overview, 1, _MAX_OVERVIEW).label("overview"),
        (
            namespaces.c.name + " " + namespaces.c.full_name + " " + func.coalesce(accounts.c.full_name, "")
        ).label("owner"),
        func.coalesce(
            select(func.group_concat(repository_categories.c.category, " "))
            .where(repository_categories.c.repository_id == repositories.c.id)
            .scalar_subquery(),
            "",
        ).label("categories"),
    )
    .select_from(repositories)
    .join(namespaces)
    .outerjoin(accounts, accounts.c.id == namespaces.c.owner_id)
)


def _document(row: Any) -> dict[str, object]:
    return {
        "rowid": _number(row["id"], row["is_public"], row["star_count"], row["pull_count"]),
        "name": row["name"].partition("/")[2],
        **{each: row[each] for each in ("owner", "summary", "categories", "overview")},
    }


# -- asking the index --------------------------------------------------------------------------------------

REPOSITORY_ID: Final[ColumnElement[int]] = search.c.rowid.op(">>")(1).op("&")(_ID_MASK)
"""Whose a document is."""

IS_PUBLIC: Final[ColumnElement[bool]] = search.c.rowid.op("&")(1) == 0
"""Whether it is of a public repository."""

LEVEL: Final[ColumnElement[int]] = search.c.rowid.op(">>")(_LEVEL_SHIFT)
"""How popular the repository is: about the binary logarithm of its pulls, stars included."""

MAX_LEVEL: Final = _LEVELS - 1

POPULAR_FIRST: Final[ColumnElement[int]] = search.c.rowid.desc()
"""The order in which documents are found."""

RELEVANCE: Final[ColumnElement[float]] = -func.bm25(literal_column(SEARCH), *_WEIGHTS.values())
"""How much the words say of the document, the more the better."""


def holds(words: Sequence[str], *, in_name: bool = False) -> ColumnElement[bool]:
    """Return the condition that a document holds all words, each of them or the beginning of a longer one.

    `in_name` looks at the names of repositories and owners alone.
    """
    # Words are letters and digits: nothing in them can end the quotes.
    expression = " AND ".join(f'"{word}"*' for word in words)
    if in_name:
        expression = f"{{name owner}} : ({expression})"
    return literal_column(SEARCH).op("MATCH", is_comparison=True)(expression)
