"""Columns of rows as PostgreSQL arrays in binary: psycopg writes lists as text, quoting each `bytea` by regular expression.

Measured on `unify`: writing took a third less of a worker's time than with lists.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

NULL: Final = struct.pack(">i", -1)
HEAD: Final = struct.Struct(">iiIii")
"""One dimension, whether there are nulls, the element's type, how many, the first one's index."""

LENGTH: Final = struct.Struct(">i")
BIGINT: Final = struct.Struct(">q")
INT: Final = struct.Struct(">i")

ENCODE: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "bigint": BIGINT.pack,
    "int": INT.pack,
    "text": str.encode,
    "bytea": bytes,
    "boolean": lambda value: b"\x01" if value else b"\x00",
}
NAMES: Final = {"bigint": "int8", "int": "int4", "text": "text", "bytea": "bytea", "boolean": "bool"}


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one column; `kind` is a key of `ENCODE`. None is null."""

    kind: str
    values: Sequence[Any]


class _ColumnDumper(Dumper):
    format = Format.BINARY
    kind = ""

    def get_key(self, obj: Column, format: Any) -> Any:  # noqa: A002, ARG002  psycopg's signature
        return (self.cls, obj.kind)

    def upgrade(self, obj: Column, format: Any) -> _ColumnDumper:  # noqa: A002, ARG002  psycopg's signature
        dumper = type(self)(self.cls)
        dumper.kind, dumper.oid = obj.kind, _info(obj.kind).array_oid
        return dumper

    def dump(self, obj: Column) -> bytes:
        """The array's binary form."""
        encode, element = ENCODE[obj.kind], _info(obj.kind).oid
        parts = [HEAD.pack(1, int(None in obj.values), element, len(obj.values), 1)]
        for value in obj.values:
            if value is None:
                parts.append(NULL)
            else:
                data = encode(value)
                parts += (LENGTH.pack(len(data)), data)
        return b"".join(parts)


def _info(kind: str) -> TypeInfo:
    found = psycopg.adapters.types.get(NAMES[kind])
    assert found is not None
    return found


psycopg.adapters.register_dumper(Column, _ColumnDumper)
