"""A worker follows what others added to children since it last decided, and reads anew those with which more was done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    op.execute("delete from footprint")  # those before say less; who finds a gap remembers nothing
    what = "those to be read anew, and presentations that joined others"
    op.add_column("footprint", sa.Column("children", sa.LargeBinary(), nullable=False, comment=what))
    op.create_index("fact_number", "fact", ["number"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("fact_number", table_name="fact")
    op.drop_column("footprint", "children")
