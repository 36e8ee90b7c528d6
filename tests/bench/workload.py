"""The facts a benchmark runs on: what Halton's simulated agencies say, told about as many children as it takes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from producers.halton.agencies import Desk
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact

SEED: Final = 2019
END: Final = 1_762_000_000_000_000
"""1 November 2025, 12:26:40 UTC, in µs: a fixed end, so that one seed gives the same facts on every day."""

POOL_CHILDREN: Final = 2_800
"""A tenth of the borough at least: about 1,900 facts a year, from which bodies and times are taken."""

FACTS_A_CHILD: Final = 15
"""Fewer than there are (about 25): the pool has to last."""

NEW_EVERY: Final = 10
"""One fact in ten brings a presentation never seen before (design: the workload of the whole path)."""

CASELOAD: Final = 0.85
"""How often what is told is of a child whom the agency has met before: so that a child has about 2.5 presentations."""

IDS: Final = UUID("a3d3b6f4-1a9e-5d0e-8b0c-6f3f0f0d9a11")


@dataclass(frozen=True, slots=True)
class Workload:
    """Facts in order of arrival, with what a reader of the table needs to judge them."""

    facts: list[SimulatedFact]
    presentations: int
    children: int

    def __str__(self) -> str:
        """For the table."""
        share = self.presentations / len(self.facts)
        return (
            f"{len(self.facts):,} facts of {self.children:,} children ({len(self.facts) / self.children:.0f} a child), "
            f"{self.presentations:,} presentations ({share:.1%} of facts bring a new one)"
        )


def workload(count: int, seed: int = SEED) -> Workload:
    """`count` facts: those of a simulated year, each missing episode told whole, about children met at a steady rate.

    A new child is met whenever fewer than a tenth of the facts so far brought a new presentation; otherwise what is told
    is of somebody known, now and then by an agency that meets them for the first time.
    """
    borough = Borough(end=END, seed=seed, children=max(POOL_CHILDREN, count // FACTS_A_CHILD))
    stories = stories_of(borough)
    meetings = _Meetings(Random(seed), [Desk(seed, child, since=borough.opens_at) for child in borough.people])
    facts: list[SimulatedFact] = []
    for telling, story in _repeated(stories, count // sum(map(len, stories)) + 2):
        desk = meetings.whom([f.agency for f in story], len(facts))
        facts += [meetings.told(desk, fact, str(uuid5(IDS, f"{seed}/{telling}/{fact.key}"))) for fact in story]
        if len(facts) >= count:
            break
    facts = facts[:count]
    return Workload(facts, len({card_of(f) for f in facts}), len({f.child for f in facts}))


class _Meetings:
    """Which children the agencies have met so far."""

    def __init__(self, rng: Random, strangers: Sequence[Desk]) -> None:
        self._rng, self._strangers = rng, iter(strangers)
        self._known: list[Desk] = []
        self._met: defaultdict[str, list[Desk]] = defaultdict(list)
        self._cards: set[tuple[Any, ...]] = set()

    def whom(self, agencies: Sequence[str], facts: int) -> Desk:
        """The child that the next story is about, `facts` having been told."""
        if len(self._cards) * NEW_EVERY <= facts:
            self._known.append(next(self._strangers))
            return self._known[-1]
        load = self._met[agencies[0]]
        return self._rng.choice(load if load and self._rng.random() < CASELOAD else self._known)

    def told(self, desk: Desk, fact: SimulatedFact, event_id: str) -> SimulatedFact:
        """The fact, told of this child."""
        value = copy.deepcopy(fact.value)
        value["envelope"] |= {"event_id": event_id, "subject": desk.card(fact.agency, fact.occurred_at)}
        told = SimulatedFact(fact.record, value, fact.arrives_at, desk.child.id, desk.child.id)
        if card_of(told) not in self._cards:
            self._met[fact.agency].append(desk)
        self._cards.add(card_of(told))
        return told


def card_of(fact: SimulatedFact) -> tuple[Any, ...]:
    """What makes a presentation: the agency and every field it sent of the child."""
    subject = fact.value["envelope"]["subject"]
    return (fact.agency, *(subject[k] for k in sorted(subject)))


def stories_of(borough: Borough) -> list[list[SimulatedFact]]:
    """Single facts, and the facts of one missing episode together; corrections are left out, as they name other facts."""
    stories: defaultdict[str, list[SimulatedFact]] = defaultdict(list)
    for fact in borough.facts():
        envelope = fact.value["envelope"]
        if fact.copy == 0 and fact.label is None and envelope["supersedes"] is None and envelope["retracts"] is None:
            stories[f"{fact.child}/{fact.episode}" if fact.episode is not None else fact.key].append(fact)
    return list(stories.values())


def _repeated(stories: list[list[SimulatedFact]], times: int) -> Iterator[tuple[int, list[SimulatedFact]]]:
    """Each story `times` times one after another, so that the year goes by once."""
    for story in stories:
        for telling in range(times):
            yield telling, story
