"""The tables of database `views`: everything here can be dropped, and is rebuilt from the ledger and the remaining keys.

Instants are bigint, µs since 1970 (UTC). Documents are JSON text in bytea: written and read whole, never queried into.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

views_metadata: Final = MetaData()

counter: Final = Table(
    "counter",
    views_metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False, comment="last number given"),
    Column("accepted_at", BigInteger, nullable=False, comment="never decreases"),
    Column("incarnation", Integer, nullable=False),
)
"""One row. Whoever decides locks it first: decisions are one after another (ADR 0002)."""

footprint: Final = Table(
    "footprint",
    views_metadata,
    Column("after", BigInteger, primary_key=True, autoincrement=False, comment="speaks of entries above this number"),
    Column("number", BigInteger, nullable=False, comment="up to this one"),
    Column("marks", LargeBinary, nullable=False),
    Column("news", LargeBinary, nullable=False, comment="children to be read anew, and what the entries brought"),
)
"""What each batch of decisions changed for other workers (`projections.footprint`): of the latest, and none before a rebuild."""

relay: Final = Table(
    "relay",
    views_metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("relayed", BigInteger, nullable=False, comment="every entry up to here is acknowledged"),
    Column("relayed_at", BigInteger, nullable=False),
    Column("catching_up", Boolean, nullable=False, server_default=text("false"), comment="views lack what the ledger holds"),
    Column("served", BigInteger, nullable=False, server_default=text("0"), comment="outputs up to this entry are acknowledged"),
    Column("ends", LargeBinary, nullable=False, server_default="{}", comment="topic → its end then, as JSON"),
)

position: Final = Table(
    "position",
    views_metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
)

ledger: Final = Table(
    "ledger",
    views_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
    Column("outputs", LargeBinary, comment="null: none; empty: not made, as they were acknowledged before this row was"),
)

reference: Final = Table(
    "reference",
    views_metadata,
    Column("kind", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("clear", LargeBinary, nullable=False),
)

fact: Final = Table(
    "fact",
    views_metadata,
    Column("agency", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("presentation_id", Text, nullable=False),
    Column("replaces", Text, comment="event_id that this fact supersedes or retracts"),
    Column("data", LargeBinary, nullable=False),
    Index("fact_presentation", "presentation_id", "number"),
    Index("fact_replaces", "replaces", postgresql_where=text("replaces is not null")),
)

act: Final = Table(
    "act",
    views_metadata,
    Column("topic", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text),
    Column("content", LargeBinary, nullable=False),
    Column("said", LargeBinary, nullable=False, server_default="", comment="what the id stands for"),
)

presentation: Final = Table(
    "presentation",
    views_metadata,
    Column("presentation_id", Text, primary_key=True),
    Column("agency", Text, nullable=False),
    Column("local_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("fields", LargeBinary, nullable=False),
    Column("child_id", Text, nullable=False),
    Column("searched", Text, nullable=False, comment="names, birth date and identifiers, for search alone"),
    Index("presentation_local", "agency", "local_id", "number"),
    Index("presentation_child", "child_id"),
)

block: Final = Table(
    "block",
    views_metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("presentation_id", Text, primary_key=True),
)

edge: Final = Table(
    "edge",
    views_metadata,
    Column("a", Text, primary_key=True),
    Column("b", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("match_id", Text),
    Index("edge_b", "b"),
)

link: Final = Table(
    "link",
    views_metadata,
    Column("presentation_id", Text, primary_key=True),
    Column("from_number", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("child_id", Text, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("to_number", BigInteger),
    Column("to_at", BigInteger),
    Column("rule", Text, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("by", Text),
    Index("link_child", "child_id"),
)

possible_match: Final = Table(
    "possible_match",
    views_metadata,
    Column("match_id", Text, primary_key=True),
    Column("presentation_id", Text, nullable=False),
    Column("anchor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("raised_at", BigInteger, nullable=False),
    Index("match_presentation", "presentation_id"),
    Index("match_anchor", "anchor"),
)

conclusion: Final = Table(
    "conclusion",
    views_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("child_id", Text, nullable=False),
    Column("about", Text, comment="the recommendation, message or match it is about"),
    Column("kind", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Index("conclusion_child", "child_id"),
    Index("conclusion_about", "about"),
)

child: Final = Table(
    "child",
    views_metadata,
    Column("child_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False, comment="highest ledger number the view rests on"),
    Column("as_of", BigInteger, nullable=False),
    Column("due_at", BigInteger, comment="when the clock is to look at the child again"),
    Column("owed_at", BigInteger, comment="when the first of what somebody owes is due; null: nothing waits for anybody"),
    Column("urgency", BigInteger, nullable=False, server_default="2", comment="of what is owed: 0 harm, 1 passed on, 2 in time"),
    Column("counts", LargeBinary, nullable=False, comment="what the board counts"),
    Index("child_due", "due_at"),
    Index("child_owed", "urgency", "owed_at", "child_id"),
)

letter: Final = Table(
    "letter",
    views_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("agency", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("letter_agency", "agency"),
)
"""Dead letters: reason and pointer, never content (I7)."""

gp_inbox: Final = Table(
    "gp_inbox",
    views_metadata,
    Column("message_id", Text, primary_key=True),
    Column("practice_ods", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("change", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("gp_inbox_practice", "practice_ods"),
)
"""Filled by `deliver` from topic `gp.messages`, so that nothing is reachable before the ledger has acknowledged it."""

delivery: Final = Table(
    "delivery",
    views_metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

FOLDED: Final = (
    counter, position, ledger, reference, fact, act, presentation, block, edge, link, possible_match, conclusion, child, letter,
)  # fmt: skip
"""Tables that a rebuild makes anew from the ledger; `relay`, `gp_inbox` and `delivery` have other sources, `footprint` none."""
