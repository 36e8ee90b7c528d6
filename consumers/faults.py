"""Whose fault is a failure: a server's, ours as a whole, or one record's? By what was raised, never by its text."""

from __future__ import annotations

from typing import Final

import psycopg
from kafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from domain.problems import SightlineError

RETRIED: Final = frozenset({"40001", "40P01", "55P03", "57014"})
"""Serialization failure, deadlock, lock or statement timeout: the same batch again."""

GONE: Final = ("08", "25", "3D", "42P01", "53", "57")
"""Connection lost, transaction aborted under us, database or table missing (dropped), resources, shutdown: connect anew."""

OF_THE_DATA: Final = ("21", "22", "23", "54")
"""What a record's own content provokes: cardinality, data, integrity, a limit of the database passed."""


def of_one_record(err: Exception) -> bool:
    """Whether one record of a batch may have provoked this, so that the others can go on without it.

    Not so when a server is away or asks to try again, when a person has something to mend (a master key, a policy, a lost
    position: those are our own errors), or when the database is not the one that this release was made for.
    """
    if isinstance(err, (SightlineError, KafkaError, PoolTimeoutError, OSError)):
        return False
    if not isinstance(err, DBAPIError):
        return not isinstance(err, psycopg.Error) or isinstance(err, psycopg.DataError)
    code = getattr(err.orig, "sqlstate", None)
    if code is None:  # psycopg's own: a value that it cannot write, or a connection that is gone
        return isinstance(err.orig, psycopg.DataError) and not err.connection_invalidated
    return code.startswith(OF_THE_DATA) and not err.connection_invalidated
