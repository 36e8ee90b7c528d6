"""What agencies notice: single facts about a child at an instant (µs UTC). Concerns are weak unless a scenario says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from domain.times import DAY_US, HOUR_US, local, local_date_of
from producers.halton import rates
from producers.halton.facts import Scribe, SimulatedFact
from producers.halton.population import EMERGENCY_DEPARTMENTS, weighted

LA_CONTACT: Final = "Halton iCART, 0151 496 0000"
"""A number of Ofcom's range for drama: nobody answers."""

WORKERS: Final = (
    "A. Marsh", "B. Tanner", "C. Quayle", "D. Lockett", "E. Ferris", "F. Weaver", "G. Bridge", "H. Sankey", "J. Norton",
)  # fmt: skip
ABSENCE_REASONS: Final = (
    ("UNAUTHORISED", 0.5), ("ILLNESS", 0.25), ("NO_REASON", 0.15), ("EXCLUDED", 0.05), ("OTHER_AUTHORISED", 0.05),
)  # fmt: skip
NO_PLACE_REASONS: Final = (
    ("PART_TIME_TIMETABLE", 0.35), ("PERMANENT_EXCLUSION", 0.2), ("AWAITING_PLACE", 0.2), ("SUSPENSION", 0.15), ("HEALTH", 0.1),
)  # fmt: skip

POLICE_CONCERNS: Final = (
    ("DOMESTIC_ABUSE", 0.34), ("ANTISOCIAL", 0.15), ("CRIME_SUSPECT", 0.12), ("CRIME_VICTIM", 0.09), ("NEGLECT", 0.09),
    ("MENTAL_HEALTH", 0.07), ("BAD_HOUSING", 0.05), ("SUBSTANCE", 0.05), ("ONLINE", 0.04), ("INJURY_ABUSE", 0.005),
    ("DISCLOSURE_ABUSE", 0.005),
)  # fmt: skip
SCHOOL_CONCERNS: Final = (
    ("CHANGE_IN_BEHAVIOUR", 0.24), ("NEGLECT", 0.18), ("ABSENCE", 0.14), ("MENTAL_HEALTH", 0.12), ("DOMESTIC_ABUSE", 0.09),
    ("ONLINE", 0.08), ("WEIGHT_LOSS", 0.04), ("UNSUITABLE_ADULTS", 0.03), ("SUBSTANCE", 0.03), ("SELF_HARM", 0.03),
    ("DISCLOSURE_ABUSE", 0.012), ("INJURY_ABUSE", 0.008),
)  # fmt: skip
SAW: Final = {
    "DOMESTIC_ABUSE": "Called to an argument between adults; the child was in the next room.",
    "ANTISOCIAL": "With a group throwing stones at buses.",
    "CRIME_SUSPECT": "Named in a report of theft from a shop.",
    "CRIME_VICTIM": "Phone taken by older young people.",
    "NEGLECT": "Clothes dirty, no food in the house that we could see.",
    "MENTAL_HEALTH": "Very low, says nothing is worth it.",
    "BAD_HOUSING": "House cold, broken window, rubbish on the stairs, no lock on the door.",
    "SUBSTANCE": "Smelled of cannabis.",
    "ONLINE": "Messages from somebody they have not met.",
    "INJURY_ABUSE": "Bruises on the upper arm that the explanation does not fit.",
    "DISCLOSURE_ABUSE": "Said that an adult at home hits them.",
    "CHANGE_IN_BEHAVIOUR": "Withdrawn for two weeks, was not like this before.",
    "ABSENCE": "Late or away most days this month.",
    "WEIGHT_LOSS": "Has lost weight since the autumn; trousers held up with a cord.",
    "UNSUITABLE_ADULTS": "Collected by adults whom staff do not know and who had been drinking.",
    "SELF_HARM": "Marks on the forearm.",
    "EXPLOITATION": "New phone, new trainers, will not say from whom.",
}
SAID: Final = (
    "I just want it to stop.", "It is fine, leave it.", "I do not like being at home when they argue.", "Nobody asks me.",
    "I want to live with my nan.", "I would like somebody to talk to.", "They said they would look after me.",
)  # fmt: skip
NO_VOICE: Final = (
    "Asleep in bed",
    "Not at the address",
    "The adult would not let us speak to the child",
    "Ran off before we could speak",
)


def in_hours(rng: Random, day: int) -> int:
    """An instant in office hours on the London day of `day` (µs UTC), or on the Monday after when that is at a weekend."""
    when = local(day)
    shift = 7 - when.weekday() if when.weekday() >= 5 else 0
    morning = day + shift * DAY_US - (when.hour * HOUR_US + when.minute * 60_000_000 + when.second * 1_000_000 + when.microsecond)
    return morning + 9 * HOUR_US + rng.randrange(6 * HOUR_US)


def vpas(scribe: Scribe, at: int, concerns: Sequence[str] = (), **said: Any) -> SimulatedFact:
    """A vulnerability submission by police, with the child's voice or why it is missing (R18)."""
    rng = scribe.rng
    concerns = list(concerns) or _some(rng, POLICE_CONCERNS)
    voice = rng.random() >= rates.VPAS_NO_VOICE
    body: dict[str, Any] = {
        "submission_id": f"VPA-{scribe.new_id()[:8]}", "concerns": concerns, "narrative": " ".join(SAW[c] for c in concerns),
        "seen": "YES" if voice else rng.choice(("YES", "NO")),
        "seen_alone": rng.choice(("YES", "NO", "NOT_KNOWN")) if voice else "NO", "spoken_to": "YES" if voice else "NO",
        "what_child_said": rng.choice(SAID) if voice else None,
        "why_not": None if voice or rng.random() < 0.5 else rng.choice(NO_VOICE),
    }  # fmt: skip
    if "SUBSTANCE" in concerns and _age(scribe, at) >= 13 and rng.random() < 0.3:
        body["exploitation"] = ["OLDER_ASSOCIATES"]
    law = "CRIME_SUSPECT" in concerns and not said and rng.random() < 0.15
    envelope: dict[str, Any] = {"regime": "LED", "scope": "STATUTORY"} if law else {}
    return scribe.say("police", "VulnerabilitySubmission", at, body, **envelope, **said)


def school_concern(scribe: Scribe, at: int, concerns: Sequence[str] = (), **said: Any) -> SimulatedFact:
    """A concern of a school about one of its pupils."""
    rng = scribe.rng
    concerns = list(concerns) or _some(rng, SCHOOL_CONCERNS)
    body = {
        "concern_id": f"SC-{scribe.new_id()[:8]}", "concerns": concerns, "narrative": " ".join(SAW[c] for c in concerns),
        "child_words": rng.choice(SAID) if rng.random() < 0.4 else None,
    }  # fmt: skip
    return scribe.say("education", "SchoolConcern", at, body, **said)


def absence(scribe: Scribe, at: int, weeks: int, share: float, **said: Any) -> SimulatedFact:
    """Sessions missed over the `weeks` before `at`: `share` of ten a week, at least one."""
    possible = weeks * 10
    body = {
        "from_date": local_date_of(at - (weeks * 7 - 3) * DAY_US), "to_date": local_date_of(at),
        "sessions_possible": possible, "sessions_missed": min(possible, max(1, round(possible * share))),
        "reason": weighted(scribe.rng, ABSENCE_REASONS),
    }  # fmt: skip
    return scribe.say("education", "SchoolAbsence", at, body, **said)


def no_provision(scribe: Scribe, at: int, until: int | None) -> None:
    """No full-time place from `at`, and the day it ended when that is before `until` (µs UTC)."""
    rng = scribe.rng
    body = {
        "from_date": local_date_of(at), "hours_offered": rng.choice((0, 0, 5, 10, 15)),
        "reason": weighted(rng, NO_PLACE_REASONS),
    }  # fmt: skip
    scribe.say("education", "NoSchoolProvision", at, body)
    over = at + round(rng.lognormvariate(3.4, 0.9) * DAY_US)
    if until is not None and over < until:
        ended = body | {"to_date": local_date_of(over), "reason": "ENDED", "hours_offered": 25}
        scribe.say("education", "NoSchoolProvision", over, ended)


def cpis_alert(scribe: Scribe, at: int, status: str, previous: int = 0, **said: Any) -> SimulatedFact:
    """A child on a plan (`CP`) or looked after (`LAC`) attends an emergency department; CP-IS has no narrative."""
    rng = scribe.rng
    site = rng.choice(EMERGENCY_DEPARTMENTS)
    body = {
        "plan_type": "CPPI" if status == "CP" else "LACI", "site_ods": site, "accessed_at": at, "accessor_org": site,
        "unscheduled": True, "accessor_role": rng.choice(("ED_CLINICIAN", "ED_RECEPTION", "PAEDIATRICS", "MINOR_INJURIES")),
        "previous_accesses": min(previous, 25),
    }  # fmt: skip
    return scribe.say("health", "CpisAttendanceAlert", at, body, **said)


def risk_graded(
    scribe: Scribe, agency: str, at: int, grade: str, *, scale: str = "EXPLOITATION", previous: str | None = None, **said: Any
) -> SimulatedFact:
    """An agency's own grade. A lower one comes with what changed four times in five (R7 finds the rest)."""
    rng, order = scribe.rng, ("LOW", "MEDIUM", "HIGH", "VERY_HIGH")
    body: dict[str, Any] = {
        "grade": grade, "scale": scale, "previous_grade": previous, "own_label": grade.replace("_", " ").capitalize(),
        "rationale": "Reviewed with the team; see the assessment.",
    }  # fmt: skip
    if previous and order.index(grade) < order.index(previous) and rng.random() < 0.8:
        body |= {
            "what_changed": "Back in school, no missing episode for two months, contact with the older group ended.",
            "childs_view": rng.choice(SAID),
        }
    return scribe.say(agency, "RiskGraded", at, body, **said)


def csog_outcome(scribe: Scribe, at: int, level: str, number: int = 1, **said: Any) -> SimulatedFact:
    """What the contextual safeguarding operational group decided (R11). Truth notes the practice at `at`."""
    rng = scribe.rng
    body = {
        "outcome_id": f"CSOG-{scribe.new_id()[:8]}-{number}", "csog_date": local_date_of(at), "level_agency": level,
        "level_joint": level if rng.random() < 0.8 else "MEDIUM", "plan_ref": f"plan-{scribe.new_id()[:8]}",
        "what_changed": "Seen with older young people in town; two late returns; the school reports new belongings.",
        "gp_action": "Add the codes, keep them off online access, tell us of any attendance that worries you.",
        "gp_action_due": local_date_of(at + 14 * DAY_US), "review_date": local_date_of(at + 42 * DAY_US),
        "lead_professional": {"role": "Social worker", "contact": LA_CONTACT}, "do_not_show_to_patient_online": True,
        "subject_may_be_informed": rng.random() < 0.8, "snomed_add": [rng.choice(("919461000000108", "1188261000000103"))],
    }  # fmt: skip
    return scribe.say("csc", "CsogOutcome", at, body, practice=scribe.desk.practice_at(at), **said)


def involvement(scribe: Scribe, agency: str, service: str, at: int, until: int | None = None, **said: Any) -> SimulatedFact:
    """A service works with the child from `at`; the involvement of sensitive services is shown, their detail is not."""
    lead = {"CAMHS": "CAMHS clinician", "YJS": "Youth justice practitioner", "HEALTH_VISITING": "Health visitor"}.get(
        service, "Worker"
    )
    body = {
        "service": service, "from_date": local_date_of(at), "to_date": local_date_of(until) if until else None,
        "lead_role": lead, "contact": "0151 496 0555",
    }  # fmt: skip
    hidden: dict[str, Any] = (
        {"sensitivity": "RESTRICTED"}
        if service in ("CAMHS", "SUBSTANCE_MISUSE", "SEXUAL_HEALTH", "DOMESTIC_ABUSE_SERVICE")
        else {}
    )
    return scribe.say(agency, "InvolvementRecorded", at, body, **hidden, **said)


def worker(scribe: Scribe, agency: str, at: int) -> SimulatedFact:
    """Youth justice or probation allocate a practitioner."""
    role, team = {"yjs": ("YJ_PRACTITIONER", "Youth justice"), "probation": ("PROBATION_PRACTITIONER", "Probation")}[agency]
    body = {"worker_role": role, "worker_name": scribe.rng.choice(WORKERS), "team": team, "contact": "0151 496 0444"}
    return scribe.say(agency, "WorkerAllocated", at, body | {"from_date": local_date_of(at)})


def _some(rng: Random, choices: Sequence[tuple[str, float]]) -> list[str]:
    first = weighted(rng, choices)
    second = weighted(rng, choices[: len(choices) // 2])
    return [first, second] if rng.random() < 0.2 and second != first else [first]


def _age(scribe: Scribe, at: int) -> int:
    return scribe.child.age_at(local(at).date())
