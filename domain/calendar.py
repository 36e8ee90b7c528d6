"""Working days, school days and clock hours. Days are London calendar days, instants µs since 1970 (UTC).

Days are read from data (bank holidays of England, closure days of the authority, school holidays). Beyond the last year of
the data only weekends are free: a due time then falls early, never late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from domain.times import HOUR_US, LONDON, local, to_us

OPENS: Final = time(9)
CLOSES: Final = time(17)
"""Office hours within which a due time counted in working days falls (default, until a partnership signs its own)."""

WEEKEND: Final = 5
"""`date.weekday()` of Saturday."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days count. `closed`: single days that do not; `breaks`: closed spans, first and last day included."""

    id: str
    title: str
    closed: frozenset[date] = frozenset()
    breaks: tuple[tuple[date, date], ...] = field(default=())

    def is_open(self, day: date) -> bool:
        """True when `day` counts: no weekend, no closure, in no break."""
        return day.weekday() < WEEKEND and day not in self.closed and not any(a <= day <= b for a, b in self.breaks)

    def add(self, day: date, days: int) -> date:
        """The `days`-th open day after `day` (R20: 23 Aug 2019 + 70 working days = 2 Dec 2019)."""
        while days > 0:
            day += timedelta(days=1)
            days -= self.is_open(day)
        return day

    def between(self, first: date, last: date) -> int:
        """Open days from `first` to `last`, both included; 0 when `last` lies before `first`."""
        span = (last - first).days + 1
        if span > 14 and not self.breaks:
            return self._by_weeks(first, last, span)
        return sum(self.is_open(first + timedelta(days=n)) for n in range(span))

    def _by_weeks(self, first: date, last: date, span: int) -> int:
        weeks, rest = divmod(span, 7)
        tail = sum((last - timedelta(days=n)).weekday() < WEEKEND for n in range(rest))
        return weeks * WEEKEND + tail - sum(first <= d <= last and d.weekday() < WEEKEND for d in self.closed)


def after_open_days(calendar: Calendar, start_us: int, days: int) -> int:
    """The instant `days` open days after `start_us`: the same London clock time, moved into office hours."""
    begun = local(start_us)
    clock = min(max(begun.time(), OPENS), CLOSES)
    return to_us(datetime.combine(calendar.add(begun.date(), days), clock, LONDON))


def after_hours(start_us: int, hours: int) -> int:
    """The instant `hours` clock hours later. Elapsed time: 72 hours are 72 hours across a change of the clocks."""
    return start_us + hours * HOUR_US


@lru_cache(maxsize=4096)
def midnight(day: str) -> int:
    """The instant at which the London day `day` (ISO 8601) begins."""
    return to_us(datetime.combine(date.fromisoformat(day), time(0), LONDON))


def next_midnight(day: str) -> int:
    """The instant at which the London day after `day` begins."""
    return midnight((date.fromisoformat(day) + timedelta(days=1)).isoformat())
