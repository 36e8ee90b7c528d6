"""The plain loop a bench compares with: the rows that the workers wrote, written again by one process without rules.

Same statements, same batches of as many records, same lock, position and counter; nothing is read, decided or encrypted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text

from projections.tables import act, block, conclusion, edge, fact, ledger, letter, link, possible_match, presentation
from projections.writing import COLUMNS, FIRST, NEWEST, insert

NUMBERED = (ledger, presentation, fact, act, possible_match, conclusion, letter)


@dataclass(slots=True)
class Batch:
    """The rows of a run of entries, by table."""

    last: int
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    views: list[tuple[Any, ...]] = field(default_factory=list)


def captured(engine: Engine, size: int) -> Iterator[Batch]:
    """What a finished deployment holds, as batches of `size` entries; with each batch the last views of its children."""
    with engine.connect() as conn:
        last = conn.execute(text("select number from counter where id = 1")).scalar_one()
        for first in range(0, last, size):
            span = {"a": first, "z": first + size}
            batch = Batch(min(last, first + size))
            for table in NUMBERED:
                mine = f"select {columns(table.name)} from {table.name} where number > :a and number <= :z"
                batch.rows[table.name] = _rows(conn, mine, span)
            mine = "select presentation_id from presentation where number > :a and number <= :z"
            batch.rows["block"] = _rows(conn, f"select {columns('block')} from block where presentation_id in ({mine})", span)
            batch.rows["link"] = _rows(
                conn, f"select {columns('link')} from link where from_number > :a and from_number <= :z", span
            )
            batch.rows["edge"] = _rows(conn, f"select {columns('edge')} from edge where a in ({mine}) or b in ({mine})", span)
            touched = (
                "select child_id from fact join presentation using (presentation_id) where fact.number > :a and fact.number <= :z"
            )
            batch.views = _rows(conn, f"select {columns('child')} from child where child_id in ({touched})", span)
            yield batch


def _rows(conn: Connection, sql: str, span: dict[str, int]) -> list[tuple[Any, ...]]:
    return [tuple(bytes(v) if isinstance(v, memoryview) else v for v in r) for r in conn.execute(text(sql), span)]


TABLES = (ledger, presentation, block, fact, act, link, edge, possible_match, conclusion, letter)


def run(engine: Engine, batches: Sequence[Batch]) -> float:
    """Write them; the seconds it took."""
    with engine.connect() as conn:
        with conn.begin():
            conn.execute(text("insert into counter values (1, 0, 0, 0) on conflict do nothing"))
            conn.execute(text("insert into position values ('facts.police', 0, 0, 1, '') on conflict do nothing"))
        begun = time.monotonic()
        for batch in batches:
            with conn.begin():
                conn.execute(text("select number from counter where id = 1 for update")).one()
                conn.execute(text("update position set next_offset = :n where epoch = 1"), {"n": batch.last})
                rows = ((t.name, batch.rows.get(t.name, ()), FIRST) for t in TABLES)
                insert(conn, *rows, ("child", batch.views, NEWEST))
                conn.execute(text("update counter set number = :n where id = 1"), {"n": batch.last})
        return time.monotonic() - begun


def columns(table: str) -> str:
    """In the order in which rows are written; the database's own is that of its migrations."""
    return ", ".join(f'"{c.split()[0]}"' for c in COLUMNS[table].split(", "))
