"""Statements by the driver's own cursor, on connections and in transactions that SQLAlchemy keeps: for those said without end.

Of a statement's 0.22 ms of a worker's time SQLAlchemy took 0.14, and a small batch has some sixteen; rows come in binary.
Statements sent `together` (the driver's pipeline) take no less of a worker's time: it is for work while PostgreSQL works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Dialect, TextClause
from sqlalchemy.exc import DBAPIError


def execute(conn: Connection, statement: TextClause, values: Mapping[str, Any] | None = None) -> Any:
    """The driver's cursor (psycopg), after a statement in the transaction that `conn` is in.

    Raises:
        DBAPIError: as SQLAlchemy would; a connection that is gone is invalidated.
    """
    assert conn.in_transaction(), "the driver would begin a transaction that nobody ends"
    with _as_dbapi_errors(conn):
        cursor = _driver(conn).cursor(binary=True, row_factory=namedtuple_row)
        return cursor.execute(_sql(statement, conn.dialect), values)


def rows(conn: Connection, statement: TextClause, values: Mapping[str, Any] | None = None) -> list[Any]:
    """The rows that a statement finds, as named tuples. Raises: as `execute`."""
    cursor = execute(conn, statement, values)
    with _as_dbapi_errors(conn):
        return list(cursor.fetchall())


@contextmanager
def together(conn: Connection) -> Iterator[None]:
    """Statements whose answers nobody reads, sent without waiting for the answer to the one before.

    Raises:
        DBAPIError: one of them failed; when the block ends at the latest.
    """
    with _as_dbapi_errors(conn), _driver(conn).pipeline():
        yield


@contextmanager
def snapshot(conn: Connection) -> Iterator[None]:
    """A transaction that only reads, all of it as of one moment. Raises: as `execute`."""
    driver = _driver(conn)
    driver.isolation_level, driver.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with conn.begin():
            yield
    finally:
        if not driver.closed:
            driver.isolation_level = driver.read_only = None


def _driver(conn: Connection) -> Any:
    return conn.connection.dbapi_connection


@lru_cache(500)  # statements are constants of modules; a process has a handful of engines
def _sql(statement: TextClause, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


@contextmanager
def _as_dbapi_errors(conn: Connection) -> Iterator[None]:
    driver, dialect = _driver(conn), conn.dialect
    try:
        yield
    except psycopg.Error as err:
        gone = bool(dialect.is_disconnect(cast("Any", err), driver, None))
        if gone and not conn.invalidated:
            conn.invalidate(err)
        raise DBAPIError.instance(None, None, err, psycopg.Error, connection_invalidated=gone, dialect=dialect) from err
