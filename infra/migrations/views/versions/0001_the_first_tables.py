"""The first tables.

Revision 0001, the first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "act",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "event_id"),
    )
    op.create_table(
        "block",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("presentation_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", "presentation_id"),
    )
    op.create_table(
        "child",
        sa.Column("child_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="highest ledger number the view rests on"),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("changes_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "owed_at",
            sa.BigInteger(),
            nullable=True,
            comment="when the first of what somebody owes is due; null: nothing waits for anybody",
        ),
        sa.Column("counts", sa.LargeBinary(), nullable=False, comment="what the board counts"),
        sa.PrimaryKeyConstraint("child_id"),
    )
    op.create_index("child_changes", "child", ["changes_at"], unique=False)
    op.create_index("child_due", "child", ["due_at"], unique=False)
    op.create_index("child_owed", "child", ["owed_at"], unique=False)
    op.create_table(
        "conclusion",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_id", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=True, comment="the recommendation, message or match it is about"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", "seq"),
    )
    op.create_index("conclusion_about", "conclusion", ["about"], unique=False)
    op.create_index("conclusion_child", "conclusion", ["child_id"], unique=False)
    op.create_table(
        "counter",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="last number given"),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False, comment="never decreases"),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "delivery",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "edge",
        sa.Column("a", sa.Text(), nullable=False),
        sa.Column("b", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("match_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("a", "b"),
    )
    op.create_index("edge_b", "edge", ["b"], unique=False)
    op.create_table(
        "fact",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("presentation_id", sa.Text(), nullable=False),
        sa.Column("replaces", sa.Text(), nullable=True, comment="event_id that this fact supersedes or retracts"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agency", "event_id"),
    )
    op.create_index("fact_presentation", "fact", ["presentation_id"], unique=False)
    op.create_index("fact_replaces", "fact", ["replaces"], unique=False, postgresql_where=sa.text("replaces is not null"))
    op.create_table(
        "gp_inbox",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("practice_ods", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "practice_ods"),
    )
    op.create_index("gp_inbox_practice", "gp_inbox", ["practice_ods"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "letter",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("letter_agency", "letter", ["agency"], unique=False)
    op.create_table(
        "link",
        sa.Column("presentation_id", sa.Text(), nullable=False),
        sa.Column("from_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_id", sa.Text(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_number", sa.BigInteger(), nullable=True),
        sa.Column("to_at", sa.BigInteger(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("presentation_id", "from_number", "seq"),
    )
    op.create_index("link_child", "link", ["child_id"], unique=False)
    op.create_table(
        "position",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "possible_match",
        sa.Column("match_id", sa.Text(), nullable=False),
        sa.Column("presentation_id", sa.Text(), nullable=False),
        sa.Column("anchor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("match_id"),
    )
    op.create_index("match_anchor", "possible_match", ["anchor"], unique=False)
    op.create_index("match_presentation", "possible_match", ["presentation_id"], unique=False)
    op.create_table(
        "presentation",
        sa.Column("presentation_id", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("local_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("child_id", sa.Text(), nullable=False),
        sa.Column("searched", sa.Text(), nullable=False, comment="names, birth date and identifiers, for search alone"),
        sa.PrimaryKeyConstraint("presentation_id"),
    )
    op.create_index("presentation_child", "presentation", ["child_id"], unique=False)
    op.create_index("presentation_local", "presentation", ["agency", "local_id", "number"], unique=False)
    op.create_table(
        "reference",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("clear", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "fingerprint"),
    )
    op.create_table(
        "relay",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("relayed", sa.BigInteger(), nullable=False, comment="every entry up to here, and its outputs, is acknowledged"),
        sa.Column("relayed_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "catching_up",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="views lack what the ledger holds",
        ),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("relay")
    op.drop_table("reference")
    op.drop_index("presentation_local", table_name="presentation")
    op.drop_index("presentation_child", table_name="presentation")
    op.drop_table("presentation")
    op.drop_index("match_presentation", table_name="possible_match")
    op.drop_index("match_anchor", table_name="possible_match")
    op.drop_table("possible_match")
    op.drop_table("position")
    op.drop_index("link_child", table_name="link")
    op.drop_table("link")
    op.drop_index("letter_agency", table_name="letter")
    op.drop_table("letter")
    op.drop_table("ledger")
    op.drop_index("gp_inbox_practice", table_name="gp_inbox")
    op.drop_table("gp_inbox")
    op.drop_index("fact_replaces", table_name="fact", postgresql_where=sa.text("replaces is not null"))
    op.drop_index("fact_presentation", table_name="fact")
    op.drop_table("fact")
    op.drop_index("edge_b", table_name="edge")
    op.drop_table("edge")
    op.drop_table("delivery")
    op.drop_table("counter")
    op.drop_index("conclusion_child", table_name="conclusion")
    op.drop_index("conclusion_about", table_name="conclusion")
    op.drop_table("conclusion")
    op.drop_index("child_owed", table_name="child")
    op.drop_index("child_due", table_name="child")
    op.drop_index("child_changes", table_name="child")
    op.drop_table("child")
    op.drop_table("block")
    op.drop_table("act")
