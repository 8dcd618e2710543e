"""Search: an index of the words of repositories, and indexes to read long lists of repositories from."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

# Documents that are written at once.
BATCH: Final = 500

REPLACED: Final = (
    "ix_repositories_star_count_name",
    "ix_repositories_pull_count_name",
    "ix_repositories_last_pushed_at_name",
)
INDEXES: Final = {
    "ix_repositories_by_name": ["name", "is_public", "namespace_id", "kind", "star_count"],
    "ix_repositories_by_stars": ["star_count", "pull_count", "name", "is_public", "namespace_id", "kind"],
    "ix_repositories_by_pulls": ["pull_count", "star_count", "name", "is_public", "namespace_id", "kind"],
    "ix_repositories_by_push": ["last_pushed_at", "name", "is_public", "namespace_id", "kind", "star_count"],
}


def upgrade() -> None:
    """Make the indexes and fill the one of words with what is there."""
    for name in REPLACED:
        op.drop_index(op.f(name), "repositories")
    for name, columns in INDEXES.items():
        op.create_index(op.f(name), "repositories", columns)
    if op.get_bind().dialect.name == "sqlite":
        # The short prefixes have lists of their own: they would be put together from thousands of words.
        op.execute(
            "CREATE VIRTUAL TABLE search USING fts5(name, owner, summary, categories, overview, "
            "tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3')"
        )
        _fill()
    else:
        # A database of another kind is new: it has nothing yet that could be filled in.
        op.execute("CREATE TABLE search (rowid bigint PRIMARY KEY, words tsvector NOT NULL)")
        op.execute("CREATE INDEX ix_search_words ON search USING gin (words)")


def _fill() -> None:
    db = op.get_bind()
    rows = db.execute(
        sa.text(
            "SELECT r.id, r.name, r.is_public, r.star_count, r.pull_count, r.summary, "
            "substr(r.overview, 1, 16000) AS overview, "
            "n.name || ' ' || n.full_name || ' ' || coalesce(a.full_name, '') AS owner, "
            "coalesce((SELECT group_concat(c.category, ' ') FROM repository_categories AS c "
            "WHERE c.repository_id = r.id), '') AS categories "
            "FROM repositories AS r JOIN namespaces AS n ON n.id = r.namespace_id "
            "LEFT JOIN accounts AS a ON a.id = n.owner_id"
        )
    )
    document = sa.text(
        "INSERT INTO search (rowid, name, owner, summary, categories, overview) "
        "VALUES (:number, :own_name, :owner, :summary, :categories, :overview)"
    )
    for batch in rows.mappings().partitions(BATCH):
        db.execute(document, [_document(row) for row in batch])


def _document(row: Any) -> dict[str, object]:
    level = min((1 + 10 * row["star_count"] + row["pull_count"]).bit_length(), 64) - 1
    return {
        **row,
        "number": level << 41 | row["id"] << 1 | (not row["is_public"]),
        "own_name": row["name"].partition("/")[2],
    }
