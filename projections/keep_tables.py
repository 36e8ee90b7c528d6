"""The tables of database `keep`: what no ledger can give back. Backed up; see `projections/keyring.py` and `accounts.py`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

keep_metadata: Final = MetaData()

presentation_key: Final = Table(
    "presentation_key",
    keep_metadata,
    Column("holder", Text, primary_key=True),
    Column("record_class", Text, primary_key=True),
    Column("wrapped", LargeBinary, comment="null: destroyed"),
    Column("created_at", BigInteger, nullable=False),
    Column("published", Boolean, nullable=False, default=False, comment="acknowledged by topic `keys`"),
)
"""Keys of presentations, each wrapped by the master key, which is not in PostgreSQL."""

secret: Final = Table(
    "secret",
    keep_metadata,
    Column("name", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)
"""Secrets of the deployment that ids in the ledger rest on (keyed hashes), wrapped by the master key."""

# -- accounts, sessions, practice credentials, access records: below ------------------------------------------------

account: Final = Table(
    "account",
    keep_metadata,
    Column("account_id", Text, primary_key=True, comment="opaque; what acts and access records name"),
    Column("name", Text, nullable=False, unique=True, comment="what they sign in with, lower case"),
    Column("display_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False, comment="argon2id"),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("failures", Integer, nullable=False, default=0, comment="wrong passwords in a row"),
    Column("locked_until", BigInteger),
)

session: Final = Table(
    "session",
    keep_metadata,
    Column("token_hash", Text, primary_key=True, comment="sha256 of the cookie: a copy of this table signs nobody in"),
    Column("account_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("session_account", "account_id"),
)

practice_credential: Final = Table(
    "practice_credential",
    keep_metadata,
    Column("client_id", Text, primary_key=True),
    Column("practice_ods", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, comment="sha256 of 256 random bits"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, comment="set when rotated: the old secret works a little longer"),
    Column("revoked_at", BigInteger),
    Index("practice_credential_ods", "practice_ods"),
)

access_record: Final = Table(
    "access_record",
    keep_metadata,
    Column("access_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor_id", Text, nullable=False, comment="account id, or a practice's ODS code"),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False, comment="the page or route, without parameters"),
    Column("purpose", Text, nullable=False),
    Column("children", Text, nullable=False, comment="JSON list of child ids; empty: no hits"),
    Column("published_at", BigInteger, comment="acknowledged by topic `accesses`"),
    Index("access_record_at", "at"),
    Index("access_record_unpublished", "at", postgresql_where=text("published_at is null")),
)
"""One row per request that shows, or searches for, a child (I7). Never updated but for `published_at`."""
