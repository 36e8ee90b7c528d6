"""Working days, school days and clock hours. Days are London calendar days, instants µs since 1970 (UTC).

Days are read from data (bank holidays of England, closure days of the authority, school holidays). Beyond the last year of
the data only weekends are free: a due time then falls early, never late.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from domain.times import HOUR_US, LAST_US, LONDON, local, to_us

OPENS: Final = time(9)
CLOSES: Final = time(17)
"""Office hours within which a due time counted in working days falls (default, until a partnership signs its own)."""

WEEKEND: Final = 5
"""`date.weekday()` of Saturday."""


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Which days count. `closed`: single days that do not; `breaks`: closed spans, first and last day included.

    Each is itself alone: what is remembered of it is found without comparing all its days.
    """

    id: str
    title: str
    closed: frozenset[date] = frozenset()
    breaks: tuple[tuple[date, date], ...] = field(default=())
    _free: list[tuple[date, ...]] = field(default_factory=list, init=False, repr=False, compare=False)

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
        if last < first:
            return 0
        free = self._free_weekdays
        return (
            _weekdays(last.toordinal()) - _weekdays(first.toordinal() - 1) - (bisect_right(free, last) - bisect_left(free, first))
        )

    @property
    def _free_weekdays(self) -> tuple[date, ...]:
        """The weekdays that do not count, in order; made once, as a fold counts school days of many spans."""
        if not self._free:
            spans = (a + timedelta(days=n) for a, b in self.breaks for n in range((b - a).days + 1))
            self._free.append(tuple(sorted(d for d in {*self.closed, *spans} if d.weekday() < WEEKEND)))
        return self._free[0]


def _weekdays(ordinal: int) -> int:
    """Weekdays from the first day there is, a Monday, to the day of this ordinal."""
    weeks, rest = divmod(ordinal, 7)
    return weeks * WEEKEND + min(rest, WEEKEND)


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


@lru_cache(maxsize=4096)
def next_midnight(day: str) -> int:
    """The instant at which the London day after `day` begins. The last day of the calendar has none: it means `no end`."""
    at = date.fromisoformat(day)
    return LAST_US if at == date.max else midnight((at + timedelta(days=1)).isoformat())
