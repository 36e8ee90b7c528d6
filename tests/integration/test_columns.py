"""Columns sent in binary arrive as they were."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from infra import stores
from projections.arrays import Column
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
