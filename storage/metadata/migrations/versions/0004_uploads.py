"""Uploads: what the store needs to go on with one, and who holds it where no lock of the system does."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("uploads", sa.Column("state", sa.Text(), nullable=True))
    op.add_column("uploads", sa.Column("holder", sa.String(), nullable=True))
    op.add_column("uploads", sa.Column("held_until", sa.BigInteger(), nullable=True))
