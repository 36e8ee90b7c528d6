"""Child views for the web's tests: documents as docs/child-view.md describes them, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid5

from domain.model import IDS, Json
from domain.times import DAY_US, HOUR_US
from schemas.codes import label

NOW = 1_780_000_000_000_000
"""28 May 2026, 21:26 in London."""

PASSWORD = "correct horse battery"
PRACTICE = "N81001"
OTHER_PRACTICE = "N81002"
OPEN = {"regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "PARTNERSHIP"}


def an_id(name: str) -> str:
    """A stable UUID for a name."""
    return str(uuid5(IDS, f"webworld/{name}"))


def sharing(agency: str, **changes: str) -> Json:
    """A sharing label."""
    return {"agency": agency, **OPEN, **changes}


CALLUM, MIA, NOAH, AISHA, SEALED = (an_id(n) for n in ("callum", "mia", "noah", "aisha", "sealed"))
CALLUM_REC, MIA_REC, NOAH_REC, AISHA_REC = (an_id(f"rec/{n}") for n in ("callum", "mia", "noah", "aisha"))
AISHA_JOINED_REC = an_id("rec/aisha/joined")
MATCH, OLD_MATCH = an_id("match"), an_id("match/old")
MESSAGE, LOST_MESSAGE = an_id("message"), an_id("message/lost")
LETTER = an_id("letter")
CSOG = an_id("csog/mia")

CANARIES: dict[str, tuple[str, ...]] = {
    "CANARY-police-intelligence": ("icart_health", "icart_education"),
    "CANARY-in-confidence": ("icart_police", "icart_health", "icart_education"),
    "CANARY-statutory-only": ("icart_education",),
    "CANARY-owner-health": ("icart_social_worker", "icart_police", "icart_education", "edt"),
    "CANARY-camhs-detail": ("icart_police", "icart_education", "edt"),
    "CANARY-sealed": ("icart_social_worker", "icart_police", "icart_health", "icart_education", "edt"),
}
"""Text in a fact → roles that must never be sent it. Board analyst and admin must be sent none of them."""


def presentation(agency: str, local: str, given: str, family: str, born: str, **more: Any) -> Json:
    """An item of `identity`."""
    fields = {
        "local_id": local,
        "given_name": given,
        "family_name": family,
        "birth_date": born,
        "sex": "M",
        "postcode": None,
    } | more
    numbers = [
        {"system": k, "value": fields[k], "valid": True, "trusted": True}
        for k in ("nhs_number", "upn", "pnc", "la_child_id")
        if fields.get(k)
    ]
    return {
        "presentation_id": an_id(f"{agency}/{local}"),
        "agency": agency,
        "local_id": local,
        "fields": fields,
        "identifiers": numbers,
        "first_seen": NOW - 300 * DAY_US,
        "linked": {"rule": "first", "evidence": [], "at": NOW - 300 * DAY_US, "by": None},
        "number": 1,
        "sharing": sharing(agency),
        "sharing_any": [sharing(agency)],
    }


def fact(
    agency: str, title: str, days: float, lines: Sequence[tuple[str, str]], record: str = "SchoolConcern", **changes: Any
) -> Json:
    """An item of `chronology`."""
    at = NOW - int(days * DAY_US)
    event_id = changes.pop("event_id", an_id(f"{agency}{title}{days}"))
    label_of = {k: changes.pop(k) for k in ("regime", "sensitivity", "scope") if k in changes}
    return {
        "event_id": event_id,
        "agency": agency,
        "agency_label": label("agency", agency),
        "record": record,
        "title": title,
        "occurred_at": at,
        "recorded_at": at,
        "accepted_at": at + HOUR_US,
        "reported_by": "officer",
        "historic": days > 60,
        "state": "CURRENT",
        "body": {},
        "lines": [list(x) for x in lines],
        "sharing": sharing(agency, **label_of),
        "facts": [event_id],
        **changes,
    }


def reason(rule: str, text: str, points: int, *agencies: str, trigger: bool = False, **label_of: str) -> Json:
    """A reason of risk or of a recommendation."""
    labels = [sharing(a, **label_of) for a in agencies]
    return {
        "rule": rule,
        "text": text,
        "points": points,
        "trigger": trigger,
        "facts": [],
        "agencies": list(agencies),
        "sharing": labels[0],
        "sharing_all": labels[1:],
    }


def recommendation(
    rid: str, state: str, due_in_h: float, reasons: list[Json], *, basis: str = "POINTS", history: list[Json] | None = None
) -> Json:
    """An item of `recommendations`."""
    due_at = NOW + int(due_in_h * HOUR_US)
    to = [
        {"role": "icart_manager", "role_label": "iCART manager", "other_than": []},
        {"role": "edt", "role_label": "Emergency duty team", "other_than": []},
    ]
    passed_on = {"at": due_at + 1_000_000, "what": "DECISION", "due_at": due_at, "to": to, "behind": []}
    return {
        "recommendation_id": rid,
        "state": state,
        "basis": basis,
        "raised_at": NOW - 20 * HOUR_US,
        "due_at": due_at,
        "points": sum(r["points"] for r in reasons),
        "policy": "p1",
        "reasons": reasons,
        "version": 100,
        "evidence_changed": state == "EVIDENCE_CHANGED",
        "history": history or [],
        "disagreements": [],
        "open": state in ("OPEN", "OVERDUE", "EVIDENCE_CHANGED"),
        "held_due_at": NOW + DAY_US if state == "CONVENED" else None,
        "passed_on": passed_on if state == "OVERDUE" else None,
    }


def view(child_id: str, identity: list[Json], **sections: Any) -> Json:
    """A whole child view, empty where nothing is given."""
    first = identity[0]["fields"]
    seen = {i["agency"] for i in identity}
    currency = [
        {
            "agency": a,
            "label": label("agency", a),
            "last_received": NOW - 3 * DAY_US if a in seen else None,
            "last_occurred": NOW - 4 * DAY_US if a in seen else None,
            "facts": 4 if a in seen else 0,
        }
        for a in ("police", "csc", "health", "education", "yjs", "probation", "rhi")
    ]
    empty: Json = {
        "child_id": child_id,
        "as_of": NOW,
        "known_at": None,
        "version": 100,
        "policy": {"id": "p1", "title": "First policy, version 1"},
        "evaluated_at": NOW - HOUR_US,
        "not_evaluated": [],
        "merged_into": None,
        "name": {"given": first["given_name"], "family": first["family_name"]},
        "birth_date": first["birth_date"],
        "sex": first["sex"],
        "said_by": {},
        "identity": identity,
        "possible_matches": [],
        "rejected_matches": [],
        "undone_matches": [],
        "involved": [],
        "currency": currency,
        "status": None,
        "status_history": [],
        "practice": None,
        "chronology": [],
        "missing": [],
        "interviews_unpaired": [],
        "vpas": [],
        "cpis": {"status": [], "alerts": []},
        "education": {"absence": [], "no_provision": [], "concerns": []},
        "grades": [],
        "grade_differences": [],
        "risk": {
            "points": 0,
            "threshold": 10,
            "harm": False,
            "reasons": [],
            "unknown": [],
            "protective": [],
            "none_received_as_of": {},
        },
        "recommendations": [],
        "messages": [],
        "case": None,
        "defects": [],
        "changes_at": None,
        "due_at": None,
    }
    return empty | sections


def callum() -> Json:
    """The R19 child: five weak signals of police and education on an open CIN."""
    who = [
        presentation("csc", "HAL-004471", "Callum", "Ashworth", "2012-03-14", la_child_id="HAL004471", postcode="WA7 2AB"),
        presentation("education", "S-88213", "Callum", "Ashworth", "2012-03-14", upn="X876200118001", postcode="WA7 2AB"),
    ]
    reasons = [
        reason(
            "TWO_AGENCIES",
            "Two agencies raised concerns within 28 days: Schools and education, Cheshire Constabulary",
            4,
            "education",
            "police",
        ),
        reason("ABSENCE_50", "Absent from school more than half of the sessions since 1 May 2026", 4, "education"),
        reason(
            "POLICE_INTEL", "CANARY-police-intelligence: seen with adults at an address of concern", 3, "police", regime="LED"
        ),
    ]
    match = presentation("police", "NICHE-5531", "Callum", "Ashworth", "2012-03-14", postcode="WA7 4ZZ") | {
        "match_id": MATCH,
        "evidence": ["same full name", "same date of birth", "different postcode"],
        "raised_at": NOW - 5 * DAY_US,
        "state": "OPEN",
    }
    old = presentation("police", "NICHE-1201", "Callum", "Ashworth", "2009-08-02") | {
        "match_id": OLD_MATCH,
        "evidence": ["same full name"],
        "raised_at": NOW - 50 * DAY_US,
        "state": "REJECTED",
        "by_role": "icart_manager",
        "rationale": "Other date of birth; a cousin.",
        "at": NOW - 49 * DAY_US,
    }
    return view(
        CALLUM,
        who,
        possible_matches=[match],
        rejected_matches=[old],
        status={
            "code": "CIN",
            "label": "Child in need",
            "from": "2025-11-03",
            "cp_category": None,
            "placing_la": None,
            "team": "CIN team 2",
            "sharing": sharing("csc"),
            "facts": [],
        },
        status_history=[
            {"code": "CIN", "label": "Child in need", "from": "2025-11-03", "sharing": sharing("csc"), "facts": []},
            {"code": "EARLY_HELP", "label": "Early help", "from": "2025-02-10", "sharing": sharing("csc"), "facts": []},
        ],
        involved=[
            {
                "agency": "csc",
                "service": "SOCIAL_CARE",
                "label": "Children's social care",
                "role": "SOCIAL_WORKER",
                "name": "J. Patel",
                "team": "CIN team 2",
                "contact": "01928 000 000",
                "from": "2025-11-03",
                "to": None,
                "current": True,
                "sharing": sharing("csc"),
                "facts": [],
            },
            {
                "agency": "health",
                "service": "CAMHS",
                "label": "CANARY-camhs-detail",
                "role": None,
                "name": None,
                "team": None,
                "contact": None,
                "from": "2026-01-10",
                "to": None,
                "current": True,
                "sharing": sharing("health", sensitivity="RESTRICTED"),
                "facts": [],
            },
        ],
        practice={"ods": PRACTICE, "from": "2019-09-01", "sharing": sharing("health"), "facts": []},
        chronology=[
            fact(
                "education",
                "School concern",
                3,
                [
                    ("Concerns", "Weight loss, unkempt"),
                    ("Narrative", "Came in twice without lunch; asked for food for his sister."),
                ],
            ),
            fact("police", "Intelligence", 6, [("Text", "CANARY-police-intelligence")], "VulnerabilitySubmission", regime="LED"),
            fact("health", "Note", 9, [("Text", "CANARY-owner-health")], "InvolvementRecorded", scope="OWNER"),
            fact("csc", "Note", 10, [("Text", "CANARY-in-confidence")], "InvolvementRecorded", scope="CONFIDENCE"),
            fact("csc", "Note", 11, [("Text", "CANARY-statutory-only")], "InvolvementRecorded", scope="STATUTORY"),
            fact("csc", "Note", 12, [("Text", "CANARY-sealed")], "InvolvementRecorded", sensitivity="SEALED"),
            fact("education", "School absence", 15, [("Missed", "41 of 60 sessions")], "SchoolAbsence"),
            fact(
                "police",
                "Vulnerability notice",
                20,
                [("Concerns", "Unsuitable adults")],
                "VulnerabilitySubmission",
                state="RETRACTED",
            ),
        ],
        missing=[
            {
                "episode": "M-1",
                "sources": [["police", "M-1"]],
                "type": "M",
                "type_label": "Missing",
                "reported_at": NOW - 9 * DAY_US,
                "last_seen_at": NOW - 9 * DAY_US,
                "started_at": NOW - 9 * DAY_US,
                "ended_at": NOW - 8 * DAY_US,
                "outcome": "FOUND",
                "outcome_label": "Found by police",
                "overnight": True,
                "days": 0,
                "grade": "MEDIUM",
                "grade_label": "Medium",
                "own_label": "Medium",
                "found_with": [],
                "harm": [],
                "contradiction": "Police say found at 23:10, the carer says back at 21:30",
                "interviews": [
                    {
                        "interview_id": "I-1",
                        "state": "COMPLETED",
                        "offered_at": NOW - 8 * DAY_US,
                        "completed_at": NOW - 7 * DAY_US,
                        "declined_at": None,
                        "reason": None,
                        "push": [],
                        "pull": [],
                        "child_words": "Nobody asks where I go.",
                        "in_72h": True,
                        "sharing": sharing("rhi"),
                        "facts": [],
                    }
                ],
                "rhi_clock": {"due_at": NOW - 5 * DAY_US, "state": "MET", "sharing": sharing("police"), "facts": []},
                "sharing": sharing("police"),
                "facts": [],
            }
        ],
        vpas=[
            {
                "event_id": an_id("v1"),
                "occurred_at": NOW - 20 * DAY_US,
                "concerns": [],
                "seen": "YES",
                "seen_alone": "NO",
                "spoken_to": "NO",
                "voice": None,
                "why_not": None,
                "voice_missing": True,
                "sharing": sharing("police"),
                "facts": [],
            },
            {
                "event_id": an_id("v2"),
                "occurred_at": NOW - 30 * DAY_US,
                "concerns": [],
                "seen": "YES",
                "seen_alone": "YES",
                "spoken_to": "YES",
                "voice": "I don't like it when his mates come round.",
                "why_not": None,
                "voice_missing": False,
                "sharing": sharing("police"),
                "facts": [],
            },
        ],
        education={
            "absence": [
                {
                    "from": "2026-05-01",
                    "to": "2026-05-27",
                    "missed": 41,
                    "possible": 60,
                    "rate": 68.3,
                    "reason_label": "Unauthorised",
                    "sharing": sharing("education"),
                    "facts": [],
                }
            ],
            "no_provision": [],
            "concerns": [
                {
                    "at": NOW - 3 * DAY_US,
                    "concerns": [],
                    "narrative": "Came in twice without lunch.",
                    "child_words": "I'm fine.",
                    "sharing": sharing("education"),
                    "facts": [],
                }
            ],
        },
        grades=[
            {
                "agency": "police",
                "scale": "OVERALL",
                "grade": "HIGH",
                "label": "High",
                "own_label": "Gold",
                "at": NOW - 6 * DAY_US,
                "rationale": "Repeat episodes.",
                "sharing": sharing("police"),
                "facts": [],
            },
            {
                "agency": "csc",
                "scale": "OVERALL",
                "grade": "LOW",
                "label": "Low",
                "own_label": None,
                "at": NOW - 30 * DAY_US,
                "rationale": None,
                "sharing": sharing("csc"),
                "facts": [],
            },
        ],
        grade_differences=[{"agencies": ["police", "csc"], "scale": "OVERALL", "levels": 2}],
        risk={
            "points": 11,
            "threshold": 10,
            "harm": False,
            "reasons": reasons,
            "unknown": [{"text": "Whether he has somewhere safe to go at night is not known", "facts": []}],
            "protective": [{"text": "A trusted adult: his form tutor", "facts": []}],
            "none_received_as_of": {},
        },
        recommendations=[recommendation(CALLUM_REC, "OVERDUE", -2.5, reasons)],
    )


def others() -> list[Json]:
    """Declined, convened, evidence changed, sealed."""
    why = [reason("HIGH_MISSING", "Missing at high grade while on a child protection plan", 0, "police", "csc", trigger=True)]
    declined = {
        "at": NOW - 5 * HOUR_US,
        "kind": "declined",
        "by": "account-of-somebody",
        "by_role": "icart_manager",
        "reason": "KNOWN_AND_PLANNED",
        "text": "The core group met yesterday and has a safety plan.",
    }
    convened = {
        "at": NOW - 9 * HOUR_US,
        "kind": "convened",
        "by": "account-of-somebody",
        "by_role": "icart_manager",
        "text": None,
        "meeting_at": "2026-05-29T10:00:00+01:00",
    }
    joined = {"at": NOW - 2 * HOUR_US, "kind": "joined", "by": None, "by_role": None, "text": None, "into": AISHA_REC}
    mia_rec = recommendation(MIA_REC, "DECLINED", -1, why, basis="HARM", history=[declined])
    mia = view(
        MIA,
        [
            presentation(
                "health",
                "L-2",
                "Mia",
                "O’Connor",
                "2011-09-30",
                nhs_number="9990000018",
                sex="F",
                address="14 Canary-Address Road",
                postcode="WA8 6AA",
            )
        ],
        recommendations=[mia_rec],
        practice={"ods": PRACTICE, "from": "2015-01-01", "sharing": sharing("health"), "facts": []},
        chronology=[
            fact(
                "csc",
                "CSOG outcome",
                2,
                [("Level", "High")],
                "CsogOutcome",
                event_id=CSOG,
                body={
                    "outcome_id": "CSOG-2026-14",
                    "csog_date": "2026-05-26",
                    "level_agency": "MEDIUM",
                    "level_joint": "HIGH",
                    "what_changed": "Level raised after three missing episodes in four weeks.",
                    "gp_action": "Record the codes and offer an appointment alone.",
                    "gp_action_due": "2026-06-05",
                    "lead_professional": {"role": "Social worker, CSE team", "contact": "01928 000 001"},
                    "snomed_add": ["919461000000108"],
                    "snomed_end": [],
                    "plan_ref": "PLAN-77 v3",
                    "do_not_show_to_patient_online": True,
                    "subject_may_be_informed": False,
                    "review_date": "2026-06-30",
                },
            )
        ],
        messages=[
            {
                "message_id": MESSAGE,
                "practice_ods": PRACTICE,
                "state": "WAITING",
                "raised_at": NOW - 2 * DAY_US,
                "due_at": NOW + DAY_US,
                "csog_event_id": CSOG,
                "receipts": [],
                "exception": None,
            },
            {
                "message_id": LOST_MESSAGE,
                "practice_ods": OTHER_PRACTICE,
                "state": "REJECTED",
                "raised_at": NOW - 4 * DAY_US,
                "due_at": NOW - DAY_US,
                "csog_event_id": CSOG,
                "receipts": [{"at": NOW - 3 * DAY_US, "state": "REJECTED", "reason": "NOT_OUR_PATIENT"}],
                "exception": {
                    "why": "REJECTED",
                    "version": 40,
                    "for_role": "icart_health",
                    "at": NOW - 3 * DAY_US,
                    "due_at": NOW - 2 * DAY_US,
                    "taken": None,
                    "passed_on": {"at": NOW - 2 * DAY_US, "to": [{"role": "icart_manager", "other_than": []}]},
                    "resolved_at": None,
                    "resolution": None,
                },
            },
        ],
    )
    noah = view(
        NOAH,
        [presentation("csc", "HAL-9", "Noah", "Hughes", "2010-01-05")],
        recommendations=[recommendation(NOAH_REC, "CONVENED", 4, why, basis="HARM", history=[convened])],
        case={"by": "account-of-somebody", "by_role": "icart_social_worker", "at": NOW - HOUR_US},
    )
    aisha = view(
        AISHA,
        [presentation("education", "S-3", "Aisha", "Khan", "2013-12-24", sex="F")],
        recommendations=[
            recommendation(AISHA_REC, "EVIDENCE_CHANGED", 30, why, basis="HARM"),
            recommendation(AISHA_JOINED_REC, "JOINED", 31, why, basis="HARM", history=[joined]),
        ],
    )
    hidden = presentation("csc", "HAL-X", "CANARY-sealed", "Person", "2014-01-01") | {
        "sharing": sharing("csc", sensitivity="SEALED"),
        "sharing_any": [sharing("csc", sensitivity="SEALED")],
    }
    return [mia, noah, aisha, view(SEALED, [hidden])]
