"""Statements by the driver's own cursor fail as SQLAlchemy's do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from infra import stores
from projections.driver import execute, rows, snapshot, together
from projections.writing import FIRST, insert
from tests.services import Deployment

EDGES = [("a", "b", "rule", None), ("a", "c", "rule", None)]
COUNT = text("select count(*) from edge where rule = 'rule'")


@pytest.fixture
def conn(deployment: Deployment) -> Iterator[Connection]:
    """A connection to `views`, without edges of ours afterwards."""
    engine = stores.engine(deployment.views_dsn, "driver")
    with engine.connect() as found:
        yield found
    with engine.begin() as found:
        found.execute(text("delete from edge where rule = 'rule'"))
    engine.dispose()


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("sent", [together, nullcontext])
def test_a_row_that_is_there_already(conn: Connection, sent: Callable[[Any], AbstractContextManager[None]], after: int) -> None:
    """Known as such, with so many statements after it, and nothing of the transaction stays; then all goes on, with the rows of
    several tables in one statement.
    """
    with pytest.raises(DBAPIError) as caught, conn.begin(), sent(conn):
        insert(conn, ("edge", EDGES[:1], ""))
        insert(conn, ("edge", EDGES, ""))
        for _ in range(after):
            insert(conn, ("edge", EDGES, FIRST))
    assert "23505" == getattr(caught.value.orig, "sqlstate", None)
    assert not caught.value.connection_invalidated
    with conn.begin():
        assert [(0,)] == rows(conn, COUNT)
        insert(conn, ("edge", EDGES[:1], ""), ("edge", EDGES[1:], FIRST), ("letter", [], ""))
        insert(conn, ("edge", EDGES, FIRST))
        assert [(2,)] == rows(conn, COUNT)


def test_our_own_error(conn: Connection) -> None:
    """What fails between two statements comes out as it is, and nothing stays."""
    with pytest.raises(KeyError, match="ours"), conn.begin(), together(conn):
        insert(conn, ("edge", EDGES[:1], ""))
        raise KeyError("ours")
    with conn.begin():
        assert [(0,)] == rows(conn, COUNT)


def test_as_of_one_moment(conn: Connection, deployment: Deployment) -> None:
    """Who reads sees nothing of what others commit meanwhile, and may not write; afterwards the connection is as it was."""
    engine = stores.engine(deployment.views_dsn, "driver-other")
    with snapshot(conn):
        before = rows(conn, COUNT)
        with engine.begin() as other:
            insert(other, ("edge", EDGES, ""))
        assert before == rows(conn, COUNT) == [(0,)]
    engine.dispose()
    with pytest.raises(DBAPIError, match="read-only"), snapshot(conn):
        insert(conn, ("edge", EDGES, FIRST))
    with conn.begin():
        assert [(2,)] == rows(conn, COUNT)
        insert(conn, ("edge", EDGES, FIRST))
        assert [("read committed",)] == rows(conn, text("show transaction_isolation"))


@pytest.mark.parametrize("begun", [Connection.begin, snapshot])
def test_a_connection_that_is_gone(
    conn: Connection, deployment: Deployment, begun: Callable[[Connection], AbstractContextManager[Any]]
) -> None:
    """The failure says so, and the next transaction has a new one."""
    engine = stores.engine(deployment.views_dsn, "driver-killer")
    with pytest.raises(DBAPIError) as caught, begun(conn):
        [(pid,)] = rows(conn, text("select pg_backend_pid()"))
        with engine.begin() as other:
            other.execute(text("select pg_terminate_backend(:p, 5000)"), {"p": pid})
        execute(conn, COUNT)
    engine.dispose()
    assert caught.value.connection_invalidated
    with conn.begin():
        assert [(0,)] == rows(conn, COUNT)


def test_outside_a_transaction(conn: Connection) -> None:
    """It would begin one that nobody ends."""
    with pytest.raises(AssertionError):
        execute(conn, COUNT)
