"""Are the living views what a clean fold of the ledger gives? Compared row by row, byte by byte (I2)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from domain.policy import Reference
from domain.standing import standing
from projections.book import Book
from projections.folding import CHUNK, Applier, chunks
from projections.rebuild import alone, build
from projections.tables import FOLDED
from projections.writing import COLUMNS, child_row


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the living tables and a clean fold do not share. Names the table and key, never content (I7)."""

    table: str
    key: str
    side: str


def verify(
    engine: Engine, values: Iterable[bytes], applier: Applier, reference: Reference, sample: int | None = None
) -> tuple[int, list[Difference]]:
    """Compare the living tables with a clean build from the ledger: (children compared, differences).

    The living side is one snapshot; entries after it are left out, those it holds and the topic does not yet are its own.

    Raises:
        RebuildBusy: the snapshot would see half of the tables that a rebuild puts in place.
    """
    with engine.connect() as living, engine.connect() as conn:
        with conn.begin():
            alone(conn)
        try:
            living.execute(text("set transaction isolation level repeatable read"))
            number = living.execute(text("select number from counter where id = 1")).scalar_one()
            build(conn, "verify")
            upto = (v for n, v in enumerate(values, start=1) if n <= number)
            sent = living.execute(text("select coalesce(max(number), 0) from ledger where outputs = ''")).scalar_one()
            applier.catch_up(conn, upto, 0, sent)
            sql = "select value from public.ledger where number > :a and number <= :z order by number"
            with conn.begin():
                there = conn.execute(text("select number from counter where id = 1")).scalar_one()
            applier.catch_up(conn, (bytes(r.value) for r in living.execute(text(sql), {"a": there, "z": number}).all()), 0, sent)
            found = [d for t in FOLDED if t.name not in NOT_COMPARED for d in _compare(living, conn, t.name)]
            count, different = _compare_children(living, conn, reference, sample)
            return count, [*found, *different]
        finally:
            with suppress(SQLAlchemyError):  # it holds everything once more, in the clear
                conn.rollback()
                with conn.begin():
                    conn.execute(text("drop schema if exists verify cascade"))
            conn.invalidate()  # with its search path and its lock


NOT_COMPARED = ("counter", "child", "position")
"""The living side's own, or compared by folding anew."""


def _compare(living: Connection, clean: Connection, table: str) -> Iterator[Difference]:
    columns = [c.name for t in FOLDED if t.name == table for c in t.primary_key.columns]
    key = " || '/' || ".join(f'"{c}"::text' for c in columns)
    sql = text(f'select {key} as key, md5(t::text) as digest from "{table}" t')
    if table == "block":  # its keys are hashes of what has few enough values to try them all: they are not shown
        sql = text("select presentation_id as key, md5(string_agg(key::text, ',' order by key)) as digest from block group by 1")
    ours = {r.key: r.digest for r in living.execute(sql)}
    with clean.begin():
        theirs = {r.key: r.digest for r in clean.execute(sql)}
    for k in sorted(ours.keys() | theirs.keys()):
        if ours.get(k) != theirs.get(k):
            yield Difference(table, k, "differs" if k in ours and k in theirs else "only living" if k in ours else "only clean")


def _compare_children(
    living: Connection, clean: Connection, reference: Reference, sample: int | None
) -> tuple[int, list[Difference]]:
    columns = ", ".join(c.split()[0] for c in COLUMNS["child"].split(", "))
    sql = f"select {columns} from child order by child_id"
    rows = living.execute(text(sql)).all()
    if sample is not None and rows:
        rows = random.sample(rows, min(sample, len(rows)))  # others each time
    found: list[Difference] = []
    for some in chunks(rows, CHUNK // 2):
        with clean.begin():
            book = Book()
            book.load_children(clean, [r.child_id for r in some])
            found += [
                Difference("child", r.child_id, "differs")
                for r in some
                if child_row(standing(book.history(r.child_id), reference, r.as_of)) != tuple(r)
            ]
    with clean.begin():
        ids = {r.child_id for r in clean.execute(text("select child_id from child"))}
    if sample is None:
        found += [Difference("child", c, "only clean") for c in sorted(ids - {r.child_id for r in rows})]
    return len(rows), found
