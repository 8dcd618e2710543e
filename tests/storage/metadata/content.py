"""Rows for the tests, in a line each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Table, func, select

from storage.digest import Digest
from storage.metadata import accounts, blobs, manifests, repositories, tags
from storage.metadata.blobs import StoredBlob
from storage.metadata.manifests import References, StoredManifest

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"


def digest(text: str) -> Digest:
    """Return a digest that the test knows by a word."""
    return Digest.of(text.encode())


def add_account(db: Connection, name: str) -> int:
    """Add an account with its namespace and return its id."""
    accounts.add(db, name, "hash", is_admin=False, now=NOW)
    account = accounts.find(db, name)
    assert account is not None
    return account.id


def add_repository(db: Connection, name: str, *, public: bool = True) -> int:
    """Add a repository, and its namespace if need be, and return its id."""
    return repositories.ensure(db, name, public=public, make_namespace=True, now=NOW)


def add_blob(db: Connection, repository_id: int, word: str, size: int = 1) -> Digest:
    """Add a blob that the repository links and return its digest."""
    blobs.add(db, StoredBlob(digest(word), size, f"at/{word}"), now=NOW)
    blobs.link(db, repository_id, digest(word), now=NOW)
    return digest(word)


def add_manifest(
    db: Connection,
    repository_id: int,
    word: str,
    *,
    subject: Digest | None = None,
    artifact_type: str | None = None,
    annotations: Mapping[str, str] | None = None,
    references: References | None = None,
) -> Digest:
    """Add a manifest whose bytes are `word`, tagged with it as well, and return its digest."""
    content = word.encode()
    manifest = StoredManifest(digest(word), MANIFEST, len(content), subject, artifact_type, annotations)
    manifests.put(db, repository_id, manifest, content, references or References(), by="ann", now=NOW)
    tags.put(db, repository_id, word, digest(word), by="ann", now=NOW)
    return digest(word)


def count(db: Connection, *tables: Table) -> list[int]:
    """Return how many rows each table has."""
    return [db.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]
