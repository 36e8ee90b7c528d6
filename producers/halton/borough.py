"""The simulated borough: one seed, one span, one stream of facts in order of arrival."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from domain.times import DAY_US, SECOND_US, local
from producers.halton import rates
from producers.halton.agencies import Desk
from producers.halton.careers import YEAR_US, Career
from producers.halton.facts import SimulatedFact
from producers.halton.lives import live_through
from producers.halton.notice import careers
from producers.halton.population import Child, populate
from producers.halton.present import PACE_S, Present
from producers.halton.scenarios import SCENARIOS, Scenario
from producers.halton.slips import slip

SEED: Final = 2019
"""The default borough; 2019 is the year of the inspectors' letter."""

OPENING_S: Final = {"high": 15, "gp": 25, "r19": 40, "found": 70, "twins": 95, "placed": 115}
"""Seconds after the present begins when each scenario comes to its point (at the default pace): a recommendation within half
a minute, a message to a practice soon after, the R19 child's last signal while somebody still watches."""

OPENING_STEP_S: Final = 60
"""Seconds between the steps of a scenario that goes on."""

FACTS_SCENARIOS_BEFORE_END_US: Final = 10 * DAY_US
"""In `facts()` the scenarios come to their points ten days before the end, so that what follows still falls into the span."""


@dataclass(frozen=True)
class Borough:
    """A borough of `children` children under 18, observed over [start, end) (µs UTC; one year when `start` is left out).

    The same arguments give the same facts, byte for byte. `facts` is a span told as it happened; `history` and `live` are the
    same borough for a demonstration: the past imported as historic, then the present at a pace people can read.
    """

    end: int
    seed: int = SEED
    children: int = rates.CHILDREN
    start: int | None = None

    @property
    def opens_at(self) -> int:
        """The first instant of the span, µs UTC."""
        return self.end - YEAR_US if self.start is None else self.start

    @cached_property
    def people(self) -> list[Child]:
        """Every child, noticed or not. Truth: never sent."""
        return populate(self.seed, self.children, local(self.end).date())

    @cached_property
    def careers(self) -> list[Career]:
        """The children who come to notice."""
        return careers(self.seed, self.people, self.opens_at, self.end)

    def facts(self) -> Iterator[SimulatedFact]:
        """Every fact of the span in order of arrival, scenarios included, none historic; a few arrive after `end`."""
        told = self.scenarios(self.end - FACTS_SCENARIOS_BEFORE_END_US)
        yield from heapq.merge(self._year, sorted((f for s in told for f in s.facts), key=in_order), key=in_order)

    def history(self) -> Iterator[SimulatedFact]:
        """What arrived before `end`, flagged historic, in order of arrival; with the scenarios' beginnings."""
        opening = sorted((f for f in self._opening(self.end) if f.arrives_at < self.end), key=in_order)
        past = heapq.merge(self._year, opening, key=in_order)
        yield from (_historic(f) for f in past if f.arrives_at < self.end)

    def live(
        self, from_: int, pace_s: float = PACE_S, *,
        opening: bool = True, opened_at: int | None = None, told: Collection[str] = (),
    ) -> Iterator[SimulatedFact]:  # fmt: skip
        """The present from `from_` (µs UTC, not before `end`), without end, in order of arrival: one fact in `pace_s` seconds.

        First what was under way at `end` and has arrived since; early on, with `opening`, the scenarios come to their points.
        A later start says when the first one opened (`opened_at`) and the event ids of the scenarios that were told since
        (`told`): the others follow, to the byte what they would have been. All other event ids differ for each `from_`.
        """
        yield from heapq.merge(
            sorted(self._under_way(from_), key=in_order),
            self._points(from_, pace_s, from_ if opened_at is None else opened_at, told) if opening else [],
            self._present(from_, pace_s).facts(), key=in_order,
        )  # fmt: skip

    def scenarios(self, at: int, scale: float = 1.0) -> list[Scenario]:
        """Every scenario, coming to its point within minutes after `at` (µs UTC); `scale` stretches these minutes."""
        today = local(self.end).date()
        return [
            SCENARIOS[label](self.seed, at + round(s * scale * SECOND_US), today, round(OPENING_STEP_S * scale * SECOND_US))
            for label, s in OPENING_S.items()
        ]

    @cached_property
    def _year(self) -> list[SimulatedFact]:
        out: list[SimulatedFact] = []
        known = self.careers
        for n, career in enumerate(known):
            scribe = live_through(self.seed, career, self.opens_at, self.end)
            neighbour = Desk(self.seed, known[(n + 1) % len(known)].child, since=self.opens_at)
            out += slip(scribe, neighbour)
        return sorted(out, key=in_order)

    def _opening(self, at: int, scale: float = 1.0) -> Iterator[SimulatedFact]:
        return (f for s in self.scenarios(at, scale) for f in s.facts)

    def _points(self, from_: int, pace_s: float, opened_at: int, told: Collection[str]) -> list[SimulatedFact]:
        """The scenarios' facts that neither `history` nor `told` has: made for `opened_at`, arriving relative to `from_`."""
        known = {f.key for f in self._opening(self.end) if f.arrives_at < self.end} | set(told)
        left = (f for f in self._opening(opened_at, pace_s / PACE_S) if f.key not in known)
        return sorted((replace(f, arrives_at=f.arrives_at + from_ - opened_at) for f in left), key=in_order)

    def _under_way(self, from_: int) -> Iterator[SimulatedFact]:
        told = {f.key for f in self._year if f.arrives_at < self.end}
        for fact in self._year:
            if fact.arrives_at >= self.end:
                late = replace(fact, arrives_at=max(fact.arrives_at, from_))
                yield _historic(late) if fact.key in told else late

    def _present(self, from_: int, pace_s: float) -> Present:
        busy = {f.child for f in self._year if f.arrives_at >= self.end}
        return Present(
            self.seed,
            self.careers,
            others=self.people,
            at_end=self.end,
            from_=from_,
            pace_s=pace_s,
            desk_of=self._desk,
            busy=busy,
        )

    def _desk(self, career: Career) -> Desk:
        """The agencies' cards of a child as the year left them."""
        return live_through(self.seed, career, self.opens_at, self.end).desk


def in_order(fact: SimulatedFact) -> tuple[int, int, str]:
    """Sort key: arrival, then the first sending before the second, then event_id."""
    return fact.arrives_at, fact.copy, fact.key


def _historic(fact: SimulatedFact) -> SimulatedFact:
    return replace(fact, value={**fact.value, "envelope": {**fact.value["envelope"], "historic": True}})
