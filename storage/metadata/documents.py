"""What is searched of each repository: a document of words, in an index of the database's own.

A document's number says more than whose it is: its upper bits say how popular the repository is, in powers of
two, and the last one whether it is private.

- On SQLite the index is a table of FTS5. It finds documents in the order of their numbers, so the most
  popular that match come first and the search can end after some, even where a word is in half of all;
  and what is not for the viewer is passed over by its number.
- On PostgreSQL it is a table of numbers and `tsvector`s under a GIN index. The words are cut and folded here,
  as FTS5 does it, so that both find the same.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Float,
    Insert,
    Integer,
    Select,
    String,
    TableClause,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

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

# The same for PostgreSQL: its four classes of words, and what each is worth, from D to A.
_CLASSES: Final = {"name": "A", "owner": "A", "categories": "B", "summary": "C", "overview": "D"}
_CLASS_WEIGHTS: Final = "{0.1, 0.3, 0.4, 1.0}"
_IN_NAME: Final = "A"

# Limits of a tsvector: positions, and the length of a word (in characters of four bytes at most).
_MAX_POSITION: Final = 16_383
_MAX_WORD: Final = 500

search: Final[TableClause] = table(SEARCH, column("rowid", BigInteger), *map(column, _WEIGHTS))
_vectors: Final[TableClause] = table(SEARCH, column("rowid", BigInteger), column("words", TSVECTOR))


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
        db.execute(_written(db, row._mapping))


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
            select(func.aggregate_strings(repository_categories.c.category, " "))
            .where(repository_categories.c.repository_id == repositories.c.id)
            .scalar_subquery(),
            "",
        ).label("categories"),
    )
    .select_from(repositories)
    .join(namespaces)
    .outerjoin(accounts, accounts.c.id == namespaces.c.owner_id)
)


def _document(row: Any) -> dict[str, Any]:
    return {
        "rowid": _number(row["id"], row["is_public"], row["star_count"], row["pull_count"]),
        "name": row["name"].partition("/")[2],
        **{each: row[each] for each in ("owner", "summary", "categories", "overview")},
    }


def _written(db: Connection, row: Any) -> Insert:
    document = _document(row)
    if db.dialect.name == "sqlite":
        return insert(search).values(document)
    vector = cast(_vector(document), TSVECTOR)
    return insert(_vectors).values(rowid=document["rowid"], words=vector)


def _vector(document: Mapping[str, str]) -> str:
    """Return the document as a tsvector is written: each word with its places and their class."""
    places: dict[str, list[str]] = {}
    position = 0
    for name, kind in _CLASSES.items():
        for word in _WORD.findall(folded(document[name])):
            position = min(position + 1, _MAX_POSITION)
            places.setdefault(word[:_MAX_WORD], []).append(f"{position}{kind}")
    # Words are letters and digits: nothing in them can end the quotes.
    return " ".join(f"'{word}':{','.join(where)}" for word, where in places.items())


def folded(text: str) -> str:
    """Return the text in lower case and without accents, as FTS5 compares words."""
    decomposed = unicodedata.normalize("NFD", text)
    plain = "".join(each for each in decomposed if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", plain).lower()


# -- asking the index --------------------------------------------------------------------------------------


def _bits(number: int) -> ColumnElement[int]:
    # PostgreSQL shifts by an integer, whatever it shifts.
    return literal(number, Integer)


REPOSITORY_ID: Final[ColumnElement[int]] = search.c.rowid.op(">>")(_bits(1)).op("&")(_ID_MASK)
"""Whose a document is."""

IS_PUBLIC: Final[ColumnElement[bool]] = search.c.rowid.op("&")(1) == 0
"""Whether it is of a public repository."""

LEVEL: Final[ColumnElement[int]] = search.c.rowid.op(">>")(_bits(_LEVEL_SHIFT))
"""How popular the repository is: about the binary logarithm of its pulls, stars included."""

MAX_LEVEL: Final = _LEVELS - 1

POPULAR_FIRST: Final[ColumnElement[int]] = search.c.rowid.desc()
"""The order in which documents are found."""


class _Question(FunctionElement[Any]):
    """Something asked of the index about words, in the language of each database."""

    inherit_cache = True

    def __init__(self, words: Sequence[str], *, in_name: bool = False) -> None:
        # Words are letters and digits: nothing in them can end the quotes.
        match = " AND ".join(f'"{word}"*' for word in words)
        kinds = _IN_NAME if in_name else ""
        query = " & ".join(f"'{folded(word)[:_MAX_WORD]}':*{kinds}" for word in words)
        super().__init__(
            bindparam(None, f"{{name owner}} : ({match})" if in_name else match, String, unique=True),
            bindparam(None, query, String, unique=True),
        )


class holds(_Question):  # noqa: N801 - it is called like a function of SQL
    """Holds where a document has all words, each of them or the beginning of a longer one.

    `in_name` looks at the names of repositories and owners alone.
    """

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: object = None) -> Self:
        """Stand as it is: SQLite finds nothing by a MATCH that is compared with something."""
        return self


class relevance(_Question):  # noqa: N801 - as above
    """How much the words say of a document, the more the better."""

    inherit_cache = True
    type = Float()


@compiles(holds, "sqlite")
def _holds_on_sqlite(asked: holds, compiler: SQLCompiler, **options: Any) -> str:
    match, _ = asked.clauses
    return f"{SEARCH} MATCH {compiler.process(match, **options)}"


@compiles(holds, "postgresql")
def _holds_on_postgresql(asked: holds, compiler: SQLCompiler, **options: Any) -> str:
    _, query = asked.clauses
    return f"{SEARCH}.words @@ CAST({compiler.process(query, **options)} AS tsquery)"


@compiles(relevance, "sqlite")
def _relevance_on_sqlite(asked: relevance, compiler: SQLCompiler, **options: Any) -> str:
    # FTS5 ranks by the MATCH of the same statement.
    return f"-bm25({SEARCH}, {', '.join(map(str, _WEIGHTS.values()))})"


@compiles(relevance, "postgresql")
def _relevance_on_postgresql(asked: relevance, compiler: SQLCompiler, **options: Any) -> str:
    _, query = asked.clauses
    asked_for = f"CAST({compiler.process(query, **options)} AS tsquery)"
    return f"ts_rank('{_CLASS_WEIGHTS}', {SEARCH}.words, {asked_for})"
