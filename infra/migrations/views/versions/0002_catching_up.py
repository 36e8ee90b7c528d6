"""Catching up.

Revision 0002, after 0001.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    no, says = sa.text("false"), "views lack what the ledger holds"
    op.add_column("relay", sa.Column("catching_up", sa.Boolean(), server_default=no, nullable=False, comment=says))


def downgrade() -> None:
    """Take back."""
    op.drop_column("relay", "catching_up")
