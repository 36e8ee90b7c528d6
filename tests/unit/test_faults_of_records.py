"""Whose fault a failure is: a record is refused only for its own."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from kafka.errors import KafkaTimeoutError
from psycopg import errors
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from consumers.faults import of_one_record
from consumers.host import Fenced, PositionLost
from consumers.unify import EntryTooLarge
from domain.problems import PolicyError
from projections.keyring import WrongMasterKey
from schemas.registry import RegistryUnavailable


def wrapped(orig: Any, *, gone: bool = False) -> DBAPIError:
    """As SQLAlchemy raises it."""
    return DBAPIError("", {}, orig, connection_invalidated=gone)


@pytest.mark.parametrize(
    "err",
    [
        *map(wrapped, (errors.UndefinedColumn(), errors.UndefinedTable(), errors.InvalidCatalogName())),
        *map(wrapped, (errors.SerializationFailure(), errors.DeadlockDetected(), errors.LockNotAvailable())),
        *map(wrapped, (errors.AdminShutdown(), errors.DiskFull(), errors.InternalError_(), errors.DataCorrupted())),
        wrapped(errors.UniqueViolation(), gone=True),
        OperationalError("", {}, psycopg.OperationalError("the connection is lost"), connection_invalidated=True),
        psycopg.OperationalError("the connection is lost"),
        PoolTimeoutError(),
        KafkaTimeoutError(),
        ConnectionResetError(),
        *(kind("x") for kind in (Fenced, PositionLost, RegistryUnavailable, WrongMasterKey, PolicyError)),
    ],
)
def test_not_the_records(err: Exception) -> None:
    """A server that is away, another worker, a wrong key, another release's database: nothing is refused for these."""
    assert not of_one_record(err)


@pytest.mark.parametrize(
    "err",
    [
        *map(wrapped, (errors.UniqueViolation(), errors.CharacterNotInRepertoire(), errors.NumericValueOutOfRange())),
        *map(wrapped, (errors.ProgramLimitExceeded(), psycopg.DataError("text may not hold NUL"))),
        psycopg.DataError("text may not hold NUL"),
        ZeroDivisionError(),
        OverflowError(),
        RecursionError(),
        KeyError("x"),
        EntryTooLarge("x"),
    ],
)
def test_the_records(err: Exception) -> None:
    """Whatever its content provokes in the database or in our own rules."""
    assert of_one_record(err)
