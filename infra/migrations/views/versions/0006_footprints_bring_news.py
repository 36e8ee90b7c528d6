"""A footprint brings what its entries did: who follows reads it there, and not in the tables."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    op.execute("delete from footprint")  # those before say less; who finds a gap remembers nothing
    op.drop_column("footprint", "children")
    what = "children to be read anew, and what the entries brought"
    op.add_column("footprint", sa.Column("news", sa.LargeBinary(), nullable=False, comment=what))
    op.execute("alter table footprint alter column news set storage external")  # read within the second: not worth compressing
    op.drop_index("fact_number", table_name="fact")


def downgrade() -> None:
    """Take back."""
    op.create_index("fact_number", "fact", ["number"], unique=False)
    op.execute("delete from footprint")
    op.drop_column("footprint", "news")
    what = "those to be read anew, and presentations that joined others"
    op.add_column("footprint", sa.Column("children", sa.LargeBinary(), nullable=False, comment=what))
