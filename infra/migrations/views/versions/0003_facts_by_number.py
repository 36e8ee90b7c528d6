"""Facts of a presentation by number: a worker that has read them before asks for later ones alone."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring forward."""
    op.drop_index("fact_presentation", table_name="fact")
    op.create_index("fact_presentation", "fact", ["presentation_id", "number"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("fact_presentation", table_name="fact")
    op.create_index("fact_presentation", "fact", ["presentation_id"], unique=False)
