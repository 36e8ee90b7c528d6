"""A worker follows what others added to children since it last decided, and reads anew those with which more was done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    anew = sa.Column("anew", sa.LargeBinary(), server_default="[]", nullable=False, comment="the children to be read anew")
    op.add_column("footprint", anew)
    op.create_index("fact_number", "fact", ["number"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("fact_number", table_name="fact")
    op.drop_column("footprint", "anew")
