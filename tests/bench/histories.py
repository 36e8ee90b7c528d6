"""Children with long histories: what agencies said of them, a fact a day, in order of arrival."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from domain.times import DAY_US, local_date_of
from producers.halton.agencies import LOCAL_ID, Desk
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact
from producers.halton.population import HALTON
from tests.bench.workload import END, POOL_CHILDREN, stories_of

IDS: Final = UUID("4f0a2c5e-6a4b-5f0e-9d1c-0d3c1f6b7a55")
AGES: Final = range(10, 17)
"""Old enough for a thousand days of what is said of adolescents."""

DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
LASTING: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "CpisStatusChanged": ("end_date", {}),
    "NoSchoolProvision": ("to_date", {"reason": "ENDED", "hours_offered": 25}),
}
"""Records of what lasts until its end is told: the field of its last day, and what else that telling says otherwise."""

INSTANT_MIN: Final = 10**15
"""A whole number from here on is an instant (µs since 1970), not a count."""


@dataclass(frozen=True, slots=True)
class Life:
    """A child who is told of once a day: `before` as history, then `after`."""

    before: list[SimulatedFact]
    after: list[SimulatedFact]


def lives(seed: int, sizes: Sequence[int], each: int, after: int) -> dict[int, list[Life]]:
    """For each size, `each` children of whom so many facts are told, a day apart, before the `after` facts that are measured.

    The n-th child of every size is told the same facts on the same days at the end, by agencies that have told of the child
    before: only the length of the history differs. None of it is in the history: an episode of years ago does not begin anew
    under its old number.
    """
    borough = Borough(end=END, seed=seed, children=POOL_CHILDREN)
    stories = stories_of(borough)
    people = (c for c in borough.people if c.age_at(date(2025, 11, 1)) in AGES)
    found = dict[int, list[Life]]()
    for size in sizes:
        told, begin = [], END - (size + after) * DAY_US
        for n in range(each):
            desk = _known_to_all(Desk(seed, next(people), faithful=True, since=borough.opens_at))
            newest = _shuffled(stories, f"{seed}/{n}/after")[:after]  # every story has a fact at least
            after_them = list(_daily(desk, newest, begin + size * DAY_US, after))
            past = [story for story in _shuffled(stories, f"{seed}/{n}/before") if story not in newest]
            rest = past[::-1]
            first = [next([f] for story in rest for f in story if f.agency == a) for a in sorted({f.agency for f in after_them})]
            before = list(_daily(desk, first + past, begin, size))
            told.append(Life(before, after_them))
        found[size] = told
    return found


def _known_to_all(desk: Desk) -> Desk:
    """Every agency holds the authority's number of this child: all that is said comes to one child, as after a review."""
    desk.knows |= {agency: {"la_child_id": f"{HALTON}-{desk.child.number:08d}"} for agency in LOCAL_ID}
    return desk


def _shuffled(stories: list[list[SimulatedFact]], name: str) -> list[list[SimulatedFact]]:
    return Random(name).sample(stories, len(stories))


def _daily(desk: Desk, stories: list[list[SimulatedFact]], begin: int, count: int) -> Iterator[SimulatedFact]:
    """`count` facts, one on each day from `begin` (µs UTC): each story told whole.

    Among these a child begins no plan and no time without school before the end of the last is told.
    """
    facts, held = (f for story in stories for f in story), None
    lasting = dict[str, SimulatedFact]()
    for at in range(begin, begin + count * DAY_US, DAY_US):
        fact = held or next(facts)
        begins = fact.record in LASTING and fact.value[LASTING[fact.record][0]] is None
        if begins and fact.record in lasting:
            held = fact
            yield _ended(lasting.pop(fact.record), at)
            continue
        told, held = _told(desk, fact, at, str(uuid5(IDS, f"{desk.child.id}/{at}"))), None
        if begins:
            lasting[fact.record] = told
        yield told


def _ended(fact: SimulatedFact, at: int) -> SimulatedFact:
    """The end of what a fact has told of, arriving within the day before `at` (µs UTC)."""
    last_day, also = LASTING[fact.record]
    later, value = (at - fact.arrives_at) // DAY_US * DAY_US, copy.deepcopy(fact.value)
    envelope = value["envelope"]
    envelope |= {"event_id": str(uuid5(IDS, f"{envelope['event_id']}/end"))}
    envelope |= {name: envelope[name] + later for name in ("occurred_at", "recorded_at")}
    value |= {last_day: local_date_of(envelope["occurred_at"]), **also}
    return replace(fact, value=value, arrives_at=fact.arrives_at + later)


def _told(desk: Desk, fact: SimulatedFact, at: int, event_id: str) -> SimulatedFact:
    """The fact told of this child, so that it arrives within the day before `at` (µs UTC)."""
    days = (at - fact.arrives_at) // DAY_US
    value: dict[str, Any] = _moved(fact.value, days)
    value["envelope"] |= {"event_id": event_id, "subject": desk.card(fact.agency, value["envelope"]["recorded_at"])}
    return SimulatedFact(fact.record, value, fact.arrives_at + days * DAY_US, desk.child.id, desk.child.id)


def _moved(value: Any, days: int) -> Any:
    """A copy of a decoded record, every instant and date `days` later."""
    if isinstance(value, dict):
        return {k: _moved(v, days) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, days) for v in value]
    if isinstance(value, int) and value >= INSTANT_MIN:
        return value + days * DAY_US
    if isinstance(value, str) and DATE.fullmatch(value):
        return (date.fromisoformat(value) + timedelta(days)).isoformat()
    return value
