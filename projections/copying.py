"""Rows into a table by COPY in binary: for runs of many rows, where one statement of arrays costs PostgreSQL more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.string import BytesBinaryDumper

from projections.arrays import NAMES


def copy(conn: psycopg.Connection[Any], table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Add `rows`; `columns` are "name type, …" in the order of a row's values, types as `arrays.NAMES` knows them."""
    if not rows:
        return
    named = [c.split() for c in columns.split(", ")]
    names = ", ".join(f'"{name}"' for name, _ in named)
    with conn.cursor().copy(f'copy "{table}" ({names}) from stdin (format binary)'.encode()) as out:
        out.set_types([NAMES[kind] for _, kind in named])
        for row in rows:
            out.write_row(row)


# what psycopg registers last for `bytea` is a dumper in Python: this puts back the one in C, which takes half the time of COPY
psycopg.adapters.register_dumper(bytes, BytesBinaryDumper)
