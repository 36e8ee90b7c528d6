"""Which corrections act on facts that stand on another record than they do, or that are withdrawn there in turn.

A Retraction withdraws a fact unless a Retraction that acts withdraws it. Where all of that is under one presentation, whoever
folds this one sees it. Where it is not, the record of the fact is told: `replaced` when the correction acts, `reinstated` when it
does not (any more). Of each (fact, correction) what was told last holds, so a thing is told once (I3), and nothing else is needed
to know whether a fact is in force: not on which children the others are, nor whether these were ever one (I5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from domain.matching import child_id_of
from domain.model import Conclusion, Fact, Json

REPLACED: Final = "replaced"
REINSTATED: Final = "reinstated"
CORRECTED: Final = (REPLACED, REINSTATED)

FactKey = tuple[str, str]
"""(agency, event_id)."""

Pair = tuple[FactKey, FactKey]
"""A fact, and what corrects it."""

Telling = tuple[Fact, str, str]
"""Of a fact, by the event_id of what corrects it: `REPLACED` or `REINSTATED`."""


class Told(Protocol):
    """The facts of all records that a correction leads to, and what was concluded on these."""

    def fact(self, key: FactKey) -> Fact | None:
        """The fact of this id, if it has come."""

    def corrections_of(self, key: FactKey) -> list[Fact]:
        """Those that correct the fact of this id, by the same agency."""

    def said_on(self, child_id: str) -> Sequence[Conclusion]:
        """What was concluded under the name of this child, in order."""


def acting(targets: Mapping[FactKey, FactKey]) -> set[FactKey]:
    """Those that act, of retractions by what each withdraws: one acts unless one that acts withdraws it.

    Each withdraws one fact, so they are trees, decided from their ends on, and rings. A ring that none outside it breaks is not
    decided so: of each in it, whoever asks whether it is withdrawn goes round from there, as if it did not act itself. Of an
    even number all are withdrawn, of an odd number none.
    """
    undecided = Counter(targets.values())
    acts, left = dict[FactKey, bool](), [(r, True) for r in targets if r not in undecided]
    while left:
        one, does = left.pop()
        if one in acts or one not in targets:
            continue
        acts[one], target = does, targets[one]
        undecided[target] -= 1
        if does:
            left.append((target, False))
        elif not undecided[target]:
            left.append((target, True))
    for one in targets:
        if one not in acts:
            ring = [one]
            while (target := targets[ring[-1]]) != one:
                ring.append(target)
            acts |= dict.fromkeys(ring, len(ring) % 2 == 0)
    return {r for r, does in acts.items() if does}


def corrections(fact: Fact, told: Told) -> list[tuple[str, Json]]:
    """What is to be told of a fact that has come, and is among those `told`: of the one it corrects, of itself when corrections
    came before it, and of those for which it decides whether a Retraction acts.
    """
    key, waiting = key_of(fact), told.corrections_of(key_of(fact))
    replacing = [(key, f) for f in waiting if f.supersedes == fact.event_id]
    if fact.supersedes is not None:
        replacing.append(((fact.agency, fact.supersedes), fact))
    olds = ((told.fact(target), by) for target, by in replacing)
    tellings = [(old, by.event_id, REPLACED) for old, by in olds if old and old.presentation_id != by.presentation_id]
    pairs = dict.fromkeys((key, key_of(f)) for f in waiting if f.retracts == fact.event_id)
    tellings += _withdrawn(pairs | dict.fromkeys(_upwards(fact, told)), told)
    return list(_news(tellings, told))


def told_of(facts: Iterable[Fact], conclusions: Iterable[Conclusion]) -> Iterator[tuple[Pair, Conclusion]]:
    """What conclusions say of corrections, in their order, each with whom it means: of facts of one id (agencies give their own),
    the one on the record that the child is named after.
    """
    said = [c for c in conclusions if c.kind in CORRECTED]
    named = {c.data["event_id"] for c in said}
    means = {(f.event_id, child_id_of(f.presentation_id)): f.agency for f in facts if f.event_id in named} if said else {}
    for c in said:
        about, by = c.data["event_id"], c.data["by_event_id"]
        if (agency := means.get((about, c.data["child_id"]))) is not None:
            yield ((agency, about), (agency, by)), c


def around(key: FactKey, told: Told) -> set[FactKey]:
    """The facts that this one is withdrawn by or withdraws, and so on: what decides which of these act, come or still to come."""
    found, left = set[FactKey](), [key]
    while left:
        if (one := left.pop()) in found:
            continue
        found.add(one)
        fact = told.fact(one)
        if fact is not None and fact.retracts is not None:
            left.append((fact.agency, fact.retracts))
        left += _retractions_of(one, told)
    return found


def key_of(fact: Fact) -> FactKey:
    """By what a fact is known."""
    return fact.agency, fact.event_id


def _upwards(fact: Fact, told: Told) -> Iterator[Pair]:
    """What a Retraction withdraws, and what that withdraws in turn: whether these act rests on it. A ring is gone round once."""
    seen = set[FactKey]()
    at: Fact | None = fact
    while at is not None and at.retracts is not None and key_of(at) not in seen:
        seen.add(key_of(at))
        target = (at.agency, at.retracts)
        older = told.fact(target)
        if older is not None:
            yield target, key_of(at)
        at = older


def _retractions_of(key: FactKey, told: Told) -> list[FactKey]:
    return [key_of(f) for f in told.corrections_of(key) if f.retracts == key[1]]


def _withdrawn(pairs: Iterable[Pair], told: Told) -> list[Telling]:
    """Which of these retractions act? Those are left out of which the record of the fact shows that by itself."""
    targets, left = dict[FactKey, FactKey](), list(pairs)
    while left:
        target, by = left.pop()
        if by not in targets:
            targets[by] = target
            left += [(by, r) for r in _retractions_of(by, told)]
    facts = {key: f for key in {*targets, *targets.values()} if (f := told.fact(key)) is not None}
    under = {key: f.presentation_id for key, f in facts.items()}
    # the record of a fact shows by itself whether a retraction acts only if all that this rests on was filed there as well
    elsewhere, apart = set[FactKey](), [by for by, target in targets.items() if under.get(by) != under.get(target)]
    while apart:
        if (by := apart.pop()) in targets and by not in elsewhere:
            elsewhere.add(by)
            apart.append(targets[by])
    acts = acting(targets)
    found = ((facts[target], by) for target, by in pairs if target in facts and by in elsewhere)
    return [(old, by[1], REPLACED if by in acts else REINSTATED) for old, by in found]


def _news(tellings: Iterable[Telling], told: Told) -> Iterator[tuple[str, Json]]:
    """Those that were not told last, by the child named after the fact's record: that leads to whichever child it is on, also
    after an undo (I5).
    """
    last = dict[str, dict[tuple[str, str], str]]()
    for old, by, kind in tellings:
        if (child := child_id_of(old.presentation_id)) not in last:
            said = (c for c in told.said_on(child) if c.kind in CORRECTED)
            last[child] = {(c.data["event_id"], c.data["by_event_id"]): c.kind for c in said}
        if last[child].get((old.event_id, by)) != kind:
            yield kind, {"child_id": child, "event_id": old.event_id, "by_event_id": by}
