"""Made-up children for tests of the domain: a history is written one fact a line; numbers and acceptance count up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domain.conclude import conclude
from domain.fold import fold, parts
from domain.model import Conclusion, Fact, History, Json, Link, Presentation, make_id
from domain.times import DAY_US, HOUR_US
from schemas.policies import reference

REFERENCE = reference()
DAY, HOUR = DAY_US, HOUR_US
NOW = 1_772_000_000_000_000 // DAY_US * DAY_US + 12 * HOUR_US
"""A noon at the end of February 2026, UTC (London is on UTC then)."""

CHILD = make_id("child", "test")
WHO = {"child_id": CHILD, "by": "m1", "by_role": "icart_manager"}
"""A manager, of this child."""

BLANKS: dict[str, dict[str, Any]] = {
    "VulnerabilitySubmission": {
        "submission_id": "v",
        "concerns": [],
        "exploitation": [],
        "seen": "YES",
        "seen_alone": "YES",
        "spoken_to": "YES",
        "what_child_said": "Leave me alone",
        "why_not": None,
        "narrative": None,
    },
    "SchoolConcern": {"concern_id": "c", "concerns": [], "exploitation": [], "narrative": None, "child_words": None},
    "SchoolAbsence": {
        "from_date": "2026-01-12",
        "to_date": "2026-02-06",
        "sessions_missed": 25,
        "sessions_possible": 40,
        "reason": "UNAUTHORISED",
    },
    "NoSchoolProvision": {"from_date": "2026-02-02", "to_date": None, "reason": "AWAITING_PLACE", "hours_offered": 0},
    "SocialCareStatus": {
        "status": "CIN",
        "from_date": "2025-09-01",
        "cp_category": None,
        "legal_status": None,
        "placing_la": None,
        "team": "East",
    },
    "MissingEpisodeReported": {
        "episode_id": "e1",
        "episode_type": "M",
        "last_seen_at": 0,
        "last_seen_place": None,
        "circumstances": None,
        "out_of_character": None,
    },
    "MissingEpisodeGraded": {"episode_id": "e1", "grade": "MEDIUM", "own_label": "Medium", "graded_by": None, "rationale": None},
    "MissingEpisodeEnded": {
        "episode_id": "e1",
        "outcome": "RETURNED",
        "started_at": None,
        "ended_at": 0,
        "found_place": None,
        "harm": [],
        "found_with": [],
        "prevention_check_done": None,
        "narrative": None,
    },
    "ReturnHomeInterviewOffered": {"interview_id": "i1", "episode_ref": None, "offered_at": 0, "offered_by": None},
    "ReturnHomeInterviewDeclined": {
        "interview_id": "i1",
        "episode_ref": None,
        "declined_at": 0,
        "reason": "CHILD_DECLINED",
        "reason_text": None,
    },
    "ReturnHomeInterviewCompleted": {
        "interview_id": "i1",
        "episode_ref": None,
        "completed_at": 0,
        "method": None,
        "independent": True,
        "alone": True,
        "push": [],
        "pull": [],
        "harm": [],
        "child_words": None,
        "where_stayed": None,
        "with_whom": [],
        "disclosed_crime": None,
        "safety_plan": None,
        "consent_to_share": None,
    },
    "CpisStatusChanged": {
        "plan_type": "CPPI",
        "start_date": "2025-12-01",
        "end_date": None,
        "la_code": "876",
        "la_name": "Halton",
        "la_contact": None,
        "source_ref": None,
    },
    "CpisAttendanceAlert": {
        "plan_type": "CPPI",
        "site_ods": "RBN01",
        "accessed_at": 0,
        "accessor_role": "ED_CLINICIAN",
        "accessor_org": None,
        "unscheduled": True,
        "previous_accesses": 0,
    },
    "RiskGraded": {
        "grade": "MEDIUM",
        "own_label": None,
        "scale": "EXPLOITATION",
        "previous_grade": None,
        "rationale": None,
        "what_changed": None,
        "childs_view": None,
    },
    "InvolvementRecorded": {"service": "CAMHS", "from_date": "2026-01-01", "to_date": None, "lead_role": None, "contact": None},
    "WorkerAllocated": {
        "worker_role": "SOCIAL_WORKER",
        "worker_name": "A. Marsh",
        "team": "East",
        "contact": None,
        "from_date": "2026-01-01",
        "to_date": None,
    },
    "GpRegistration": {"practice_ods": "N81001", "registered_from": "2020-01-01", "previous_ods": None},
    "CsogOutcome": {
        "outcome_id": "o",
        "csog_date": "2026-02-20",
        "level_agency": "MEDIUM",
        "level_joint": "MEDIUM",
        "what_changed": "New belongings",
        "gp_action": "Add the codes",
        "gp_action_due": None,
        "lead_professional": {"role": "Social worker", "contact": "0151 496 0000"},
        "snomed_add": ["919461000000108"],
        "snomed_end": [],
        "plan_ref": None,
        "do_not_show_to_patient_online": True,
        "subject_may_be_informed": True,
        "review_date": None,
    },
    "Retraction": {"reason": "ENTERED_IN_ERROR", "explanation": None},
}

INSTANTS = {
    "MissingEpisodeReported": "last_seen_at",
    "MissingEpisodeEnded": "ended_at",
    "ReturnHomeInterviewOffered": "offered_at",
    "ReturnHomeInterviewDeclined": "declined_at",
    "ReturnHomeInterviewCompleted": "completed_at",
    "CpisAttendanceAlert": "accessed_at",
}


class Child:
    """A history under construction. `now` is when the next entry is accepted (µs UTC)."""

    def __init__(self, birth_date: str = "2011-05-05", nhs_number: str | None = "9990000018", **fields: str) -> None:
        self.history = History(CHILD)
        self.number = 0
        self._fields = {
            "given_name": "Robin",
            "family_name": "Test",
            "birth_date": birth_date,
            "sex": "F",
            "nhs_number": nhs_number,
            "nhs_number_status": "01" if nhs_number else None,
            **fields,
        }

    def shows(self, agency: str, at: int = NOW - 400 * DAY, **fields: str | None) -> str:
        """A presentation of `agency` on this child; its id."""
        self.number += 1
        pid = make_id("presentation", agency, self.number)
        only = {"nhs_number": None, "nhs_number_status": None} if agency not in ("health", "csc") else {}
        shown = Presentation(pid, agency, self.number, at, {"local_id": f"{agency}-1", **self._fields, **only, **fields})
        link = Link(pid, CHILD, self.number, at, None, None, "FIRST_SEEN", (), None)
        h = self.history
        self.history = replace(h, presentations=(*h.presentations, shown), links=(*h.links, link))
        return pid

    def says(self, agency: str, record: str, at: int, body: dict[str, Any] | None = None, **envelope: Any) -> Fact:
        """A fact of `agency` about something at `at`, accepted an hour after unless `accepted_at` is given."""
        pid = next((p.presentation_id for p in self.history.presentations if p.agency == agency), None) or self.shows(agency)
        self.number += 1
        told = dict(BLANKS[record])
        if record in INSTANTS:
            told[INSTANTS[record]] = at
        told |= body or {}
        defaults: dict[str, Any] = {
            "number": self.number,
            "accepted_at": at + HOUR,
            "event_id": make_id("event", agency, self.number),
            "agency": agency,
            "record": record,
            "presentation_id": pid,
            "occurred_at": at,
            "recorded_at": at,
            "reported_by": "Tester",
            "regime": "UKGDPR",
            "sensitivity": "ORDINARY",
            "scope": "PARTNERSHIP",
            "historic": False,
            "supersedes": None,
            "retracts": None,
            "body": told,
        }
        fact = Fact(**(defaults | envelope))
        self.history = replace(self.history, facts=(*self.history.facts, fact))
        return fact

    def retracts(self, fact: Fact, at: int = NOW, **envelope: Any) -> Fact:
        """The agency withdraws a fact."""
        return self.says(fact.agency, "Retraction", at, retracts=fact.event_id, **envelope)

    def moves(self, presentation_id: str, to_child: str, at: int) -> None:
        """A presentation is linked to another child from `at` on."""
        self.number += 1
        links = tuple(
            replace(x, to_number=self.number, to_at=at) if x.presentation_id == presentation_id and x.to_at is None else x
            for x in self.history.links
        )
        new = Link(presentation_id, to_child, self.number, at, None, None, "UNDONE", (), "a1")
        self.history = replace(self.history, links=(*links, new))

    def concludes(self, now: int = NOW, **clock: Any) -> list[tuple[str, Json]]:
        """What is concluded at `now`; it is added to the history."""
        found = conclude(parts(self.history, REFERENCE, now), REFERENCE, now, **clock)
        self.adds(found, now)
        return found

    def adds(self, found: list[tuple[str, Json]], now: int = NOW) -> int:
        """Conclusions of one entry; its number."""
        self.number += 1
        new = tuple(Conclusion(self.number, now, kind, data) for kind, data in found)
        self.history = replace(self.history, conclusions=(*self.history.conclusions, *new))
        return self.number

    def view(self, as_of: int = NOW, known_at: int | None = None) -> Json:
        """The child's view."""
        return fold(self.history, REFERENCE, as_of, known_at)


def r19(missed: int = 25) -> Child:
    """The R19 child: five weak signals of school and police over six weeks, on an open child-in-need case."""
    child = Child()
    child.says("csc", "SocialCareStatus", NOW - 160 * DAY)
    child.says("education", "SchoolAbsence", NOW - 40 * DAY, {"sessions_missed": missed})
    child.says("police", "VulnerabilitySubmission", NOW - 33 * DAY, {"concerns": ["BAD_HOUSING"]})
    child.says("education", "SchoolConcern", NOW - 25 * DAY, {"concerns": ["WEIGHT_LOSS"]})
    child.says("police", "VulnerabilitySubmission", NOW - 12 * DAY, {"concerns": ["CRIME_SUSPECT"]})
    child.says("education", "SchoolConcern", NOW - 4 * DAY, {"concerns": ["UNSUITABLE_ADULTS"]})
    return child


def csog(practice: str | None = "N81001", nhs: str | None = "9990000018", **outcome: Any) -> Child:
    """A child with a practice and a CSOG outcome of yesterday."""
    child = Child(nhs_number=nhs)
    child.shows("health")
    if practice:
        child.says("health", "GpRegistration", NOW - 300 * DAY, {"practice_ods": practice})
    child.says("csc", "CsogOutcome", NOW - DAY, outcome.pop("body", None), **outcome)
    return child


def kinds(found: list[tuple[str, Json]]) -> list[str]:
    """Kinds only."""
    return [k for k, _ in found]
