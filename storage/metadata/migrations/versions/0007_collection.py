"""Collection and verification: since when a blob is unused, when it was verified, what was removed."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"


def upgrade() -> None:
    """Add the columns and the table; of blobs from before it is not known when they were verified."""
    op.add_column("blobs", sa.Column("unused_since", sa.BigInteger(), nullable=True))
    op.add_column("blobs", sa.Column("verified_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("blobs", sa.Column("damaged_at", sa.BigInteger(), nullable=True))
    for column in ("unused_since", "verified_at", "damaged_at"):
        op.create_index(f"ix_blobs_{column}", "blobs", [column])
    op.add_column("manifests", sa.Column("renewed_at", sa.BigInteger(), nullable=True))
    op.add_column("leases", sa.Column("position", sa.Text(), nullable=True))
    bytewise = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "removed_content",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.String(), nullable=True),
        sa.Column("repository", bytewise, nullable=True),
        sa.Column("media_type", sa.String(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("is_going", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_removed_content"),
        sa.UniqueConstraint("location", name="uq_removed_content_location"),
        sqlite_autoincrement=True,
    )
    for column in ("digest", "due_at"):
        op.create_index(f"ix_removed_content_{column}", "removed_content", [column])
