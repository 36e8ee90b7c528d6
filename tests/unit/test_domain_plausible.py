"""What cannot be, within one act."""

from __future__ import annotations

import pytest

from domain.plausible import implausible
from domain.times import to_datetime
from tests.unit.children import DAY, NOW


@pytest.mark.parametrize(
    ("meeting_at", "rule"),
    [
        (to_datetime(NOW + 27 * DAY).isoformat(), None),
        (to_datetime(NOW - DAY).isoformat(), None),
        (to_datetime(NOW + 29 * DAY).isoformat(), "planned"),
        ("2999-01-01T10:00:00+00:00", "planned"),
        ("9999-12-31T23:59:59-14:00", "planned"),
        ("2026-02-26T10:00:00", "instant"),
        ("soon", "instant"),
    ],
)
def test_a_discussion_is_planned_for_the_next_weeks(meeting_at: str, rule: str | None) -> None:
    """One convened for years ahead would never be called overdue; also when it does not come from our own form."""
    act = {"acted_at": NOW}
    value = {"act": act, "decision": "CONVENE", "reason": None, "rationale": None, "meeting_at": meeting_at}
    found = implausible("RecommendationDecided", value, NOW)
    assert ([] if rule is None else [("meeting_at", rule)]) == [(p.field, p.rule) for p in found]
