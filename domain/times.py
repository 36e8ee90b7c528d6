"""Instants and calendars. An instant is an integer: microseconds since 1970-01-01T00:00Z. Local time is Europe/London."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
LONDON: Final = ZoneInfo("Europe/London")
NEVER: Final = 1 << 63
"""Later than any instant."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(when: datetime) -> int:
    """An aware datetime as an instant.

    Raises:
        ValueError: the datetime has no offset.
    """
    if when.tzinfo is None:
        raise ValueError("a datetime without an offset is not an instant")
    delta = when - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND_US + delta.microseconds


FIRST_US: Final = to_us(datetime(1, 1, 3, tzinfo=UTC))
LAST_US: Final = to_us(datetime(9999, 12, 25, tzinfo=UTC))
"""What a calendar can name, with days to spare on both sides for clocks that run from there."""


def bounded(us: int) -> int:
    """An instant that a calendar can name: one beyond is brought to the edge, so that no arithmetic of ours fails on it."""
    return min(max(us, FIRST_US), LAST_US)


def to_datetime(us: int) -> datetime:
    """An instant as an aware UTC datetime (`bounded`)."""
    return EPOCH + timedelta(microseconds=bounded(us))


def local(us: int) -> datetime:
    """An instant as London local time."""
    return to_datetime(us).astimezone(LONDON)


@lru_cache(maxsize=4096)
def local_date_of(us: int) -> str:
    """The London calendar day of an instant, ISO 8601."""
    return local(us).date().isoformat()


def iso(us: int) -> str:
    """An instant as ISO 8601 in UTC with `Z`."""
    return to_datetime(us).isoformat().replace("+00:00", "Z")
