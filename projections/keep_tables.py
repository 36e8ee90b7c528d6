"""The tables of database `keep`: what no ledger can give back. Backed up; see `projections/keyring.py` and `accounts.py`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, Table, Text

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
