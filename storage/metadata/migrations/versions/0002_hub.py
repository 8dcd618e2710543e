"""Who owns what, how it is found and shared: organizations, teams, access tokens, what catalogs show."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

BYTEWISE: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables and the columns."""
    _make_tables()
    _add_columns()


def _make_tables() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("permission", sa.SmallInteger(), nullable=False),
        sa.Column("is_limited", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
            name=op.f("fk_access_tokens_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_access_tokens_secret_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_access_tokens_account_id"), "access_tokens", ["account_id"])
    op.create_index(op.f("ix_access_tokens_expires_at"), "access_tokens", ["expires_at"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_sessions_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_sessions_secret_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_sessions_account_id"), "sessions", ["account_id"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_table(
        "organization_members",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("is_owner", sa.Boolean(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
            name=op.f("fk_organization_members_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_organization_members_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace_id", "account_id", name=op.f("pk_organization_members")),
    )
    op.create_index(op.f("ix_organization_members_account_id"), "organization_members", ["account_id"])
    op.create_table(
        "robots",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("about", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_robots_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_robots_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_robots")),
    )
    op.create_index(op.f("ix_robots_namespace_id"), "robots", ["namespace_id"])
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("name", BYTEWISE, nullable=False),
        sa.Column("about", sa.String(), server_default="", nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_teams_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("namespace_id", "name", name=op.f("uq_teams_namespace_id_name")),
    )
    op.create_index(op.f("ix_teams_namespace_id"), "teams", ["namespace_id"])
    op.create_table(
        "access_token_repositories",
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_access_token_repositories_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["access_tokens.id"],
            name=op.f("fk_access_token_repositories_token_id_access_tokens"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_id", "repository_id", name=op.f("pk_access_token_repositories")),
    )
    op.create_index(
        op.f("ix_access_token_repositories_repository_id"), "access_token_repositories", ["repository_id"]
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("as_owner", sa.Boolean(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("invited_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("accepted_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_invitations_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_invitations_team_id_teams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_invitations_secret_hash")),
    )
    op.create_index(op.f("ix_invitations_expires_at"), "invitations", ["expires_at"])
    op.create_index(op.f("ix_invitations_namespace_id"), "invitations", ["namespace_id"])
    op.create_index(op.f("ix_invitations_team_id"), "invitations", ["team_id"])
    op.create_table(
        "repository_aliases",
        sa.Column("name", BYTEWISE, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_aliases_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_repository_aliases")),
    )
    op.create_index(op.f("ix_repository_aliases_repository_id"), "repository_aliases", ["repository_id"])
    op.create_table(
        "repository_categories",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_categories_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "category", name=op.f("pk_repository_categories")),
    )
    op.create_index(
        op.f("ix_repository_categories_category_repository_id"),
        "repository_categories",
        ["category", "repository_id"],
    )
    op.create_table(
        "stars",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("starred_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_stars_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_stars_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "repository_id", name=op.f("pk_stars")),
    )
    op.create_index(op.f("ix_stars_repository_id"), "stars", ["repository_id"])
    op.create_table(
        "statistics",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("tag", BYTEWISE, nullable=False),
        sa.Column("pulls", sa.BigInteger(), nullable=False),
        sa.Column("checks", sa.BigInteger(), nullable=False),
        sa.Column("pushes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_statistics_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "day", "tag", name=op.f("pk_statistics")),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
            name=op.f("fk_team_members_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_team_members_team_id_teams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "account_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_account_id"), "team_members", ["account_id"])
    op.create_table(
        "team_repository_roles",
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_team_repository_roles_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_team_repository_roles_team_id_teams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "repository_id", name=op.f("pk_team_repository_roles")),
    )
    op.create_index(
        op.f("ix_team_repository_roles_repository_id"), "team_repository_roles", ["repository_id"]
    )


def _add_columns() -> None:
    op.add_column("accounts", sa.Column("full_name", sa.String(), server_default="", nullable=False))
    op.add_column("accounts", sa.Column("about", sa.String(), server_default="", nullable=False))
    op.add_column("accounts", sa.Column("website", sa.String(), server_default="", nullable=False))
    op.add_column("accounts", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "namespaces", sa.Column("is_organization", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("namespaces", sa.Column("full_name", sa.String(), server_default="", nullable=False))
    op.add_column("namespaces", sa.Column("about", sa.String(), server_default="", nullable=False))
    op.add_column("namespaces", sa.Column("website", sa.String(), server_default="", nullable=False))
    op.add_column("namespaces", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    with op.batch_alter_table("refresh_tokens") as batch_op:
        batch_op.add_column(sa.Column("access_token_id", sa.Integer(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_refresh_tokens_access_token_id"), ["access_token_id"], unique=False
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_refresh_tokens_access_token_id_access_tokens"),
            "access_tokens",
            ["access_token_id"],
            ["id"],
            ondelete="CASCADE",
        )
    op.add_column("repositories", sa.Column("summary", sa.String(), server_default="", nullable=False))
    op.add_column("repositories", sa.Column("overview", sa.Text(), server_default="", nullable=False))
    op.add_column("repositories", sa.Column("deprecation", sa.String(), nullable=True))
    op.add_column("repositories", sa.Column("archived_at", sa.BigInteger(), nullable=True))
    op.add_column("repositories", sa.Column("kind", sa.String(), server_default="image", nullable=False))
    op.add_column("repositories", sa.Column("last_pushed_at", sa.BigInteger(), nullable=True))
    op.add_column("repositories", sa.Column("last_pulled_at", sa.BigInteger(), nullable=True))
    op.add_column("repositories", sa.Column("star_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "repositories", sa.Column("pull_count", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("repositories", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_index(op.f("ix_repositories_last_pushed_at_name"), "repositories", ["last_pushed_at", "name"])
    op.create_index(op.f("ix_repositories_namespace_id_name"), "repositories", ["namespace_id", "name"])
    op.create_index(op.f("ix_repositories_pull_count_name"), "repositories", ["pull_count", "name"])
    op.create_index(op.f("ix_repositories_star_count_name"), "repositories", ["star_count", "name"])
    op.add_column("tags", sa.Column("deprecation", sa.String(), nullable=True))
    op.add_column("tags", sa.Column("last_pulled_at", sa.BigInteger(), nullable=True))
    op.create_index(
        op.f("ix_tags_repository_id_tagged_at_name"), "tags", ["repository_id", "tagged_at", "name"]
    )
