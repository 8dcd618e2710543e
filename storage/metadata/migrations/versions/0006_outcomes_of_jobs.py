"""What came of the last turn of a background job."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    """Add the columns; of turns before nothing is known."""
    op.add_column("leases", sa.Column("began_at", sa.BigInteger(), nullable=True))
    op.add_column("leases", sa.Column("seconds", sa.Float(), nullable=True))
    op.add_column("leases", sa.Column("failed", sa.Boolean(), nullable=True))
