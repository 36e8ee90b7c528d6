"""The relay notes which output topics were ever told anything: an empty one is not looked for from the first entry on."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TOLD = "output topics that ever held anything, as of `relayed`; null: not known"
OUTPUTS = "null: it has none; empty: they were acknowledged before this row was made"


def upgrade() -> None:
    """Bring forward."""
    op.add_column("relay", sa.Column("told", postgresql.ARRAY(sa.Text()), nullable=True, comment=TOLD))
    op.alter_column("ledger", "outputs", comment=OUTPUTS)


def downgrade() -> None:
    """Take back."""
    op.alter_column("ledger", "outputs", comment=None)
    op.drop_column("relay", "told")
