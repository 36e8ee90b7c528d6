"""Who is involved with the child, their status with social care, their practice, and each agency's own grade of risk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final

from domain.labelling import label_of, rest_on
from domain.model import Fact, Json
from domain.policy import Reference
from domain.selection import Known, Line, happened, in_time, last_told, newest_telling
from domain.times import local_date_of

NO_END: Final = "9999-12-31"
"""The last day there is: what systems write for `no end`."""

PLANNED: Final = {"CPPI": "CP", "UCPI": "CP", "LACI": "LAC"}
"""The status with social care that a CP-IS plan of a type tells of."""

OPEN_STATUSES = frozenset({"EARLY_HELP", "CIN", "CP", "LAC"})
"""Statuses under which social care or early help works with the child."""


def involved(known: Known, today: str, reference: Reference) -> list[Json]:
    """Workers and services, the newest telling of each, current ones first. `today` is the London day of `as_of`."""
    items = [_involved(f, today, reference) for record in WORK for f in at_work(known, record)]
    return sorted(items, key=lambda i: (not i["current"], i["from"], i["agency"], i["label"], i["facts"]))


WORK = ("WorkerAllocated", "InvolvementRecorded")


def at_work(known: Known, record: str) -> Iterable[Fact]:
    """The newest telling of each worker (WorkerAllocated) or service (InvolvementRecorded)."""
    return newest_telling(known.current.get(record, ()), _who).values()


def _who(fact: Fact) -> tuple[str, ...]:
    b = fact.body
    what = (b["worker_role"], b.get("worker_name") or "") if fact.record == "WorkerAllocated" else (b["service"],)
    return (fact.agency, *what, b["from_date"])


def _involved(fact: Fact, today: str, reference: Reference) -> Json:
    b = fact.body
    worker = fact.record == "WorkerAllocated"
    label = reference.label("worker-role", b["worker_role"]) if worker else reference.label("service", b["service"])
    return {
        "agency": fact.agency, "service": None if worker else b["service"], "label": label,
        "role": b["worker_role"] if worker else b.get("lead_role"), "name": b.get("worker_name"), "team": b.get("team"),
        "contact": b.get("contact"), "from": b["from_date"], "to": b["to_date"], "current": in_span(b, today),
        "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def in_span(body: Any, today: str, first: str = "from_date", last: str = "to_date") -> bool:
    """`today` lies between the two days (both included; an open end is for ever)."""
    return (body.get(first) or "") <= today and (body.get(last) or "9999") >= today


def statuses(known: Known, today: str, reference: Reference) -> tuple[list[Json], Json | None]:
    """Statuses with social care by when they begin, and the present one: the newest that has begun; None when none has."""
    line = by_begin(known)
    told = [_status(f, reference) for f in line.facts]
    begun = bisect_right(line.ats, today, key=itemgetter(0))
    return told, told[begun - 1] if begun else None


def by_begin(known: Known) -> Line:
    """Statuses with social care by their first day; those of one day as they were told."""
    return known.line("statuses", ("SocialCareStatus",), lambda f: (begins(f), in_time(f)))


def begins(fact: Fact) -> str:
    """The first day of a status: as it is told, or when it happened."""
    return fact.body.get("from_date") or local_date_of(happened(fact))


def _status(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "code": b["status"], "label": reference.label("social-care-status", b["status"]), "from": b.get("from_date"),
        "cp_category": b.get("cp_category"), "cp_category_label": reference.label("cp-category", b.get("cp_category")),
        "legal_status": b.get("legal_status"), "placing_la": b.get("placing_la"), "team": b.get("team"),
        "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def registration(known: Known, today: str) -> Fact | None:
    """The GP registration now in force: the latest that has begun, of several from one day the one recorded last; its
    `practice_ods` may be null (none known).
    """
    line = known.by_day("GpRegistration", "registered_from")
    begun = bisect_right(line.ats, today)
    if not begun:
        return None
    last = bisect_left(line.ats, line.ats[begun - 1])
    return line.facts[last] if last == begun - 1 else last_told(sorted(line.facts[last:begun], key=in_time))


def practice(known: Known, today: str) -> Json | None:
    """The child's registered practice; null when none is known."""
    fact = registration(known, today)
    if fact is None or fact.body["practice_ods"] is None:
        return None
    return {
        "ods": fact.body["practice_ods"],
        "from": fact.body["registered_from"],
        "sharing": label_of(fact),
        "facts": [fact.event_id],
    }


def grades(known: Known, reference: Reference) -> tuple[list[Json], list[Json]]:
    """Each agency's newest grade on each scale, and where agencies differ (R6). Never one agency's over another's."""
    newest: dict[tuple[str, str], Fact] = {(f.body["scale"], f.agency): f for f in known.current.get("RiskGraded", ())}
    items = [_grade(newest[k], reference) for k in sorted(newest)]
    ranks = reference.ranks["risk-grade"]
    differ = []
    for scale in sorted({s for s, _ in newest}):
        held = [newest[k] for k in sorted(newest) if k[0] == scale]
        levels = [ranks.get(f.body["grade"], 0) for f in held]
        if max(levels) > min(levels):
            differ.append(
                {"agencies": [f.agency for f in held], "scale": scale, "levels": max(levels) - min(levels), **rest_on(held)}
            )
    return items, differ


def _grade(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "agency": fact.agency, "scale": b["scale"], "scale_label": reference.label("risk-scale", b["scale"]), "grade": b["grade"],
        "label": reference.label("risk-grade", b["grade"]), "own_label": b.get("own_label"), "at": fact.occurred_at,
        "rationale": b.get("rationale"), "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def cpis(known: Known, reference: Reference) -> Json:
    """CP-IS plans (newest telling of each) and attendance alerts, newest first."""
    alerts = [_alert(f, reference) for f in reversed(known.current.get("CpisAttendanceAlert", ()))]
    return {"status": [_plan(f, reference) for f in plans(known)], "alerts": alerts}


def _plan(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "plan_type": b["plan_type"], "label": reference.label("cpis-plan-type", b["plan_type"]), "start": b.get("start_date"),
        "end": b.get("end_date"), "la_name": b.get("la_name"), "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def _alert(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "at": b["accessed_at"], "site_ods": b["site_ods"], "role_label": reference.label("accessor-role", b["accessor_role"]),
        "unscheduled": b["unscheduled"], "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def vpas(known: Known, reference: Reference) -> list[Json]:
    """Police vulnerability submissions, newest first, with the child's voice or that it is missing (R18)."""
    return [_submission(f, reference) for f in reversed(known.current.get("VulnerabilitySubmission", ()))]


def voice_missing(fact: Fact) -> bool:
    """Neither what the child said nor why not is told."""
    return not (fact.body.get("what_child_said") or "").strip() and not (fact.body.get("why_not") or "").strip()


def _submission(fact: Fact, reference: Reference) -> Json:
    b = fact.body
    return {
        "event_id": fact.event_id, "occurred_at": fact.occurred_at, "concerns": list(b["concerns"]),
        "concern_labels": [reference.label("concern", c) for c in b["concerns"]], "exploitation": list(b["exploitation"]),
        "exploitation_labels": [reference.label("exploitation-indicator", c) for c in b["exploitation"]],
        "seen": b["seen"], "seen_alone": b["seen_alone"], "spoken_to": b["spoken_to"], "voice": b.get("what_child_said"),
        "why_not": b.get("why_not"), "voice_missing": voice_missing(fact), "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def plans(known: Known) -> list[Fact]:
    """The newest telling of each CP-IS plan: of each agency by its own clock, between agencies by when it happened."""
    told = newest_telling(known.current.get("CpisStatusChanged", ()), lambda f: (f.agency, *plan_of(f)))
    newest = {plan_of(f): f for f in sorted(told.values(), key=in_time)}
    return [newest[k] for k in sorted(newest)]


def plan_of(fact: Fact) -> tuple[str, str]:
    """Which plan a CpisStatusChanged tells of: by its type and its first day."""
    return fact.body["plan_type"], fact.body.get("start_date") or ""


def status_facts(line: Line, spans: Iterable[Fact], first: str, last: str, wanted: frozenset[str]) -> list[Fact]:
    """The facts by which the child's status was one of `wanted` (CP, LAC) on a day from `first` to `last`: social care's own
    (`by_begin`), or CP-IS (`plans`).

    On the day on which a status begins, the one before it held as well; of several from one day, only the one told last.
    """
    since = max(0, bisect_left(line.ats, first, key=itemgetter(0)) - 1)
    upto = bisect_right(line.ats, last, key=itemgetter(0))
    held = {begins(f): f for f in line.facts[since:upto]}.values()
    own = [f for f in held if f.body["status"] in wanted]
    types = {plan_type for plan_type, status in PLANNED.items() if status in wanted}
    return own + [
        f
        for f in spans
        if (b := f.body)["plan_type"] in types and (b.get("start_date") or "") <= last and (b.get("end_date") or NO_END) >= first
    ]
