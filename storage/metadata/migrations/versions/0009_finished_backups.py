"""When the last backup was finished."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    """Add the column; of backups before nothing is known."""
    op.add_column("backups", sa.Column("finished_at", sa.BigInteger(), nullable=True))
