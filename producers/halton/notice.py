"""Who comes to notice in the span: the children of whom anything is said. Nobody else leaves a trace (ContactPoint's lesson)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from domain.times import DAY_US
from producers.halton import missing, rates
from producers.halton.careers import OPEN, YEAR_US, Career, spells
from producers.halton.population import Child, rng_of

TEENS: Final = 12
"""Age in years from which exploitation, youth justice and most missing episodes are met."""


def careers(seed: int, people: Sequence[Child], start: int, end: int) -> list[Career]:
    """The careers of all children who come to notice in [start, end) µs UTC, in the population's order."""
    rng = rng_of(seed, "notice")
    part, years = len(people) / rates.CHILDREN, (end - start) / YEAR_US
    known: dict[str, Career] = {}
    fresh = _families(rng, people)
    for status, stock in zip(OPEN, (rates.EARLY_HELP, rates.CIN, rates.CP, rates.LAC), strict=True):
        for _ in range(round(stock * part)):
            child = next(c for c in fresh if born_us(c) < start - 5 * DAY_US)
            since = max(start - round(rng.expovariate(rates.LEAVE_A_YEAR[status]) * YEAR_US), born_us(child) + 2 * DAY_US)
            known[child.id] = Career(child, spells(rng, status, since, start, end))
        for _ in range(round(rates.NEW_A_YEAR[status] * part * years)):
            child = next(c for c in fresh if born_us(c) < end - 40 * DAY_US)
            since = rng.randrange(max(start, born_us(child) + 2 * DAY_US), end)
            known[child.id] = Career(child, spells(rng, status, since, start, end))
    _go_missing(rng, known, people, start, part * years)
    _others(rng, known, people, start, part * years)
    _flags(rng, known, start, part * years)
    return sorted(known.values(), key=lambda c: c.child.number)


def born_us(child: Child) -> int:
    """The child's birth as an instant: midnight UTC of the day, µs."""
    return (child.born.toordinal() - 719_163) * DAY_US


def _families(rng: Random, people: Sequence[Child]) -> Iterator[Child]:
    """Everybody once, in random order but neighbours (so siblings) together, as families come to notice together."""
    starts = list(range(0, len(people), 3))
    rng.shuffle(starts)
    for first in starts:
        yield from people[first : first + 3]


def _go_missing(rng: Random, known: dict[str, Career], people: Sequence[Child], start: int, scale: float) -> None:
    count = round(rates.MISSING_CHILDREN * scale)
    chosen: list[Career] = []
    for status, share in rates.MISSING_FROM.items():
        pool = [c for c in known.values() if c.status_at(start + 30 * DAY_US) == status and _age(c.child, start) >= TEENS]
        chosen += rng.sample(pool, min(len(pool), round(count * share)))
    strangers = [p for p in people if p.id not in known and _age(p, start) >= TEENS]
    for child in rng.sample(strangers, min(len(strangers), max(0, count - len(chosen)))):
        known[child.id] = Career(child)
        chosen.append(known[child.id])
    rng.shuffle(chosen)
    chosen.sort(key=lambda c: c.status_at(start + 30 * DAY_US) != "LAC")
    often = sorted(missing.counts(rng, len(chosen)), reverse=True)
    tail = max(1, round(len(chosen) * rates.MISSING_TAIL)) if chosen else 0
    rest = often[tail:]
    rng.shuffle(rest)
    for career, times in zip(chosen, often[:tail] + rest, strict=True):
        career.missing = times


def _others(rng: Random, known: dict[str, Career], people: Sequence[Child], start: int, scale: float) -> None:
    """Children about whom police or a school say something once, and nothing follows."""
    for kind, count in (("police", rates.VPAS_CONTACTS), ("education", rates.CONCERN_CONTACTS)):
        pool = [p for p in people if p.id not in known and _age(p, start) >= 1 and (kind == "police" or p.school)]
        for child in rng.sample(pool, min(len(pool), round(count * scale))):
            known[child.id] = Career(child, contact=kind)


def _flags(rng: Random, known: dict[str, Career], start: int, scale: float) -> None:
    teens = [c for c in known.values() if c.spells and _age(c.child, start) >= TEENS]
    for career in rng.sample(teens, min(len(teens), round(rates.YJS_CHILDREN * scale))):
        career.yjs = True
    oldest = [c for c in teens if _age(c.child, start) >= 16]
    for career in rng.sample(oldest, min(len(oldest), round(rates.PROBATION_CHILDREN * scale))):
        career.probation = True
    for career in teens:
        career.exploited = rng.random() < rates.EXPLOITED_TEENS


def _age(child: Child, at: int) -> int:
    return (at - born_us(child)) // (YEAR_US + DAY_US // 4)
