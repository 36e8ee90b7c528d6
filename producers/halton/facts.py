"""A simulated fact, and the scribe who writes the facts of one child in the form of the contract."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from domain.times import DAY_US, HOUR_US
from producers.halton import rates
from producers.halton.agencies import Desk
from producers.halton.population import Child
from schemas.catalogue import spec

NAMESPACE: Final = UUID("5f1f8d0e-6a0e-5b8e-9a53-51d9fae0a876")
MINUTE_US: Final = HOUR_US // 60


@dataclass(frozen=True, slots=True)
class SimulatedFact:
    """One sending of one fact, with its truth.

    `value` is the record as `Codec.encode` takes it (instants in µs UTC); `arrives_at` is when it reaches the backbone (µs UTC).
    `child` is the true child, `subject_child` the one on whose record it was filed (another one only when filed by mistake).
    `episode` names the missing episode it truly belongs to, `practice` the child's true practice when a CSOG outcome occurred,
    `label` the scenario; `copy` is 0, or 1 for the second sending of the same bytes.
    """

    record: str
    value: dict[str, Any]
    arrives_at: int
    child: str
    subject_child: str
    episode: str | None = None
    practice: str | None = None
    label: str | None = None
    copy: int = 0

    @property
    def key(self) -> str:
        """The fact's key in the truth: its event_id."""
        return str(self.value["envelope"]["event_id"])

    @property
    def agency(self) -> str:
        """Who says it."""
        return str(self.value["envelope"]["agency"])

    @property
    def occurred_at(self) -> int:
        """When it happened, µs UTC."""
        return int(self.value["envelope"]["occurred_at"])


@dataclass(frozen=True, slots=True)
class Manner:
    """How a kind of fact is sent: by whom, how sensitive, and median minutes to the record and on to arrival."""

    reported_by: str
    sensitivity: str = "ORDINARY"
    record_min: float = 60
    transit_min: float = 60


MANNERS: Final[Mapping[str, Manner]] = {
    "MissingEpisodeReported": Manner("Force control room", record_min=10, transit_min=3),
    "MissingEpisodeGraded": Manner("Duty inspector", record_min=5, transit_min=3),
    "MissingEpisodeEnded": Manner("Response officer", record_min=45, transit_min=5),
    "ReturnHomeInterviewOffered": Manner("Interview coordinator", record_min=120, transit_min=180),
    "ReturnHomeInterviewDeclined": Manner("Return home interviewer", record_min=300, transit_min=600),
    "ReturnHomeInterviewCompleted": Manner("Return home interviewer", "SPECIAL", record_min=900, transit_min=900),
    "VulnerabilitySubmission": Manner("Response officer", "SPECIAL", record_min=240, transit_min=1200),
    "CpisStatusChanged": Manner("CP-IS", record_min=600, transit_min=300),
    "CpisAttendanceAlert": Manner("Emergency department", "SPECIAL", record_min=1, transit_min=3),
    "SchoolConcern": Manner("Designated safeguarding lead", record_min=90, transit_min=120),
    "SchoolAbsence": Manner("Attendance officer", record_min=1200, transit_min=1500),
    "NoSchoolProvision": Manner("Education welfare officer", record_min=2000, transit_min=1500),
    "SocialCareStatus": Manner("Social worker", record_min=600, transit_min=700),
    "WorkerAllocated": Manner("Team manager", record_min=500, transit_min=700),
    "RiskGraded": Manner("Practitioner", record_min=400, transit_min=700),
    "InvolvementRecorded": Manner("Service administrator", record_min=1500, transit_min=1500),
    "GpRegistration": Manner("Practice registration", record_min=700, transit_min=400),
    "CsogOutcome": Manner("CSOG chair", "SPECIAL", record_min=500, transit_min=300),
    "Retraction": Manner("Records manager", record_min=30, transit_min=60),
}
"""Delays are medians of log-normals (assumed; R2 measures them)."""

DELAY_SIGMA: Final = 0.8


class Scribe:
    """Writes facts about one child. `seed` and `phase` name the event ids, which are UUIDv5 of them, the child and a count.

    What would arrive before `opens_at` (µs UTC) comes with the first load, within a day of it.
    """

    def __init__(
        self, seed: int, child: Child, rng: Random, *, phase: str = "life", label: str | None = None,
        desk: Desk | None = None, opens_at: int | None = None,
    ) -> None:  # fmt: skip
        self.child = child
        self.rng = rng
        self.desk = desk or Desk(seed, child)
        self.facts: list[SimulatedFact] = []
        self._name = f"{seed}/{phase}/{child.id}"
        self._label = label
        self._count = 0
        self._opens_at = opens_at

    def new_id(self) -> str:
        """The next event id of this child."""
        self._count += 1
        return str(uuid5(NAMESPACE, f"{self._name}/{self._count}"))

    def say(
        self, agency: str, record: str, occurred_at: int, body: Mapping[str, Any], *, recorded_at: int | None = None,
        arrives_at: int | None = None, episode: str | None = None, practice: str | None = None, **envelope: Any,
    ) -> SimulatedFact:  # fmt: skip
        """Write one fact and keep it in `facts`. Delays are drawn unless `recorded_at` or `arrives_at` (µs UTC) are given."""
        manner = MANNERS[record]
        recorded_at = occurred_at + self.delay_us(manner.record_min) if recorded_at is None else recorded_at
        if arrives_at is None:
            arrives_at = recorded_at + self.delay_us(manner.transit_min)
            if self.rng.random() < rates.SENT_LATE and not record.startswith("Missing"):
                arrives_at += self.rng.randrange(2 * DAY_US, 21 * DAY_US)
            if self._opens_at is not None and arrives_at < self._opens_at:
                arrives_at = self._opens_at + self.rng.randrange(DAY_US)
        value = blank(record)
        value.update(body)
        value["envelope"] = {
            **value["envelope"], "event_id": self.new_id(), "agency": agency, "subject": self.desk.card(agency, recorded_at),
            "occurred_at": occurred_at, "recorded_at": recorded_at, "reported_by": manner.reported_by,
            "sensitivity": manner.sensitivity, **envelope,
        }  # fmt: skip
        fact = SimulatedFact(record, value, arrives_at, self.child.id, self.child.id, episode, practice, self._label)
        self.facts.append(fact)
        return fact

    def delay_us(self, median_min: float) -> int:
        """A delay in µs around a median in minutes."""
        return round(median_min * MINUTE_US * self.rng.lognormvariate(0, DELAY_SIGMA))


def blank(record: str) -> dict[str, Any]:
    """A value of `record` with everything optional empty and the usual envelope; the rest is yet to be said."""
    return copy.deepcopy(_blank(record))


@cache
def _blank(record: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for rule in spec(record).rules:
        at = out
        for key in rule.keys[:-1]:
            at = at.setdefault(key, {})
        at[rule.keys[-1]] = [] if rule.many else None
    out["envelope"].update({"regime": "UKGDPR", "scope": "PARTNERSHIP", "historic": False})
    return out
