"""Education as the child lives it (R13, R19): absence, days without full-time provision, the school's concerns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from domain.calendar import Calendar
from domain.labelling import label_of, rest_on
from domain.model import Fact, Json
from domain.policy import Reference
from domain.selection import Known, in_time, newest_telling

SCHOOL_DAYS = "schools-halton"


def education(known: Known, today: str, reference: Reference) -> Json:
    """{absence, no_provision, concerns}, each newest first. `today` is the London day of `as_of`."""
    current = known.current
    days = reference.register.calendars[SCHOOL_DAYS]
    return {
        "absence": [_absence(f, reference) for f in reversed(current.get("SchoolAbsence", ()))],
        "no_provision": [_gap(gap, today, days, reference) for gap in reversed(gaps(known))],
        "concerns": [_concern(f, reference) for f in reversed(current.get("SchoolConcern", ()))],
    }


def rate(fact: Fact) -> float:
    """Sessions missed of those possible, per cent; 0 when none was possible."""
    possible: int = fact.body["sessions_possible"]
    return 100.0 * int(fact.body["sessions_missed"]) / possible if possible else 0.0


def weeks(fact: Fact) -> int:
    """School weeks that an absence fact covers, at least one (ten sessions are a week)."""
    return max(1, round(int(fact.body["sessions_possible"]) / 10))


@dataclass(frozen=True, slots=True)
class Gap:
    """A span without full-time education: the fact that tells of it, its last day (ISO 8601; None: open), and the fact that
    closed it, where that is another.
    """

    fact: Fact
    last: str | None
    closed: Fact | None


def gaps(known: Known) -> list[Gap]:
    """Spans without full-time education, by first day.

    The newest telling of a span counts. A telling with reason ENDED closes every span of its agency begun before its own
    last day (or, without one, its first day).
    """
    told = known.current.get("NoSchoolProvision", ())
    over = newest_telling((f for f in told if f.body["reason"] == "ENDED"), _span)
    ends = sorted(over.values(), key=lambda f: (_last_day(f), in_time(f)))
    spans = newest_telling((f for f in told if f.body["reason"] != "ENDED"), _span)
    return [_gap_of(spans[span], ends) for span in sorted(spans)]


def _gap_of(fact: Fact, ends: Iterable[Fact]) -> Gap:
    """A span with the first of its ends, which come by day; its own goes before another's of that day."""
    own, first = fact.body["to_date"], fact.body["from_date"]
    end = next((f for f in ends if f.agency == fact.agency and _last_day(f) >= first), None)
    return Gap(fact, own, None) if end is None or (own and own <= _last_day(end)) else Gap(fact, _last_day(end), end)


def _last_day(end: Fact) -> str:
    found: str = end.body["to_date"] or end.body["from_date"]
    return found


def _span(fact: Fact) -> tuple[str, str]:
    return fact.body["from_date"], fact.agency


def school_days(gap: Gap, today: str, days: Calendar) -> int:
    """School days of a span up to and including `today`."""
    return days_from(gap.fact.body["from_date"], min(gap.last, today) if gap.last else today, days)


@lru_cache(maxsize=4096)
def days_from(first: str, last: str, days: Calendar) -> int:
    """School days between two days (ISO 8601), both included."""
    return days.between(date.fromisoformat(first), date.fromisoformat(last))


def _absence(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "from": b["from_date"], "to": b["to_date"], "missed": b["sessions_missed"], "possible": b["sessions_possible"],
        "rate": round(rate(fact), 1), "reason": b["reason"], "reason_label": reference.label("absence-reason", b["reason"]),
        "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def _gap(gap: Gap, today: str, days: Calendar, reference: Reference) -> Json:
    """The span as the view lists it; an end that another fact told is a part, withheld by itself."""
    b = gap.fact.body
    item: Json = {
        "from": b["from_date"], "to": gap.last, "school_days": max(0, school_days(gap, today, days)), "reason": b["reason"],
        "reason_label": reference.label("no-provision-reason", b["reason"]), "hours_offered": b.get("hours_offered"),
        "sharing": label_of(gap.fact), "facts": [gap.fact.event_id],
    }  # fmt: skip
    if gap.closed is not None:
        item["parts"] = [{"fields": ["to", "school_days"], **rest_on([gap.closed])}]
    return item


def _concern(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "at": fact.occurred_at,
        "concerns": list(b["concerns"]),
        "concern_labels": [reference.label("concern", c) for c in b["concerns"]],
        "exploitation": list(b["exploitation"]),
        "narrative": b.get("narrative"),
        "child_words": b.get("child_words"),
        "sharing": label_of(fact),
        "facts": [fact.event_id],
    }
