"""The borough's present: an endless stream of small happenings, denser than life so that a viewer sees something."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from domain.times import HOUR_US, SECOND_US, local_date_of
from producers.halton import missing, rates, signals
from producers.halton.agencies import Desk
from producers.halton.careers import Career
from producers.halton.facts import MINUTE_US, Scribe, SimulatedFact
from producers.halton.population import PRACTICES, Child, rng_of, weighted

PACE_S: Final = 8.0
"""Mean seconds between facts: seven or eight a minute can still be read."""

STRANGERS: Final = 0.35
"""Of police and school contacts, about children not open to social care (assumed): most contacts are."""

HAPPENINGS: Final = (
    ("vpas", 0.18), ("concern", 0.16), ("absence", 0.14), ("worker", 0.14), ("involvement", 0.12), ("alert", 0.08),
    ("missing", 0.07), ("grade", 0.06), ("practice", 0.04), ("csog", 0.01),
)  # fmt: skip
"""Mostly quiet things: at many times the pace of life, graver ones would soon put every child over a threshold."""

FACTS_A_HAPPENING: Final = 1.25
"""Missing episodes bring three to six facts, the rest one each."""

Tell = Callable[[int], SimulatedFact]


class Present:
    """Happenings from `from_` (µs UTC) on, about open children of `careers` and some of `others`, one fact in `pace_s` seconds.

    The children in `busy` have unfinished business of their own and are left alone.
    """

    def __init__(
        self, seed: int, careers: list[Career], *, others: list[Child], at_end: int, from_: int, pace_s: float,
        desk_of: Callable[[Career], Desk], busy: set[str],
    ) -> None:  # fmt: skip
        self._seed, self._from, self._pace_us = seed, from_, round(pace_s * SECOND_US)
        self._rng: Random = rng_of(seed, "present", from_)
        self._desk_of = desk_of
        statuses = [(c, c.status_at(at_end)) for c in careers if c.child.id not in busy]
        self._open = [c for c, status in statuses if status]
        self._plans = [(c, status) for c, status in statuses if status in ("CP", "LAC")]
        self._pupils = [c for c in self._open if c.child.school]
        self._teens = [c for c in self._open if c.child.school and c.child.school >= "900101"] or self._open
        known = {c.child.id for c in careers}
        self._others = [p for p in others if p.id not in known and p.school]
        self._scribes: dict[str, Scribe] = {}
        self._practice: dict[str, str] = {}
        self._away: set[str] = set()
        self._due: list[tuple[int, int, Tell]] = []
        self._count = 0

    def facts(self) -> Iterator[SimulatedFact]:
        """Endless, by arrival. Each happened in the quarter of an hour before (an absence or a last sighting, earlier)."""
        at = self._from
        while self._open:
            at += round(self._rng.expovariate(1 / (self._pace_us * FACTS_A_HAPPENING))) + 1
            while self._due and self._due[0][0] <= at:
                due, _, tell = heapq.heappop(self._due)
                yield tell(due)
            fact = self._happen(at)
            if fact is not None:
                yield fact

    def _happen(self, at: int) -> SimulatedFact | None:
        rng, kind = self._rng, weighted(self._rng, HAPPENINGS)
        now = self._now(at)
        if kind == "vpas":
            return signals.vpas(self._contact(), self._occurred(now), **now)
        if kind == "concern":
            return signals.school_concern(self._contact(), self._occurred(now), **now)
        if kind == "absence" and self._pupils:
            scribe = self._scribe(rng.choice(self._pupils))
            return signals.absence(scribe, self._occurred(now), 2, rng.choice((0.05, 0.05, 0.05, 0.1, 0.2)), **now)
        if kind == "alert" and self._plans:
            career, status = rng.choice(self._plans)
            return signals.cpis_alert(self._scribe(career), self._occurred(now), status or "", **now)
        return self._quieter(kind, at, now)

    def _quieter(self, kind: str, at: int, now: dict[str, Any]) -> SimulatedFact | None:
        rng, occurred = self._rng, self._occurred(now)
        if kind == "missing":
            return self._go_missing(at, now)
        if kind == "grade":
            return signals.risk_graded(
                self._scribe(rng.choice(self._teens)), "csc", occurred, rng.choice(("LOW", "LOW", "MEDIUM")), **now
            )
        if kind == "csog":
            return signals.csog_outcome(self._scribe(rng.choice(self._teens)), occurred, rng.choice(("LOW", "MEDIUM")), **now)
        scribe = self._scribe(rng.choice(self._open))
        if kind == "worker":
            body = {"worker_role": "SOCIAL_WORKER", "worker_name": rng.choice(signals.WORKERS), "contact": signals.LA_CONTACT}
            return scribe.say("csc", "WorkerAllocated", occurred, body | {"from_date": local_date_of(occurred)}, **now)
        if kind == "practice":
            before = scribe.desk.practice_at(occurred)
            after = rng.choice([p for p in PRACTICES if p != before])
            scribe.desk.register(occurred, after)
            body = {"practice_ods": after, "previous_ods": before, "registered_from": local_date_of(occurred)}
            return scribe.say("health", "GpRegistration", occurred, body, **now)
        service = rng.choice(("CAMHS", "SCHOOL_NURSING", "SUBSTANCE_MISUSE"))
        return signals.involvement(scribe, "health", service, occurred, **now)

    def _go_missing(self, at: int, now: dict[str, Any]) -> SimulatedFact | None:
        """A whole episode within minutes: reported, graded, found, interview offered and held or not."""
        rng, career = self._rng, self._rng.choice(self._teens)
        if career.child.id in self._away:
            return None
        self._away.add(career.child.id)
        scribe, step = self._scribe(career), self._pace_us
        opened = missing.report(scribe, self._occurred(now), now["recorded_at"] - rng.randrange(1, 6) * HOUR_US, **now)
        grade = weighted(rng, (("LOW", 0.4), ("MEDIUM", 0.58), ("HIGH", 0.02)))
        self._later(at + 2 * step, lambda t: self._grade(scribe, opened, grade, t))
        back = at + rng.randrange(8, 40) * step
        self._later(back, lambda t: self._back(scribe, opened, t))
        if rng.random() < rates.RHI_OFFERED:
            self._later(back + rng.randrange(2, 20) * step, lambda t: self._offer(scribe, opened, t))
        return opened

    def _grade(self, scribe: Scribe, opened: SimulatedFact, grade: str, at: int) -> SimulatedFact:
        now = self._now(at, after=opened)
        return missing.grade_episode(scribe, opened, self._occurred(now, opened), grade, **now)

    def _back(self, scribe: Scribe, opened: SimulatedFact, at: int) -> SimulatedFact:
        self._away.discard(scribe.child.id)
        now = self._now(at, after=opened)
        return missing.end(scribe, opened, self._occurred(now, opened), **now)

    def _offer(self, scribe: Scribe, opened: SimulatedFact, at: int) -> SimulatedFact:
        now = self._now(at, after=opened)
        offered = missing.offer(scribe, opened, self._occurred(now, opened), **now)
        if self._rng.random() < rates.RHI_ACCEPTED:
            self._later(at + self._rng.randrange(5, 40) * self._pace_us, lambda t: self._held(scribe, offered, t))
        return offered

    def _held(self, scribe: Scribe, offered: SimulatedFact, at: int) -> SimulatedFact:
        now = self._now(at, after=offered)
        return missing.complete(scribe, offered, self._occurred(now, offered), **now)

    def _contact(self) -> Scribe:
        if self._others and self._rng.random() < STRANGERS:
            return self._scribe(Career(self._rng.choice(self._others)))
        return self._scribe(self._rng.choice(self._pupils or self._open))

    def _scribe(self, career: Career) -> Scribe:
        child = career.child
        if child.id not in self._scribes:
            desk = self._desk_of(career)
            self._scribes[child.id] = Scribe(self._seed, child, self._rng, phase=f"live/{self._from}", desk=desk)
        scribe = self._scribes[child.id]
        scribe.facts.clear()
        return scribe

    def _later(self, at: int, tell: Tell) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, tell))

    def _now(self, at: int, after: SimulatedFact | None = None) -> dict[str, Any]:
        """Recorded within five minutes before it arrives, and after what it follows."""
        recorded = at - self._rng.randrange(5 * SECOND_US, 5 * MINUTE_US)
        if after is not None:
            recorded = max(recorded, min(at, int(after.value["envelope"]["recorded_at"]) + 1))
        return {"recorded_at": recorded, "arrives_at": at}

    def _occurred(self, now: dict[str, Any], after: SimulatedFact | None = None) -> int:
        occurred = int(now["recorded_at"]) - self._rng.randrange(SECOND_US, 10 * MINUTE_US)
        return occurred if after is None else min(int(now["recorded_at"]), max(occurred, after.occurred_at + 1))
