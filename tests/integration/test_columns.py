"""Columns sent in binary, and rows copied, arrive as they were."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.adapt import PyFormat
from psycopg.pq import Format
from sqlalchemy import text

from infra import stores
from projections.arrays import Column
from projections.copying import copy
from tests.services import Deployment

CASES = (
    ("bigint", [1, -1, 2**63 - 1, None, -(2**63)]),
    ("int", [0, None, -(2**31), 2**31 - 1]),
    ("text", ["", None, "NULL", 'quoted " \\ {a,b}', "Zoë 深い"]),
    ("bytea", [b"", None, b"\x00\x01", b"\\x", bytes(range(256)) * 40]),
    ("boolean", [True, False, None]),
    ("bytea", [None, None]),
    ("text", []),
)


class TestColumn:
    """A column of any kind, with nulls, awkward texts, and none at all."""

    @pytest.mark.parametrize(("kind", "values"), CASES)
    def test_values_come_back(self, deployment: Deployment, kind: str, values: list[Any]) -> None:
        """What PostgreSQL unpacks is what was packed, in order."""
        sql = text(f"select u.v from unnest(cast(:v as {kind}[])) with ordinality as u(v, n) order by n")
        engine = stores.engine(deployment.views_dsn, "columns")
        with engine.connect() as conn:
            found = [
                None if r.v is None else bytes(r.v) if kind == "bytea" else r.v
                for r in conn.execute(sql, {"v": Column(kind, values)})
            ]
        engine.dispose()
        assert values == found


class TestCopy:
    """Rows of any kind of value, with nulls, awkward texts, and none at all."""

    @pytest.mark.parametrize(("kind", "values"), CASES)
    def test_values_come_back(self, deployment: Deployment, kind: str, values: list[Any]) -> None:
        """What a table holds is what was copied."""
        with psycopg.connect(deployment.views_dsn) as conn:
            conn.execute(f"create temporary table copied (n int, v {kind})".encode())
            copy(conn, "copied", f"n int, v {kind}", list(enumerate(values)))
            found = [v for (v,) in conn.execute("select v from copied order by n")]
        assert values == found

    def test_bytes_are_written_in_c(self) -> None:
        """As they are where no type is named; psycopg's own choice for `bytea` is one in Python."""
        by_type = psycopg.adapters.get_dumper_by_oid(psycopg.adapters.types["bytea"].oid, Format.BINARY)
        assert psycopg.adapters.get_dumper(bytes, PyFormat.BINARY) is by_type
