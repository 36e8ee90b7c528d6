"""How urgent what is owed to a child is: the queue shows harm and what was passed on first. What was said with an act's id.

Children folded before read as in time until they are folded again; `sightline rebuild` does it at once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    urgency = sa.Column(
        "urgency", sa.BigInteger(), server_default="2", nullable=False, comment="of what is owed: 0 harm, 1 passed on, 2 in time"
    )
    op.add_column("child", urgency)
    op.add_column("act", sa.Column("said", sa.LargeBinary(), server_default="", nullable=False, comment="what the id stands for"))
    op.drop_index("child_owed", table_name="child")
    op.create_index("child_owed", "child", ["urgency", "owed_at", "child_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("child_owed", table_name="child")
    op.create_index("child_owed", "child", ["owed_at"], unique=False)
    op.drop_column("child", "urgency")
    op.drop_column("act", "said")
