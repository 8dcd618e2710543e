"""Copying a whole database into another one, of whatever kind, and comparing the two."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
)

from storage.metadata import documents
from storage.metadata.schema import (
    accounts,
    backups,
    blob_links,
    blobs,
    leases,
    metadata,
    namespaces,
    removed_content,
    repositories,
    uploads,
)

# What is of the moment, and of the nodes and bytes that are there: a new place has its own.
_LEFT_OUT: Final = frozenset({backups, leases, removed_content, uploads})

TABLES: Final[Sequence[Table]] = [table for table in metadata.sorted_tables if table not in _LEFT_OUT]
"""The tables that are copied, those that others refer to first."""

# Rows that are read and written at once. Manifests hold megabytes at worst.
_BATCH: Final = 500
_MODULUS: Final = 1 << 256
_FEW: Final = 20


class NotEmpty(Exception):
    """The database has content already; nothing was changed."""


def copy(
    db: Connection,
    source: Connection,
    locations: Mapping[str, str] | None,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> Mapping[str, int]:
    """Copy all rows of `source` into the migrated database of `db`, in its transaction.

    Args:
        db: where to write.
        source: where to read, in a snapshot.
        locations: where each blob is now, by digest; None leaves them as they are. Blobs that it lacks are
            not copied, nor are their links.
        progress: told the table's name and the number of rows after each batch.

    Returns:
        The number of rows written, by table.

    Raises:
        NotEmpty: there are accounts or repositories already.
    """
    require_empty(db)
    db.execute(delete(namespaces))  # the migrations made `library`, which comes with the rest
    written = copy_rows(db, source, locations, progress)
    _count_on(db)
    for repository_id in db.execute(select(repositories.c.id).order_by(repositories.c.id)).scalars().all():
        documents.refresh(db, repository_id)
        progress("search", 1)
    return written


def require_empty(db: Connection) -> None:
    """Return if nobody has used the database yet.

    Raises:
        NotEmpty: there are accounts or repositories.
    """
    if any(db.execute(select(table).limit(1)).first() for table in (accounts, repositories)):
        raise NotEmpty("the database has accounts or repositories already")


def copy_rows(
    db: Connection,
    source: Connection,
    locations: Mapping[str, str] | None,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> dict[str, int]:
    """Copy rows as `copy` does into tables that are empty, and nothing that is made of rows."""
    written: dict[str, int] = {}
    for table in TABLES:
        written[table.name] = 0
        for rows in _batches(source, table):
            kept = [row for each in rows if (row := _moved(table, each, locations)) is not None]
            if kept:
                db.execute(insert(table), kept)
            written[table.name] += len(kept)
            progress(table.name, len(kept))
    return written


def address_by_digest(db: Connection, without: Iterable[str]) -> None:
    """Let each blob's location be its digest, and drop those that are to be left out, with their links."""
    for digest in without:
        db.execute(delete(blob_links).where(blob_links.c.digest == digest))
        db.execute(delete(blobs).where(blobs.c.digest == digest))
    db.execute(blobs.update().values(location=blobs.c.digest))


def relocate(db: Connection, locations: Mapping[str, str]) -> None:
    """Say of each blob that its bytes are at another location."""
    for digest, location in locations.items():
        db.execute(blobs.update().where(blobs.c.digest == digest).values(location=location))


def stored_blobs(db: Connection, *, after: str, limit: int) -> Sequence[tuple[str, int, str]]:
    """Return digest, size and location of blobs behind the digest `after`."""
    statement = select(blobs.c.digest, blobs.c.size, blobs.c.location).where(blobs.c.digest > after)
    return [tuple(row) for row in db.execute(statement.order_by(blobs.c.digest).limit(limit))]


def total_of_blobs(db: Connection) -> tuple[int, int]:
    """Return how many blobs there are, and their size together."""
    row = db.execute(select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).select_from(blobs)).one()
    return int(row[0]), int(row[1])


def fingerprints(db: Connection, *, locations: bool = True) -> Mapping[str, tuple[int, str]]:
    """Return for each table the number of its rows and a hash over all they hold, in whatever order.

    Without `locations` it does not matter where blobs are.
    """
    return {table.name: _fingerprint(db, table, locations=locations) for table in TABLES}


def _fingerprint(db: Connection, table: Table, *, locations: bool) -> tuple[int, str]:
    count, total = 0, 0
    for rows in _batches(db, table):
        count += len(rows)
        for row in rows:
            if table is blobs and not locations:
                row["location"] = ""
            # A sum, as databases differ in how they order text.
            total += int.from_bytes(hashlib.sha256(repr(sorted(row.items())).encode()).digest())
    return count, f"{total % _MODULUS:064x}"


def _moved(table: Table, row: dict[str, Any], locations: Mapping[str, str] | None) -> dict[str, Any] | None:
    if locations is None or table.name not in ("blobs", "blob_links"):
        return row
    location = locations.get(row["digest"])
    if location is None:
        return None
    return {**row, "location": location} if table is blobs else row


def _batches(db: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Yield all rows in the order of their keys. Each batch is a query: no driver holds more in memory."""
    keys: list[Column[Any]] = list(table.primary_key.columns)
    size = _FEW if any(isinstance(column.type, LargeBinary) for column in table.c) else _BATCH
    after: tuple[Any, ...] | None = None
    while True:
        rows = [dict(row) for row in db.execute(_behind(table, keys, after).limit(size)).mappings()]
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = tuple(rows[-1][key.name] for key in keys)


def _behind(table: Table, keys: list[Column[Any]], after: tuple[Any, ...] | None) -> Select[Any]:
    statement = select(table).order_by(*keys)
    if after is None:
        return statement
    values = [literal(value, key.type) for key, value in zip(keys, after, strict=True)]
    return statement.where(tuple_(*keys) > tuple_(*values))


def _count_on(db: Connection) -> None:
    """Let numbers that the database gives go on behind those that were copied; SQLite does so by itself."""
    if db.dialect.name != "postgresql":
        return
    for table in TABLES:
        key = table.autoincrement_column
        if key is not None and isinstance(key.type, Integer):
            highest = select(func.coalesce(func.max(key), 0) + 1).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, key.name)
            db.execute(select(func.setval(sequence, highest, text("false"))))
