"""What a store keeps, held against what rows name.

The list lies in a temporary file of its own: any number of blobs takes a few megabytes of memory.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from storage.blobs import KeptBytes
from storage.metadata import damage
from storage.metadata.damage import BlobRow
from storage.metadata.schema import microseconds, moment_of, removed_content, uploads

_PAGE: Final = 500

_TABLES: Final = """
    CREATE TABLE kept (location TEXT PRIMARY KEY, size INT, written_at INT, upload TEXT) WITHOUT ROWID;
    CREATE INDEX kept_upload ON kept (upload);
    CREATE TABLE doubtful (digest TEXT PRIMARY KEY, size INT, location TEXT) WITHOUT ROWID;
"""


class Inventory:
    """A list of what a store keeps (`add`), held against the rows (`compare`) that name or contradict it."""

    def __init__(self) -> None:
        # Metadata runs what reads in a thread of its own, one at a time.
        self._file = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._file.executescript(_TABLES)
        self._file.execute("BEGIN")

    def close(self) -> None:
        """Drop the file."""
        self._file.close()

    def add(self, page: Sequence[KeptBytes]) -> None:
        """Note bytes that are in the store."""
        rows = [(each.location, each.size, microseconds(each.written_at), each.upload) for each in page]
        self._file.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)

    def compare(self, db: Connection) -> None:
        """Hold the list against all rows, in the one snapshot of `db`, that is younger than the list.

        Bytes are there before their row, so those without one may be of an upload that was under way: its
        row goes in the transaction that names the bytes.
        """
        after = ""
        while rows := damage.page(db, after=after, limit=_PAGE):
            self._compare(rows)
            after = rows[-1].digest
        for table_page in _locations_of_removed(db):
            self._leave_out("location", table_page)
        self._leave_out("upload", db.execute(select(uploads.c.id)).scalars().all())

    def _compare(self, rows: Sequence[BlobRow]) -> None:
        marks = ", ".join("?" * len(rows))
        sizes = dict(
            self._file.execute(
                f"SELECT location, size FROM kept WHERE location IN ({marks})",  # noqa: S608 - question marks
                [row.location for row in rows],
            )
        )
        doubtful = [row for row in rows if sizes.get(row.location) != row.size]
        self._file.executemany(
            "INSERT OR REPLACE INTO doubtful VALUES (?, ?, ?)",
            [(str(row.digest), row.size, row.location) for row in doubtful],
        )
        self._leave_out("location", [row.location for row in rows])

    def _leave_out(self, column: str, values: Sequence[str]) -> None:
        self._file.executemany(
            f"DELETE FROM kept WHERE {column} = ?",  # noqa: S608 - one of two words
            [(value,) for value in values],
        )

    def doubtful(self) -> Iterator[str]:
        """Yield the digests of blobs that the store had no bytes of, or another number of them."""
        for (digest,) in self._file.execute("SELECT digest FROM doubtful ORDER BY digest"):
            yield digest

    def unnamed(self, *, before: datetime) -> Iterator[KeptBytes]:
        """Yield the bytes that no row names, written before `before`."""
        statement = "SELECT * FROM kept WHERE written_at < ? ORDER BY location"
        for row in self._file.execute(statement, (microseconds(before),)):
            yield _kept(*row)

    def unnamed_of_size(self, size: int, *, limit: int) -> Sequence[KeptBytes]:
        """Return some of the bytes that no row names and that are so many."""
        statement = "SELECT * FROM kept WHERE size = ? ORDER BY location LIMIT ?"
        return [_kept(*row) for row in self._file.execute(statement, (size, limit))]


def _kept(location: str, size: int, written_at: int, upload: str) -> KeptBytes:
    return KeptBytes(location, size, moment_of(written_at), upload)


def _locations_of_removed(db: Connection) -> Iterator[Sequence[str]]:
    c, after = removed_content.c, 0
    while True:
        statement = select(c.id, c.location).where(c.id > after, c.location.is_not(None))
        rows = db.execute(statement.order_by(c.id).limit(_PAGE)).all()
        if not rows:
            return
        yield [row.location for row in rows]
        after = rows[-1].id
