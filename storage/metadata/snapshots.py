"""Snapshots of the metadata: all rows of one moment in a SQLite file, whatever database they come from."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection

from storage.metadata import copying
from storage.metadata.migrate import migrate_sqlite, revision_of
from storage.metadata.sqlite import open_sqlite


def take(
    source: Connection, path: Path, progress: Callable[[str, int], None] = lambda *_: None
) -> tuple[str, Mapping[str, tuple[int, str]]]:
    """Write what `source` shows into a new file; one that was there before is replaced.

    Returns:
        The revision of the schema, and the fingerprint of each table (`copying.fingerprints`), in which the
        locations of blobs do not count.

    Raises:
        OSError: the copy differs from the original.
    """
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        each.unlink(missing_ok=True)
    migrate_sqlite(path)
    engine = open_sqlite(path, begin="BEGIN")
    try:
        with engine.begin() as db:
            for table in reversed(copying.TABLES):
                db.execute(table.delete())
            copying.copy_rows(db, source, None, progress)
            found = copying.fingerprints(db)
            if found != copying.fingerprints(source):
                raise OSError("the copy of the metadata differs from the original")
            result = str(revision_of(db)), copying.fingerprints(db, locations=False)
    finally:
        engine.dispose()
    return result
