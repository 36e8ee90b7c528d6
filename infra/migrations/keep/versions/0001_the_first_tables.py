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
        "access_record",
        sa.Column("access_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False, comment="account id, or a practice's ODS code"),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="the page or route, without parameters"),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("children", sa.Text(), nullable=False, comment="JSON list of child ids; empty: no hits"),
        sa.Column("published_at", sa.BigInteger(), nullable=True, comment="acknowledged by topic `accesses`"),
        sa.PrimaryKeyConstraint("access_id"),
    )
    op.create_index("access_record_at", "access_record", ["at"], unique=False)
    op.create_index(
        "access_record_unpublished", "access_record", ["at"], unique=False, postgresql_where=sa.text("published_at is null")
    )
    op.create_table(
        "account",
        sa.Column("account_id", sa.Text(), nullable=False, comment="opaque; what acts and access records name"),
        sa.Column("name", sa.Text(), nullable=False, comment="what they sign in with, lower case"),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False, comment="wrong passwords in a row"),
        sa.Column("locked_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "practice_credential",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("practice_ods", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False, comment="sha256 of 256 random bits"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True, comment="set when rotated: the old secret works a little longer"),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_index("practice_credential_ods", "practice_credential", ["practice_ods"], unique=False)
    op.create_table(
        "presentation_key",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("record_class", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True, comment="null: destroyed"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False, comment="acknowledged by topic `keys`"),
        sa.PrimaryKeyConstraint("holder", "record_class"),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "session",
        sa.Column("token_hash", sa.Text(), nullable=False, comment="sha256 of the cookie: a copy of this table signs nobody in"),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("session_account", "session", ["account_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("session_account", table_name="session")
    op.drop_table("session")
    op.drop_table("secret")
    op.drop_table("presentation_key")
    op.drop_index("practice_credential_ods", table_name="practice_credential")
    op.drop_table("practice_credential")
    op.drop_table("account")
    op.drop_index("access_record_unpublished", table_name="access_record", postgresql_where=sa.text("published_at is null"))
    op.drop_index("access_record_at", table_name="access_record")
    op.drop_table("access_record")
