"""Education as the child lives it (R13, R19): absence, days without full-time provision, the school's concerns."""

from __future__ import annotations

from datetime import date

from domain.calendar import Calendar
from domain.labelling import label_of
from domain.model import Fact, Json
from domain.policy import Reference
from domain.selection import Known, newest_telling

SCHOOL_DAYS = "schools-halton"


def education(known: Known, today: str, reference: Reference) -> Json:
    """{absence, no_provision, concerns}, each newest first. `today` is the London day of `as_of`."""
    current = known.current
    days = reference.register.calendars[SCHOOL_DAYS]
    return {
        "absence": [_absence(f, reference) for f in reversed(current.get("SchoolAbsence", ()))],
        "no_provision": [_gap(f, last, today, days, reference) for f, last in reversed(gaps(known))],
        "concerns": [_concern(f, reference) for f in reversed(current.get("SchoolConcern", ()))],
    }


def rate(fact: Fact) -> float:
    """Sessions missed of those possible, per cent; 0 when none was possible."""
    possible: int = fact.body["sessions_possible"]
    return 100.0 * int(fact.body["sessions_missed"]) / possible if possible else 0.0


def weeks(fact: Fact) -> int:
    """School weeks that an absence fact covers, at least one (ten sessions are a week)."""
    return max(1, round(int(fact.body["sessions_possible"]) / 10))


def gaps(known: Known) -> list[tuple[Fact, str | None]]:
    """Spans without full-time education with their last day (null while open), by first day.

    The newest telling of a span counts. A telling with reason ENDED closes every span of its agency begun before its own
    last day (or, without one, its first day).
    """
    told = known.current.get("NoSchoolProvision", ())
    over = newest_telling((f for f in told if f.body["reason"] == "ENDED"), _span)
    ends = [(f.agency, f.body["to_date"] or f.body["from_date"]) for f in over.values()]
    spans = newest_telling((f for f in told if f.body["reason"] != "ENDED"), _span)
    out: list[tuple[Fact, str | None]] = []
    for first, agency in sorted(spans):
        fact = spans[(first, agency)]
        after = [e for a, e in ends if a == agency and e >= first]
        last = fact.body["to_date"]
        out.append((fact, min([*after, last] if last else after, default=None)))
    return out


def _span(fact: Fact) -> tuple[str, str]:
    return fact.body["from_date"], fact.agency


def school_days(fact: Fact, last: str | None, today: str, days: Calendar) -> int:
    """School days of a span up to and including `today`."""
    until = min(last, today) if last else today
    return days.between(date.fromisoformat(fact.body["from_date"]), date.fromisoformat(until))


def _absence(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "from": b["from_date"], "to": b["to_date"], "missed": b["sessions_missed"], "possible": b["sessions_possible"],
        "rate": round(rate(fact), 1), "reason": b["reason"], "reason_label": reference.label("absence-reason", b["reason"]),
        "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def _gap(fact: Fact, last: str | None, today: str, days: Calendar, reference: Reference) -> Json:
    b = fact.body
    return {
        "from": b["from_date"], "to": last, "school_days": max(0, school_days(fact, last, today, days)), "reason": b["reason"],
        "reason_label": reference.label("no-provision-reason", b["reason"]), "hours_offered": b.get("hours_offered"),
        "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


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
