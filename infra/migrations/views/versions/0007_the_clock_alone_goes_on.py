"""A child is folded again when the clock has said that it is due, never beside it: what changes by itself is due."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    op.drop_index("child_changes", table_name="child")
    op.drop_column("child", "changes_at")
    op.alter_column("child", "due_at", comment="when the clock is to look at the child again")


def downgrade() -> None:
    """Take back."""
    op.alter_column("child", "due_at", comment=None)
    op.add_column("child", sa.Column("changes_at", sa.BigInteger(), nullable=True))
    op.create_index("child_changes", "child", ["changes_at"], unique=False)
