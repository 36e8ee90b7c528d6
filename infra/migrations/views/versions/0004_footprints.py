"""Footprints of decisions: by them a worker knows which of the children it remembers others have touched since."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    op.create_table(
        "footprint",
        sa.Column("after", sa.BigInteger(), autoincrement=False, nullable=False, comment="speaks of entries above this number"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="up to this one"),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("after"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("footprint")
