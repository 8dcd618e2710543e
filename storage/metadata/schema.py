"""The tables. Alembic's migrations make them; a test holds the two against each other.

A namespace is owned by one account, or is an organization with members, or belongs to nobody (`library`).
What may be edited carries a `version` that each edit raises: two people who edit at once do not lose a word.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
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
    UniqueConstraint,
    false,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """A moment, kept as whole microseconds since 1970 in UTC: exact, ordered, the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn an aware datetime into microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into an aware datetime in UTC."""
        return None if value is None else moment_of(value)


def microseconds(moment: datetime) -> int:
    """Return how a moment is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(stored: int) -> datetime:
    """Return the moment, in UTC, that is stored so."""
    return _EPOCH + timedelta(microseconds=stored)


# The specification sorts tags and names by bytes. SQLite does; PostgreSQL needs to be told.
_BYTEWISE: Final = String().with_variant(String(collation="C"), "postgresql")

SEARCH: Final = "search"
"""The table of the full-text index: none of the tables below, as each database has a kind of its own."""

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
    Column("full_name", String, nullable=False, server_default=""),
    Column("about", String, nullable=False, server_default=""),
    Column("website", String, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
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
    Column("is_organization", Boolean, nullable=False, server_default=false()),
    Column("full_name", String, nullable=False, server_default=""),
    Column("about", String, nullable=False, server_default=""),
    Column("website", String, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
)

# Who belongs to an organization; an owner has the role admin on its namespace.
organization_members: Final = Table(
    "organization_members",
    metadata,
    Column("namespace_id", ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("is_owner", Boolean, nullable=False),
    Column("joined_at", Instant, nullable=False),
)

# A robot is an account without a password and without a namespace, called `organization+name`.
robots: Final = Table(
    "robots",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "namespace_id", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("about", String, nullable=False, server_default=""),
)

teams: Final = Table(
    "teams",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "namespace_id", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("name", _BYTEWISE, nullable=False),
    Column("about", String, nullable=False, server_default=""),
    Column("role", SmallInteger),  # on the whole namespace
    Column("created_at", Instant, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    UniqueConstraint("namespace_id", "name"),
)

team_members: Final = Table(
    "team_members",
    metadata,
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
)

repositories: Final = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace_id", Integer, ForeignKey("namespaces.id"), nullable=False, index=True),
    Column("name", _BYTEWISE, nullable=False, unique=True),
    Column("is_public", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("summary", String, nullable=False, server_default=""),
    Column("overview", Text, nullable=False, server_default=""),  # Markdown
    Column("deprecation", String),  # what to tell whoever pulls
    Column("archived_at", Instant),
    # What was tagged last: "image", "chart" or "artifact".
    Column("kind", String, nullable=False, server_default="image"),
    Column("last_pushed_at", Instant),
    Column("last_pulled_at", Instant),
    # Sums, kept here to sort by: of `stars` and of `pulls`.
    Column("star_count", Integer, nullable=False, server_default="0"),
    Column("pull_count", BigInteger, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Index(None, "namespace_id", "name"),
    # For lists: they hold all that decides whether a row is shown, so that rows which are not cost little.
    Index("ix_repositories_by_name", "name", "is_public", "namespace_id", "kind", "star_count"),
    Index(
        "ix_repositories_by_stars", "star_count", "pull_count", "name", "is_public", "namespace_id", "kind"
    ),
    Index(
        "ix_repositories_by_pulls", "pull_count", "star_count", "name", "is_public", "namespace_id", "kind"
    ),
    Index(
        "ix_repositories_by_push", "last_pushed_at", "name", "is_public", "namespace_id", "kind", "star_count"
    ),
)

# Former names of repositories: clients can still pull by them.
repository_aliases: Final = Table(
    "repository_aliases",
    metadata,
    Column("name", _BYTEWISE, primary_key=True),
    Column(
        "repository_id",
        Integer,
        ForeignKey("repositories.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("created_at", Instant, nullable=False),
)

repository_categories: Final = Table(
    "repository_categories",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("category", String, primary_key=True),
    Index(None, "category", "repository_id"),
)

stars: Final = Table(
    "stars",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("starred_at", Instant, nullable=False),
)

team_repository_roles: Final = Table(
    "team_repository_roles",
    metadata,
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("role", SmallInteger, nullable=False),
)

# Pulls and pushes by tag and day; the tag "" is for what was pulled by a digest that no tag means.
statistics: Final = Table(
    "statistics",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970, in UTC
    Column("tag", _BYTEWISE, primary_key=True),
    Column("pulls", BigInteger, nullable=False),  # GET of a manifest
    Column("checks", BigInteger, nullable=False),  # HEAD of a manifest
    Column("pushes", BigInteger, nullable=False),
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
    # When the collector first found that no repository links it; none once one does.
    Column("unused_since", Instant, index=True),
    # When its bytes were last read and were what the digest says.
    Column("verified_at", Instant, nullable=False, server_default="0", index=True),
    # When they were not: it is not served from then on.
    Column("damaged_at", Instant, index=True),
)

# Which repository may serve which blob. A blob is stored once, however many repositories link it.
blob_links: Final = Table(
    "blob_links",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", ForeignKey("blobs.digest"), primary_key=True, index=True),
    # When a push was last told that it is here: the collector leaves a young link alone.
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
    Column("content", LargeBinary, nullable=False),  # the exact bytes; last of what lists read: they are long
    # When a push was last told that it is here, where that was later than its own push.
    Column("renewed_at", Instant),
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
    Column("deprecation", String),  # what to tell whoever pulls by this tag
    Column("last_pulled_at", Instant),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index(None, "repository_id", "digest"),
    Index(None, "repository_id", "tagged_at", "name"),
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
    Column("state", Text),  # what the store needs to go on, in its own words
    Column("holder", String),  # the request that holds it, where the store itself has no lock
    Column("held_until", Instant),
)

# What was removed and can still come back: manifests, and bytes that no row of `blobs` names any more.
removed_content: Final = Table(
    "removed_content",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("location", String, unique=True),  # of bytes in the store; none for a manifest
    Column("repository", _BYTEWISE),  # that a manifest was in
    Column("media_type", String),
    Column("content", LargeBinary),  # of a manifest
    Column("reason", String, nullable=False),
    Column("removed_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False, index=True),  # when it goes for good
    Column("is_going", Boolean, nullable=False, server_default=false()),  # its bytes may be gone already
    sqlite_autoincrement=True,
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
    # The access token that was the password, which limits this one and ends it.
    Column("access_token_id", Integer, ForeignKey("access_tokens.id", ondelete="CASCADE"), index=True),
)

# Personal access tokens, and those of robots.
access_tokens: Final = Table(
    "access_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("secret_hash", String, nullable=False, unique=True),
    Column("permission", SmallInteger, nullable=False),  # as in auth.identity.Permission
    Column("is_limited", Boolean, nullable=False),  # to the repositories of access_token_repositories
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, index=True),
    Column("last_used_at", Instant),
    # The id of a token that is gone never comes again: the JWTs that it was exchanged for name it.
    sqlite_autoincrement=True,
)

access_token_repositories: Final = Table(
    "access_token_repositories",
    metadata,
    Column("token_id", ForeignKey("access_tokens.id", ondelete="CASCADE"), primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# Who is signed in to the pages.
sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret_hash", String, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("address", String, nullable=False),
    Column("agent", String, nullable=False),
    sqlite_autoincrement=True,
)

# Links that make an account, or a member of an organization, or both.
invitations: Final = Table(
    "invitations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret_hash", String, nullable=False, unique=True),
    Column("namespace_id", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), index=True),
    Column("team_id", Integer, ForeignKey("teams.id", ondelete="CASCADE"), index=True),
    Column("as_owner", Boolean, nullable=False),
    Column("note", String, nullable=False),
    Column("invited_by", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("accepted_at", Instant),
    Column("accepted_by", String),
)

login_failures: Final = Table(
    "login_failures",
    metadata,
    Column("key", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Instant, nullable=False, index=True),
)

# Keys that sign tokens, for all nodes; sealed with a secret that the database does not hold.
signing_keys: Final = Table(
    "signing_keys",
    metadata,
    Column("kid", String, primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", Instant, nullable=False),
    # Of the last turn that ended: when it began, how long it took, whether it failed.
    Column("began_at", Instant),
    Column("seconds", Float),
    Column("failed", Boolean),
    # How far a job has come that does its work in pieces, in its own words.
    Column("position", Text),
)


# Backups under way: what their snapshots name stays where it is. And the last one that was finished.
backups: Final = Table(
    "backups",
    metadata,
    Column("id", String, primary_key=True),
    Column("destination", String, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),  # renewed for as long as it goes on
    Column("is_pruning", Boolean, nullable=False, server_default=false()),
    Column("finished_at", Instant),  # from then on it is not under way
)


def is_of_the_schema(name: str | None, kind: str, _: object = None) -> bool:
    """Tell Alembic what to compare: all but the full-text index, which SQLite keeps in further tables."""
    return kind != "table" or name is None or not (name == SEARCH or name.startswith(f"{SEARCH}_"))
