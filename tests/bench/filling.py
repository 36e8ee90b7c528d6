"""The floor under a rebuild: the rows that it wrote, copied again into empty tables and indexed by as many processes.

No entry is opened, no row is made and nothing is folded, checked or switched: what is left is the database's own work.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import psycopg
from sqlalchemy import create_engine, text

from infra.migrate import engine_url
from projections.bulk import index
from projections.crew import SIZE
from projections.rebuild import build, enter
from projections.writing import COLUMNS
from tests.bench.plain import columns
from tests.bench.stage import value

SCHEMA: Final = "filled"
PAGES: Final = 2_000
"""Pages a piece: 16 MB."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a table, as PostgreSQL's COPY gives and takes them in binary."""

    table: str
    data: bytes


def captured(dsn: str) -> list[Piece]:
    """What the folded tables of a deployment hold, in memory."""
    found = []
    with psycopg.connect(dsn) as conn:
        for table in COLUMNS:
            pages = value(conn, f"select pg_relation_size('{table}') / current_setting('block_size')::int")
            for first in range(0, pages, PAGES):
                span = f"where ctid >= '({first},0)' and ctid < '({first + PAGES},0)'"
                sql = f"copy (select {columns(table)} from {table} {span}) to stdout (format binary)"
                with conn.cursor().copy(sql.encode()) as out:
                    found.append(Piece(table, b"".join(bytes(block) for block in out)))
    return found


def run(dsn: str, pieces: Sequence[Piece]) -> float:
    """Copy and index them in a schema of their own, which is dropped; the seconds it took."""
    engine = create_engine(engine_url(dsn))
    with closing(engine.connect()) as conn:
        build(conn, SCHEMA, indexed=False)
        pool = ProcessPoolExecutor(SIZE, multiprocessing.get_context("fork"), _begin, (dsn,))
        try:
            list(pool.map(_ready, range(SIZE)))
            begun = time.monotonic()
            list(pool.map(_copy, pieces))
            list(pool.map(_index, COLUMNS))
            took = time.monotonic() - begun
        finally:
            pool.shutdown()
            with conn.begin():
                conn.execute(text(f"drop schema {SCHEMA} cascade"))
            conn.invalidate()  # it looks into a schema that is gone
            engine.dispose()
    return took


_dsn = ""


def _begin(dsn: str) -> None:
    global _dsn  # noqa: PLW0603  one a process
    _dsn = dsn


def _ready(_: int) -> None:
    with _connected() as conn:
        conn.execute("select 1")


def _connected() -> psycopg.Connection:
    return psycopg.connect(_dsn, options=f"-c search_path={SCHEMA} -c synchronous_commit=off")


def _copy(piece: Piece) -> None:
    with (
        _connected() as conn,
        conn.cursor().copy(f"copy {piece.table} ({columns(piece.table)}) from stdin (format binary)".encode()) as out,
    ):
        out.write(piece.data)


def _index(table: str) -> None:
    engine = create_engine(engine_url(_dsn))
    with closing(engine.connect()) as conn:
        enter(conn, SCHEMA)
        index(conn, SCHEMA, [table])
        conn.invalidate()
    engine.dispose()
