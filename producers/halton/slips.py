"""What goes wrong with sending: facts sent twice, corrected later, or filed by mistake and withdrawn. Truth is kept right."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from domain.times import DAY_US, HOUR_US
from producers.halton import rates
from producers.halton.agencies import Desk
from producers.halton.facts import Scribe, SimulatedFact

Body = dict[str, Any]


def _fewer_sessions(body: Body) -> Body:
    return {"sessions_missed": max(0, body["sessions_missed"] - 2)}


def _unknown_voice(_body: Body) -> Body:
    return {"seen_alone": "NOT_KNOWN", "narrative": None}


WRONGLY: Final[dict[str, Callable[[Body], Body]]] = {
    "SchoolAbsence": _fewer_sessions,
    "VulnerabilitySubmission": _unknown_voice,
    "SchoolConcern": lambda body: {"narrative": "Note to follow."},
    "MissingEpisodeEnded": lambda body: {"found_place": "not recorded", "prevention_check_done": None},
    "ReturnHomeInterviewCompleted": lambda body: {"method": "PHONE", "alone": None},
    "RiskGraded": lambda body: {"rationale": None},
}
"""How the first version of a fact was wrong, by record: what is corrected later."""

WITHDRAWN: Final = ("SchoolConcern", "VulnerabilitySubmission", "SchoolAbsence", "InvolvementRecorded", "WorkerAllocated")


def slip(scribe: Scribe, neighbour: Desk) -> list[SimulatedFact]:
    """The scribe's facts with the agencies' slips; `neighbour` is a child on whose record one may be filed by mistake."""
    rng, out = scribe.rng, list[SimulatedFact]()
    for fact in list(scribe.facts):
        roll, record = rng.random(), fact.record
        if record in WRONGLY and roll < rates.CORRECTED * 3:
            out += _corrected(scribe, fact)
        elif record in WITHDRAWN and roll < rates.RETRACTED * 2:
            out += [fact, *_withdrawn(scribe, fact, neighbour)]
        else:
            out.append(fact)
    return out + [_again(scribe, fact) for fact in out if rng.random() < rates.SENT_TWICE]


def _corrected(scribe: Scribe, right: SimulatedFact) -> Sequence[SimulatedFact]:
    """The fact as first sent, wrong, and the correction: sent a day or more later, and one in ten overtakes what it corrects."""
    rng = scribe.rng
    wrong = replace(right, value=copy.deepcopy(right.value) | WRONGLY[right.record](right.value))
    later = wrong.value["envelope"]["recorded_at"] + rng.randrange(HOUR_US, 6 * DAY_US)
    envelope = {**right.value["envelope"], "event_id": scribe.new_id(), "supersedes": wrong.key, "recorded_at": later}
    arrives = max(later, right.arrives_at) + rng.randrange(HOUR_US, DAY_US)
    correction = replace(right, value={**right.value, "envelope": envelope}, arrives_at=arrives)
    if rng.random() < rates.CORRECTION_FIRST:
        wrong = replace(wrong, arrives_at=arrives + rng.randrange(HOUR_US))
    return wrong, correction


def _withdrawn(scribe: Scribe, like: SimulatedFact, neighbour: Desk) -> Sequence[SimulatedFact]:
    """A mistaken fact like `like`, on this child's record or on a neighbour's, and its withdrawal."""
    rng = scribe.rng
    elsewhere = rng.random() < rates.WRONG_CHILD
    desk = neighbour if elsewhere else scribe.desk
    subject = desk.card(like.agency, like.value["envelope"]["recorded_at"])
    envelope = {**like.value["envelope"], "event_id": scribe.new_id(), "subject": subject}
    mistaken = replace(like, value={**like.value, "envelope": envelope}, subject_child=desk.child.id)
    at = max(like.arrives_at, envelope["recorded_at"]) + rng.randrange(HOUR_US, 10 * DAY_US)
    reason = "WRONG_CHILD" if elsewhere else rng.choice(("ENTERED_IN_ERROR", "DUPLICATE"))
    body = {"reason": reason, "explanation": None}
    withdrawal = scribe.say(like.agency, "Retraction", at, body, subject=subject, retracts=mistaken.key)
    return mistaken, replace(withdrawal, subject_child=desk.child.id)


def _again(scribe: Scribe, fact: SimulatedFact) -> SimulatedFact:
    """The same bytes a second time, minutes to a day later."""
    return replace(fact, arrives_at=fact.arrives_at + scribe.rng.randrange(60_000_000, DAY_US), copy=1)
