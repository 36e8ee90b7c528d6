"""Which corrections act on facts that stand on another record than they do, or that are withdrawn there in turn.

A Retraction withdraws a fact unless a Retraction that acts withdraws it. Where all of that is under one presentation, whoever
folds this one sees it. Where it is not, the record of the fact is told: `replaced` when the correction acts, `reinstated` when it
does not (any more). Of each (fact, correction) what was told last holds, so a thing is told once (I3), and nothing else is needed
to know whether a fact is in force: not on which children the others are, nor whether these were ever one (I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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


class Told(Protocol):
    """The facts of all records that a correction leads to, and what was concluded on these."""

    def fact(self, key: FactKey) -> Fact | None:
        """The fact of this id, if it has come."""

    def corrections_of(self, key: FactKey) -> list[Fact]:
        """Those that correct the fact of this id, by the same agency."""

    def said_on(self, child_id: str) -> Sequence[Conclusion]:
        """What was concluded under the name of this child, in order."""


def stands(retraction: FactKey, retracts: Mapping[FactKey, Sequence[FactKey]], seen: AbstractSet[FactKey]) -> bool:
    """A retraction acts unless a retraction that acts withdraws it. `seen` ends a ring of retractions."""
    if retraction in seen:
        return False
    return not any(stands(r, retracts, seen | {retraction}) for r in retracts.get(retraction, ()))


def corrections(fact: Fact, told: Told) -> list[tuple[str, Json]]:
    """What is to be told of a fact that has come, and is among those `told`: of the one it corrects, of itself when corrections
    came before it, and of those for which it decides whether a Retraction acts.
    """
    key, waiting = key_of(fact), told.corrections_of(key_of(fact))
    replacing = [(key, f) for f in waiting if f.supersedes == fact.event_id]
    if fact.supersedes is not None:
        replacing.append(((fact.agency, fact.supersedes), fact))
    found: list[tuple[str, Json] | None] = []
    for target, by in replacing:
        old = told.fact(target)
        if old is not None and old.presentation_id != by.presentation_id:
            found.append(_tell(old, by.event_id, REPLACED, told))
    pairs = [(key, key_of(f)) for f in waiting if f.retracts == fact.event_id]
    pairs += [pair for pair in _upwards(fact, told) if pair not in pairs]
    found += [_withdrawn(target, by, told) for target, by in pairs]
    return [f for f in found if f is not None]


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


def _withdrawn(target: FactKey, by: FactKey, told: Told) -> tuple[str, Json] | None:
    """Does a Retraction of a fact act? None where its record shows that by itself, or was told before."""
    retracts, left = dict[FactKey, list[FactKey]](), [by]
    while left:
        if (one := left.pop()) not in retracts:
            retracts[one] = _retractions_of(one, told)
            left += retracts[one]
    old = told.fact(target)
    under = {f.presentation_id for f in map(told.fact, retracts) if f is not None}
    if old is None or under == {old.presentation_id}:
        return None
    return _tell(old, by[1], REPLACED if stands(by, retracts, {target}) else REINSTATED, told)


def _tell(old: Fact, by_event_id: str, kind: str, told: Told) -> tuple[str, Json] | None:
    """By the child named after the fact's record: that leads to whichever child it is on, also after an undo (I5)."""
    data = {"child_id": child_id_of(old.presentation_id), "event_id": old.event_id, "by_event_id": by_event_id}
    before = [c.kind for c in told.said_on(data["child_id"]) if c.kind in CORRECTED and c.data == data]
    return None if before[-1:] == [kind] else (kind, data)
