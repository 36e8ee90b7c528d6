"""What a fault run tells the house: a small seeded borough with everything that goes wrong with sending, and its truth.

One seed and one `end` (µs UTC) give the same facts in the same order; both are printed when a run fails.
"""

from __future__ import annotations

import contextlib
import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from domain.times import DAY_US, HOUR_US
from producers.halton import rates, scenarios
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact, blank
from producers.halton.truth import Truth

SPAN_DAYS: Final = 200
MORE_OFTEN: Final[Mapping[str, float]] = {
    "CORRECTED": 0.05, "RETRACTED": 0.03, "SENT_TWICE": 0.05, "CORRECTION_FIRST": 0.4, "VPAS_OPEN": 1.5, "CONCERN_OPEN": 1.5,
    "EXPLOITED_TEENS": 0.4,
}  # fmt: skip
"""Rates raised so that a few hundred facts hold some of each slip; the borough's own are of a year of thousands."""

DISORDER: Final = 60
"""A fact overtakes or is overtaken by about this many others; one in five comes at any place at all."""

WITHDRAWALS: Final = 3
REPEATS: Final = 3
TOLD_AGAIN: Final = 4
ENDS: Final[Mapping[str, str]] = {
    "MissingEpisodeEnded": "ended_at", "CpisStatusChanged": "end_date", "WorkerAllocated": "to_date",
    "InvolvementRecorded": "to_date", "NoSchoolProvision": "to_date",
}  # fmt: skip
"""Records that tell of an end, and where."""

WITHDRAWN: Final = ("SchoolConcern", "VulnerabilitySubmission", "SchoolAbsence")

NAMES: Final = UUID("1c3f0b52-9a55-5c0f-8f57-5f1f3f0a2b11")


@dataclass(frozen=True, slots=True)
class Story:
    """Facts in order of sending, and the truth about them."""

    seed: int
    end: int
    facts: tuple[SimulatedFact, ...]
    truth: Truth

    def waves(self, count: int) -> list[list[SimulatedFact]]:
        """The facts in `count` parts of about one size, in order."""
        size = -(-len(self.facts) // count)
        return [list(self.facts[i : i + size]) for i in range(0, len(self.facts), size)]

    def holders(self) -> dict[str, tuple[str, str]]:
        """(agency, local id) by event id."""
        return {f.key: (f.agency, f.value["envelope"]["subject"]["local_id"]) for f in self.facts}


def tell(seed: int, end: int, children: int) -> Story:
    """The borough's facts up to `end`, the scenarios, some more of those, facts under a local id alone; in disorder."""
    rng = Random(f"story/{seed}")
    with _more_slips():
        borough = Borough(end, seed, children, end - SPAN_DAYS * DAY_US)
        facts = [f for f in borough.facts() if _past(f, end)]
    more = seed % 4000 + 5000
    at = end - 8 * DAY_US
    for label in ("r19", "gp", "twins"):
        facts += [f for f in scenarios.SCENARIOS[label](more, at, None, scenarios.STEP_US).facts if _past(f, end)]
    facts += [f for f in _two_alarms(seed, at) if _past(f, end)]
    facts += _told_again(facts, rng, end)
    facts += _local_only(facts, rng)
    facts += _withdrawals(facts, rng)
    facts += _repeats(facts, rng)
    placed = [(rng.random() * len(facts) if rng.random() < 0.2 else n + rng.uniform(0, DISORDER), f) for n, f in enumerate(facts)]
    ordered = tuple(f for _, f in sorted(placed, key=lambda x: x[0]))
    return Story(seed, end, ordered, Truth(facts))


@contextlib.contextmanager
def _more_slips() -> Iterator[None]:
    before = {name: getattr(rates, name) for name in MORE_OFTEN}
    try:
        for name, value in MORE_OFTEN.items():
            setattr(rates, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(rates, name, value)


def _past(fact: SimulatedFact, end: int) -> bool:
    envelope = fact.value["envelope"]
    return bool(max(fact.arrives_at, envelope["occurred_at"], envelope["recorded_at"]) <= end)


def _two_alarms(seed: int, at: int) -> list[SimulatedFact]:
    """A child whom police know by name alone: they and the school each tell of abuse, so that each of two records asks for a
    discussion until somebody confirms that they are one child.
    """
    told = scenarios.r19((seed + 500) % 1000 + 9000, at)  # the borough tells of the child of its own seed
    last_of_each = told.points[-2:]
    return [
        replace(f, label=None, value=f.value | {"concerns": ["DISCLOSURE_ABUSE"]})
        if f.key in last_of_each
        else replace(f, label=None)
        for f in told.facts
    ]


def _told_again(facts: list[SimulatedFact], rng: Random, end: int) -> list[SimulatedFact]:
    """Some ends once more, under ids of their own that correct nothing: children back earlier than was said, spans that go on.

    What was recorded last holds, and it happened earlier than what it puts right.
    """
    out = []
    for record, name in ENDS.items():
        ended = [f for f in facts if f.record == record and f.value[name] is not None and f.copy == 0]
        plain = [f for f in ended if f.value.get("reason") != "ENDED" and f.value["envelope"]["recorded_at"] + HOUR_US <= end]
        for f in rng.sample(plain, min(len(plain), TOLD_AGAIN)):
            value = copy.deepcopy(f.value)
            value[name] = max(value[name] - HOUR_US, value["started_at"] or 0) if record == "MissingEpisodeEnded" else None
            value["envelope"] |= {
                "event_id": str(uuid5(NAMES, f"{f.key}/again")), "supersedes": None,
                "occurred_at": value["envelope"]["occurred_at"] - HOUR_US,
                "recorded_at": value["envelope"]["recorded_at"] + HOUR_US,
            }  # fmt: skip
            out.append(replace(f, value=value, label=None))
    return out


def _withdrawals(facts: list[SimulatedFact], rng: Random) -> list[SimulatedFact]:
    """Withdrawals of some facts: a seed may bring the borough none of its own."""
    replaced = {x for f in facts for x in (f.value["envelope"]["supersedes"], f.value["envelope"]["retracts"]) if x}
    plain = [f for f in facts if f.record in WITHDRAWN and f.copy == 0 and f.label is None and f.key not in replaced]
    out = []
    for f in rng.sample(plain, min(len(plain), WITHDRAWALS)):
        envelope = {
            **f.value["envelope"],
            "event_id": str(uuid5(NAMES, f"{f.key}/withdrawn")),
            "retracts": f.key,
            "supersedes": None,
        }
        value = blank("Retraction") | {"reason": "ENTERED_IN_ERROR", "envelope": envelope}
        out.append(replace(f, record="Retraction", value=value))
    return out


def _repeats(facts: list[SimulatedFact], rng: Random) -> list[SimulatedFact]:
    """Some facts once more, where the borough said none twice: what takes copies for news would not show."""
    return [] if any(f.copy for f in facts) else [replace(f, copy=1) for f in rng.sample(facts, min(len(facts), REPEATS))]


def _local_only(facts: list[SimulatedFact], rng: Random) -> list[SimulatedFact]:
    """Some concerns told under the agency's own number and nothing else, where that number had one presentation only."""
    presented: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for f in facts:
        subject = f.value["envelope"]["subject"]
        if subject not in presented[(f.agency, subject["local_id"])]:
            presented[(f.agency, subject["local_id"])].append(subject)
    out = []
    for f in facts:
        subject = f.value["envelope"]["subject"]
        plain = f.copy == 0 and f.child == f.subject_child and f.value["envelope"]["supersedes"] is None
        if (
            f.record in ("SchoolConcern", "VulnerabilitySubmission")
            and plain
            and len(presented[(f.agency, subject["local_id"])]) == 1
            and rng.random() < 0.2
        ):
            value = copy.deepcopy(f.value)
            value["envelope"]["event_id"] = str(uuid5(NAMES, f.key))
            value["envelope"]["subject"] = {**dict.fromkeys(subject), "local_id": subject["local_id"]}
            value["envelope"]["occurred_at"] -= DAY_US
            out.append(replace(f, value=value))
    return out
