"""One full value of every record in the contract, made by hand: every optional field said, text with accents and quotes.

All people are invented; the NHS number is of the test range, the UPN and PNC id are the vectors of `domain.md` §3a.
"""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]

AT = 1_774_695_600_123_456  # 2026-03-28T11:00:00.123456Z: the day before summer time begins
LATER = AT + 26 * 3_600_000_000
UUIDS = [f"0b0e7c1a-5d1f-4c57-9a3e-0000000000{n:02d}" for n in range(10)]

SUBJECT: Json = {
    "local_id": "LOCAL-0001/ä",
    "nhs_number": "999 000 0018",
    "nhs_number_status": "01",
    "upn": "X876200118001",
    "la_child_id": "876-100234",
    "pnc": "2019/0000001P",
    "given_name": "Zoë",
    "family_name": "O’Testcase",
    "other_names": "née Example; aka 'Zo'",
    "birth_date": "2011-10-30",
    "sex": "F",
    "ethnicity": "MWBC",
    "postcode": "ZZ99 3VZ",
    "address_line": "1 Example Street",
    "gp_ods": "N81001",
    "school_urn": "111001",
}


def envelope(agency: str, **other: Any) -> Json:
    """An envelope with every field said."""
    return {
        "event_id": UUIDS[0],
        "agency": agency,
        "subject": SUBJECT,
        "occurred_at": AT,
        "recorded_at": LATER,
        "reported_by": "designated safeguarding lead",
        "regime": "UKGDPR",
        "sensitivity": "SPECIAL",
        "scope": "STATUTORY",
        "historic": True,
        "supersedes": UUIDS[1],
        "retracts": None,
        "correlation_id": UUIDS[2],
        "causation_id": UUIDS[3],
        **other,
    }


def act(role: str = "icart_manager") -> Json:
    """An act with every field said."""
    return {
        "event_id": UUIDS[0],
        "actor_id": "account-7",
        "actor_role": role,
        "child_id": UUIDS[4],
        "acted_at": AT,
        "based_on": 4711,
        "correlation_id": UUIDS[2],
    }


PROBLEMS = [{"field": "envelope.subject.sex", "rule": "unknown-code", "message": "is not in code list sex"}]

VALUES: dict[str, Json] = {
    "MissingEpisodeReported": {
        "envelope": envelope("police", regime="LED"),
        "episode_id": "MISPER-26/17",
        "episode_type": "M",
        "last_seen_at": AT,
        "last_seen_place": "Runcorn bus station",
        "circumstances": "Left after an argument.",
        "out_of_character": False,
    },
    "MissingEpisodeGraded": {
        "envelope": envelope("police"),
        "episode_id": "MISPER-26/17",
        "grade": "HIGH",
        "own_label": "High (3)",
        "graded_by": "duty inspector",
        "rationale": "Age, weather, earlier episodes.",
    },
    "MissingEpisodeEnded": {
        "envelope": envelope("police"),
        "episode_id": "MISPER-26/17",
        "outcome": "FOUND",
        "started_at": AT,
        "ended_at": LATER,
        "found_place": "Widnes",
        "harm": ["GROOMING", "SUBSTANCE"],
        "found_with": ["OLDER_ASSOCIATE"],
        "prevention_check_done": True,
        "narrative": "Found by a patrol.",
    },
    "ReturnHomeInterviewOffered": {
        "envelope": envelope("rhi"),
        "interview_id": "RHI-9",
        "episode_ref": "MISPER-26/17",
        "offered_at": LATER,
        "offered_by": "return home interviewer",
    },
    "ReturnHomeInterviewDeclined": {
        "envelope": envelope("rhi"),
        "interview_id": "RHI-9",
        "episode_ref": "MISPER-26/17",
        "declined_at": LATER,
        "reason": "CHILD_DECLINED",
        "reason_text": "Not today.",
    },
    "ReturnHomeInterviewCompleted": {
        "envelope": envelope("rhi", scope="CONFIDENCE"),
        "interview_id": "RHI-9",
        "episode_ref": "MISPER-26/17",
        "completed_at": LATER,
        "method": "FACE_TO_FACE",
        "independent": True,
        "alone": True,
        "push": ["FAMILY_CONFLICT"],
        "pull": ["PEERS", "PARTIES"],
        "harm": ["NONE_KNOWN"],
        "child_words": "“I just wanted quiet.”",
        "where_stayed": "at a friend's",
        "with_whom": ["FRIENDS"],
        "disclosed_crime": False,
        "safety_plan": "Ring home by ten.",
        "consent_to_share": True,
    },
    "VulnerabilitySubmission": {
        "envelope": envelope("police"),
        "submission_id": "VPA-1",
        "concerns": ["UNSUITABLE_ADULTS"],
        "exploitation": ["OLDER_ASSOCIATES"],
        "seen": "YES",
        "seen_alone": "NO",
        "spoken_to": "NOT_KNOWN",
        "what_child_said": "Nothing.",
        "why_not": "Asleep.",
        "narrative": "A call to the address.",
    },
    "CpisStatusChanged": {
        "envelope": envelope("health"),
        "plan_type": "CPPI",
        "start_date": "2026-01-05",
        "end_date": "2026-03-27",
        "la_code": "E06000006",
        "la_name": "Halton",
        "la_contact": "0151 496 0000",
        "source_ref": "CarePlan/1",
    },
    "CpisAttendanceAlert": {
        "envelope": envelope("health"),
        "plan_type": "LACI",
        "site_ods": "RBN01",
        "accessed_at": AT,
        "accessor_role": "ED_CLINICIAN",
        "accessor_org": "RBN",
        "unscheduled": True,
        "previous_accesses": 25,
    },
    "SchoolConcern": {
        "envelope": envelope("education"),
        "concern_id": "C-1",
        "concerns": ["WEIGHT_LOSS", "ABSENCE"],
        "exploitation": ["TRAVEL"],
        "narrative": "Seen thinner.",
        "child_words": "“I'm fine.”",
    },
    "SchoolAbsence": {
        "envelope": envelope("education"),
        "from_date": "2026-03-02",
        "to_date": "2026-03-27",
        "sessions_missed": 21,
        "sessions_possible": 40,
        "reason": "UNAUTHORISED",
    },
    "NoSchoolProvision": {
        "envelope": envelope("education"),
        "from_date": "2026-03-02",
        "to_date": "2026-03-27",
        "reason": "PART_TIME_TIMETABLE",
        "hours_offered": 10,
    },
    "SocialCareStatus": {
        "envelope": envelope("csc"),
        "status": "CP",
        "from_date": "2026-01-05",
        "cp_category": "NEGLECT",
        "legal_status": "C2",
        "placing_la": "Elsewhere",
        "team": "East",
    },
    "WorkerAllocated": {
        "envelope": envelope("csc"),
        "worker_role": "SOCIAL_WORKER",
        "worker_name": "A. Worker",
        "team": "East",
        "contact": "0151 496 0001",
        "from_date": "2026-01-05",
        "to_date": "2026-03-27",
    },
    "RiskGraded": {
        "envelope": envelope("yjs"),
        "grade": "VERY_HIGH",
        "own_label": "4",
        "scale": "EXPLOITATION",
        "previous_grade": "LOW",
        "rationale": "New peers.",
        "what_changed": "Two episodes.",
        "childs_view": "Disagrees.",
    },
    "InvolvementRecorded": {
        "envelope": envelope("probation"),
        "service": "PROBATION",
        "from_date": "2026-01-05",
        "to_date": "2026-03-27",
        "lead_role": "probation practitioner",
        "contact": "0151 496 0002",
    },
    "GpRegistration": {
        "envelope": envelope("health"),
        "practice_ods": "N81001",
        "registered_from": "2026-03-01",
        "previous_ods": "N81002",
    },
    "CsogOutcome": {
        "envelope": envelope("csc"),
        "outcome_id": "CSOG-26-3-17",
        "csog_date": "2026-03-24",
        "level_agency": "MEDIUM",
        "level_joint": "HIGH",
        "what_changed": "Risk rose.",
        "gp_action": "Code the concern.",
        "gp_action_due": "2026-03-31",
        "lead_professional": {"role": "social worker", "contact": "0151 496 0003"},
        "snomed_add": ["919461000000108"],
        "snomed_end": ["861931000000100"],
        "plan_ref": "plan/1/7",
        "do_not_show_to_patient_online": True,
        "subject_may_be_informed": False,
        "review_date": "2026-06-24",
    },
    "Retraction": {
        "envelope": envelope("education", supersedes=None, retracts=UUIDS[5]),
        "reason": "WRONG_CHILD",
        "explanation": "The cousin's record.",
    },
    "CaseTaken": {"act": act("icart_social_worker"), "taken": True},
    "ClockFired": {"act": act("clock"), "due_at": LATER, "behind": ["facts.police[0]", "receipts[0]"]},
    "RecommendationDecided": {
        "act": act(),
        "recommendation_id": UUIDS[6],
        "decision": "DECLINE",
        "reason": "OTHER_RESPONSE",
        "rationale": "Early help first.",
        "meeting_at": "2026-03-30T10:00:00+01:00",
    },
    "RecommendationDisagreed": {
        "act": act("icart_police"),
        "recommendation_id": UUIDS[6],
        "agency": "police",
        "ground": "Two weak signals.",
    },
    "RecommendationClosed": {"act": act(), "recommendation_id": UUIDS[6], "rationale": "The evidence was withdrawn."},
    "StrategyMeetingHeld": {
        "act": act(),
        "recommendation_id": UUIDS[6],
        "held_at": AT,
        "attended": ["police", "csc", "health"],
        "outcome": "ASSESSMENT",
        "outcome_text": "Assess within 15 working days.",
    },
    "MatchConfirmed": {"act": act(), "match_id": UUIDS[7], "rationale": "Same address."},
    "MatchRejected": {"act": act(), "match_id": UUIDS[7], "rationale": "Cousins."},
    "MatchUndone": {"act": act(), "match_id": UUIDS[7], "rationale": "Was a mistake."},
    "GpReceipt": {
        "act": act("gp_practice"),
        "message_id": UUIDS[8],
        "practice_ods": "N81001",
        "state": "REJECTED",
        "reason": "NOT_OUR_PATIENT",
    },
    "GpExceptionTaken": {"act": act("icart_health"), "message_id": UUIDS[8], "taken": True},
    "GpExceptionResolved": {"act": act(), "message_id": UUIDS[8], "resolution": "Rang the practice."},
    "Outcome": {
        "event_id": UUIDS[0],
        "record": "SchoolConcern",
        "verdict": "REFUSED",
        "reason": "invalid",
        "problems": PROBLEMS,
        "source_topic": "facts.education",
        "source_partition": 1,
        "source_offset": 4_294_967_296,
        "number": 12,
        "accepted_at": AT,
    },
    "DeadLetter": {
        "letter_id": UUIDS[9],
        "agency": "education",
        "event_id": UUIDS[0],
        "record": "SchoolConcern",
        "reason": "invalid",
        "message": "Mend the field and send it again.",
        "problems": PROBLEMS,
        "source_topic": "facts.education",
        "source_partition": 1,
        "source_offset": 7,
        "number": 12,
        "accepted_at": AT,
    },
    "RecommendationNotice": {
        "notice_id": UUIDS[9],
        "recommendation_id": UUIDS[6],
        "child_id": UUIDS[4],
        "state": "OVERDUE",
        "due_at": LATER,
        "number": 13,
        "at": AT,
        "passed_to": ["icart_manager", "edt"],
    },
    "GpMessagePointer": {
        "notice_id": UUIDS[9],
        "message_id": UUIDS[8],
        "practice_ods": "N81001",
        "change": "WAITING",
        "number": 14,
        "at": AT,
    },
    "PulseCount": {"agency": "police", "record": "SchoolConcern", "window_start": AT, "window_seconds": 3600, "facts": 99},
    "AccessRecorded": {
        "access_id": UUIDS[1],
        "at": AT,
        "actor_id": "account-7",
        "role": "icart_manager",
        "action": "view",
        "purpose": "decision",
        "children": [UUIDS[4]],
    },
    "LedgerEntry": {
        "number": 15,
        "incarnation": 1,
        "kind": "FACT",
        "accepted_at": AT,
        "source_topic": "facts.education",
        "source_partition": 1,
        "source_offset": 7,
        "agency": "education",
        "record": "SchoolConcern",
        "event_id": UUIDS[0],
        "verdict": "ACCEPTED",
        "reason": "quality",
        "problems": PROBLEMS,
        "content": b"\x00\xff\x10",
        "writer": "ab" * 32,
        "policy": "cd" * 32,
        "codes": "ef" * 32,
        "presentation_id": UUIDS[3],
        "clear": b"text",
        "sections": [
            {"holder": UUIDS[3], "record_class": "education", "part": "fact", "nonce": bytes(12), "data": b"\x01\x02\x03"}
        ],
    },
    "Takeover": {"incarnation": 1, "epoch": 3, "after": 15, "at": AT},
    "WrappedKey": {"holder": UUIDS[3], "record_class": "education", "wrapped": bytes(range(8)), "created_at": AT},
}


def changed(record: str, path: str, to: Any) -> Json:
    """A golden value with one field changed."""
    value = copy.deepcopy(VALUES[record])
    node = value
    *above, last = path.split(".")
    for key in above:
        node = node[key]
    node[last] = to
    return value
