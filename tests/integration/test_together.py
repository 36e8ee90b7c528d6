"""Statements sent together: all of them or none, and the error of the one that failed."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from infra import assembly
from projections.driver import together
from projections.writing import insert
from tests.services import Deployment

EDGES = (("a", "b", "rule", None), ("b", "c", "rule", None))


@pytest.mark.parametrize("after", [0, 1, 5])
def test_the_first_error(deployment: Deployment, after: int) -> None:
    """A row that is there already, with so many statements after it: known as such, and nothing stays; then all goes on."""
    engine = assembly.engine(deployment.views_dsn, "together")
    with engine.connect() as conn:
        with pytest.raises(DBAPIError) as caught, conn.begin(), together(conn):
            insert(conn, ("edge", EDGES[:1], ""))
            insert(conn, ("edge", EDGES[:1], ""))
            for _ in range(after):
                insert(conn, ("edge", EDGES[1:], "on conflict do nothing"))
        assert "23505" == getattr(caught.value.orig, "sqlstate", None)
        assert not caught.value.connection_invalidated
        with conn.begin(), together(conn):
            for edge in EDGES:
                insert(conn, ("edge", [edge], ""))
        with conn.begin():
            assert 2 == conn.execute(text("select count(*) from edge where rule = 'rule'")).scalar_one()
            conn.execute(text("delete from edge where rule = 'rule'"))
    engine.dispose()


def test_our_own_error(deployment: Deployment) -> None:
    """What fails between two statements comes out as it is, and nothing stays."""
    engine = assembly.engine(deployment.views_dsn, "together")
    with engine.connect() as conn:
        with pytest.raises(KeyError, match="ours"), conn.begin(), together(conn):
            insert(conn, ("edge", EDGES[:1], ""))
            raise KeyError("ours")
        with conn.begin():
            assert 0 == conn.execute(text("select count(*) from edge where rule = 'rule'")).scalar_one()
    engine.dispose()
