"""Rows into a table by COPY in binary: for runs of many rows, where one statement of arrays costs PostgreSQL more."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg

from projections.arrays import ENCODE, LENGTH, NULL

BEGIN: Final = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
END: Final = struct.pack(">h", -1)
WIDTH: Final = struct.Struct(">h")


def copy(conn: psycopg.Connection[Any], table: str, columns: str, rows: Sequence[Iterable[Any]]) -> None:
    """Add `rows`; `columns` are "name type, …" in the order of a row's values, types as `arrays.ENCODE` knows them."""
    if not rows:
        return
    named = [c.split() for c in columns.split(", ")]
    names = ", ".join(f'"{name}"' for name, _ in named)
    with conn.cursor().copy(f'copy "{table}" ({names}) from stdin (format binary)'.encode()) as out:
        out.write(_binary([ENCODE[kind] for _, kind in named], rows))


def _binary(encoders: Sequence[Any], rows: Sequence[Iterable[Any]]) -> bytes:
    width, length = WIDTH.pack(len(encoders)), LENGTH.pack
    parts = [BEGIN]
    for row in rows:
        parts.append(width)
        for encode, value in zip(encoders, row, strict=True):
            if value is None:
                parts.append(NULL)
            else:
                data = encode(value)
                parts += (length(len(data)), data)
    parts.append(END)
    return b"".join(parts)
