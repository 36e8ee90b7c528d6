"""The relay notes up to which entry outputs are acknowledged, and where their topics ended then; a rebuild leaves those out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

RELAYED = "every entry up to here, and its outputs, is acknowledged"


def upgrade() -> None:
    """Bring forward."""
    served = sa.Column(
        "served",
        sa.BigInteger(),
        server_default=sa.text("0"),
        nullable=False,
        comment="outputs up to this entry are acknowledged",
    )
    ends = sa.Column("ends", sa.LargeBinary(), server_default="{}", nullable=False, comment="topic → its end then, as JSON")
    op.add_column("relay", served)
    op.add_column("relay", ends)
    op.alter_column("relay", "relayed", comment="every entry up to here is acknowledged")
    op.alter_column("ledger", "outputs", comment="null: none; empty: not made, as they were acknowledged before this row was")


def downgrade() -> None:
    """Take back."""
    op.execute("update ledger set outputs = null where outputs = ''")  # the release before would read them
    op.alter_column("ledger", "outputs", comment=None)
    op.alter_column("relay", "relayed", comment=RELAYED)
    op.drop_column("relay", "ends")
    op.drop_column("relay", "served")
