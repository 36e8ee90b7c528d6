"""The simulated borough: one seed, one span, one stream of facts in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from domain.times import local
from producers.halton import rates
from producers.halton.agencies import Desk
from producers.halton.careers import YEAR_US, Career
from producers.halton.facts import SimulatedFact
from producers.halton.lives import live_through
from producers.halton.notice import careers
from producers.halton.population import Child, populate
from producers.halton.slips import slip

SEED: Final = 2019
"""The default borough; 2019 is the year of the inspectors' letter."""


@dataclass(frozen=True)
class Borough:
    """A borough of `children` children under 18, observed over [start, end) (µs UTC; `start` a year before `end` when left out).

    The same arguments give the same facts, byte for byte.
    """

    seed: int = SEED
    children: int = rates.CHILDREN
    end: int = 0
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

    @cached_property
    def _facts(self) -> list[SimulatedFact]:
        out: list[SimulatedFact] = []
        known = self.careers
        for n, career in enumerate(known):
            scribe = live_through(self.seed, career, self.opens_at, self.end)
            neighbour = Desk(self.seed, known[(n + 1) % len(known)].child, since=self.opens_at)
            out += slip(scribe, neighbour)
        return sorted(out, key=in_order)

    def facts(self) -> Iterator[SimulatedFact]:
        """Every fact of the span in order of arrival; a few arrive after `end`."""
        yield from self._facts


def in_order(fact: SimulatedFact) -> tuple[int, str, int]:
    """Sort key: arrival, then event_id, then the first sending before the second."""
    return fact.arrives_at, fact.key, fact.copy
