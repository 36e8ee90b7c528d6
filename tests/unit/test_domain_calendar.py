"""Working days, clock hours and the deadline register."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import Calendar, after_open_days, midnight, next_midnight
from domain.problems import PolicyError
from domain.times import DAY_US, HOUR_US, local, to_us
from schemas.policies import register

REGISTER = register()
WORKING = REGISTER.calendars["england-halton"]


def at(text: str) -> int:
    """An instant from ISO 8601 with an offset."""
    return to_us(datetime.fromisoformat(text))


class TestWorkingDays:
    """Days that count."""

    def test_the_letter(self) -> None:
        """R20: 23 August 2019 and 70 working days, with the bank holiday of 26 August, is 2 December 2019."""
        assert date(2019, 12, 2) == WORKING.add(date(2019, 8, 23), 70)

    def test_bank_holidays_and_weekends_do_not_count(self) -> None:
        """Good Friday and Easter Monday of 2026 lie between Thursday and Tuesday."""
        assert date(2026, 4, 7) == WORKING.add(date(2026, 4, 2), 1)

    def test_one_working_day_keeps_the_clock_time(self) -> None:
        """Raised on a Friday at 15:20, due on Monday at 15:20."""
        assert at("2026-02-23T15:20+00:00") == after_open_days(WORKING, at("2026-02-20T15:20+00:00"), 1)

    @pytest.mark.parametrize(("raised", "due"), [("03:00", "09:00"), ("22:30", "17:00")])
    def test_it_falls_into_office_hours(self, raised: str, due: str) -> None:
        """Night is nobody's due time when days are counted."""
        assert at(f"2026-02-18T{due}+00:00") == after_open_days(WORKING, at(f"2026-02-17T{raised}+00:00"), 1)

    def test_local_time_across_the_change_of_clocks(self) -> None:
        """From the Friday before the last Sunday of March: the same time on the wall, an hour less elapsed."""
        begun = at("2026-03-27T10:00+00:00")
        assert at("2026-03-30T10:00+01:00") == after_open_days(WORKING, begun, 1)

    @given(st.dates(date(2018, 1, 1), date(2030, 12, 31)), st.integers(0, 500))
    def test_between_counts_what_is_open(self, first: date, span: int) -> None:
        """The quick count equals counting each day, inside and beyond the data."""
        last = first + timedelta(days=span)
        slow = sum(WORKING.is_open(first + timedelta(days=n)) for n in range(span + 1))
        assert slow == WORKING.between(first, last)

    def test_breaks(self) -> None:
        """A break closes its first and last day and all between."""
        school = Calendar("s", "School", frozenset(), ((date(2026, 2, 16), date(2026, 2, 20)),))
        assert (5, date(2026, 2, 23)) == (school.between(date(2026, 2, 9), date(2026, 2, 22)), school.add(date(2026, 2, 13), 1))


class TestClockHours:
    """72 hours are 72 hours."""

    @pytest.mark.parametrize(
        ("returned", "due"),
        [
            ("2026-03-27T22:00+00:00", "2026-03-30T23:00+01:00"),
            ("2026-10-23T22:00+01:00", "2026-10-26T21:00+00:00"),
            ("2026-06-01T08:00+01:00", "2026-06-04T08:00+01:00"),
        ],
    )
    def test_across_the_last_sundays(self, returned: str, due: str) -> None:
        """Spring forward: an hour later on the wall; back in October: an hour earlier."""
        assert at(due) == REGISTER.due("return-home-interview", at(returned))

    def test_midnights(self) -> None:
        """The Sunday of the change has 23 or 25 hours."""
        assert 23 * HOUR_US == next_midnight("2026-03-29") - midnight("2026-03-29")
        assert 25 * HOUR_US == next_midnight("2026-10-25") - midnight("2026-10-25")


class TestRegister:
    """The register is data with an authority."""

    def test_every_deadline_can_be_computed_and_says_who_says_so(self) -> None:
        """Each is after its start and names an authority."""
        start = to_us(datetime(2026, 2, 20, 12, tzinfo=UTC))
        for deadline in REGISTER.deadlines.values():
            assert REGISTER.due(deadline.id, start) > start
            assert deadline.authority

    def test_the_defaults(self) -> None:
        """Harm trigger 4 clock hours; a convened discussion 24; 45 working days for an assessment is nine weeks."""
        start = at("2026-06-01T23:00+01:00")
        assert start + 4 * HOUR_US == REGISTER.due("recommendation-harm", start)
        assert start + 24 * HOUR_US == REGISTER.due("discussion-held", start)
        assert date(2026, 8, 3) == local(REGISTER.due("assessment", start)).date()

    def test_unknown_deadline(self) -> None:
        """The error names the file."""
        with pytest.raises(PolicyError, match=r"deadlines\.yaml: no deadline is called x"):
            REGISTER.due("x", DAY_US)
