"""The tables. Alembic's migrations make them; a test holds the two against each other.

Room is left for organizations and teams: a namespace is owned by an account or by nobody, and roles are
rows of their own beside accounts.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """A moment, kept as whole microseconds since 1970 in UTC: exact, ordered, the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn an aware datetime into microseconds."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into an aware datetime in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


# The specification sorts tags and names by bytes. SQLite does; PostgreSQL needs to be told.
_BYTEWISE: Final = String().with_variant(String(collation="C"), "postgresql")

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _BYTEWISE, nullable=False, unique=True),
    Column("password_hash", String),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    # The id of an account that is gone never comes again: tokens name it.
    sqlite_autoincrement=True,
)

namespaces: Final = Table(
    "namespaces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _BYTEWISE, nullable=False, unique=True),
    Column("owner_id", Integer, ForeignKey("accounts.id"), index=True),
    Column("created_at", Instant, nullable=False),
)

repositories: Final = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace_id", Integer, ForeignKey("namespaces.id"), nullable=False, index=True),
    Column("name", _BYTEWISE, nullable=False, unique=True),
    Column("is_public", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
)

namespace_roles: Final = Table(
    "namespace_roles",
    metadata,
    Column("namespace_id", ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("role", SmallInteger, nullable=False),
)

repository_roles: Final = Table(
    "repository_roles",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("role", SmallInteger, nullable=False),
)

blobs: Final = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("location", String, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# Which repository may serve which blob. A blob is stored once, however many repositories link it.
blob_links: Final = Table(
    "blob_links",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("linked_at", Instant, nullable=False),
)

manifests: Final = Table(
    "manifests",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String, primary_key=True),
    Column("media_type", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("subject", String),
    Column("artifact_type", String),
    Column("annotations", Text),  # JSON object, for the referrers list
    Column("pushed_at", Instant, nullable=False),
    Column("pushed_by", String),
    Column("content", LargeBinary, nullable=False),  # the exact bytes; last, for they are long
    Index(None, "repository_id", "subject", "digest"),
)

# What a manifest names: blobs (its configuration and layers) and manifests (an index's children).
manifest_references: Final = Table(
    "manifest_references",
    metadata,
    Column("repository_id", Integer, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("kind", String, CheckConstraint("kind IN ('blob', 'manifest')", name="kind"), primary_key=True),
    Column("target", String, primary_key=True),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index(None, "repository_id", "target"),
)

tags: Final = Table(
    "tags",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _BYTEWISE, primary_key=True),
    Column("digest", String, nullable=False),
    Column("tagged_at", Instant, nullable=False),
    Column("tagged_by", String),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index(None, "repository_id", "digest"),
)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("repository", _BYTEWISE, nullable=False),  # a name: the first push has no repository yet
    Column("actor", String),
    Column("algorithm", String, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("digest", String),  # of the bytes so far; none when nobody hashed them in one go
    Column("started_at", Instant, nullable=False),
    Column("touched_at", Instant, nullable=False, index=True),
)

refresh_tokens: Final = Table(
    "refresh_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret_hash", String, nullable=False, unique=True),
    Column("client_id", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)

login_failures: Final = Table(
    "login_failures",
    metadata,
    Column("key", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Instant, nullable=False, index=True),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", Instant, nullable=False),
)
