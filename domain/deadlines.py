"""The deadline register: every clock as data, with its authority. A due time is computed once, by the version then in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from domain.calendar import Calendar, after_hours, after_open_days
from domain.problems import PolicyError
from domain.times import DAY_US

UNITS: Final = ("hours", "days", "working-days", "school-days")
"""Hours and days are elapsed time; the others count the open days of their calendar."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """One entry of the register. `amount` is in `unit`; `trigger` says from when it runs; `authority` says who says so."""

    id: str
    title: str
    trigger: str
    amount: int
    unit: str
    calendar: str | None
    authority: str
    version: int


@dataclass(frozen=True, slots=True)
class Register:
    """Deadlines by id, and the calendars they count on."""

    deadlines: Mapping[str, Deadline]
    calendars: Mapping[str, Calendar]

    def due(self, deadline_id: str, start_us: int) -> int:
        """The instant at which `deadline_id`, running from `start_us`, is due.

        Raises:
            PolicyError: the register has no such deadline.
        """
        found = self.deadlines.get(deadline_id)
        if found is None:
            raise PolicyError(f"deadlines.yaml: no deadline is called {deadline_id}")
        if found.unit == "hours":
            return after_hours(start_us, found.amount)
        if found.unit == "days":
            return start_us + found.amount * DAY_US
        return after_open_days(self.calendars[found.calendar or ""], start_us, found.amount)

    def hours(self, deadline_id: str) -> int:
        """The amount of a deadline counted in clock hours.

        Raises:
            PolicyError: it is counted otherwise, or missing.
        """
        found = self.deadlines.get(deadline_id)
        if found is None or found.unit != "hours":
            raise PolicyError(f"deadlines.yaml: {deadline_id} is not counted in hours")
        return found.amount
