"""I4 and I6 from what was seen while it happened: positions, epochs, counter, incarnation, and how soon entries flowed again."""

from __future__ import annotations

from itertools import pairwise

from tests.fault.evidence import Ledger, Violation
from tests.fault.harness import House
from tests.fault.history import BACK, Seen


def timeline(house: House, ledger: Ledger) -> list[Violation]:
    """Every violation."""
    seen = house.history.sightings
    bad = [v for before, after in pairwise(seen) for v in _step(before, after)]
    bad += _incarnations(seen, ledger)
    top = max((s.relayed for s in seen), default=0)
    if ledger.entries and ledger.entries[-1]["number"] < top:
        bad.append(Violation("I1", f"number {top} was seen as relayed; the ledger ends at {ledger.entries[-1]['number']}"))
    for event in house.history.of("resumed"):
        d = event.details
        if d["seconds"] > d["bound_s"]:
            bad.append(
                Violation("I6", f"{d['after']}: entries flowed again after {d['seconds']} s, to be within {d['bound_s']} s")
            )
    return bad


def _step(before: Seen, after: Seen) -> list[Violation]:
    """Within one database and incarnation nothing moves back."""
    if (before.database, before.incarnation) != (after.database, after.incarnation):
        return []
    bad = [
        Violation("I4", f"{name} went from {getattr(before, name)} back to {getattr(after, name)}")
        for name in ("number", "relayed")
        if getattr(after, name) < getattr(before, name)
    ]
    for (topic, partition), (offset, epoch) in before.positions.items():
        later = after.positions.get((topic, partition))
        if later is None or later[0] < offset:
            bad.append(Violation("I4", f"the position of {topic}[{partition}] went from {offset} back to {later}"))
        elif later[1] < epoch:
            bad.append(Violation("I4", f"the epoch of {topic}[{partition}] went from {epoch} back to {later[1]}"))
    return bad


def moves(house: House) -> list[Violation]:
    """No position was ever moved back, nor its epoch: as the database wrote each move down."""
    return [
        Violation("I4", f"{t}[{p}] was moved from {old} (epoch {epoch}) to {new} (epoch {later})")
        for t, p, old, new, epoch, later in house.rows(BACK)
    ]


def _incarnations(seen: list[Seen], ledger: Ledger) -> list[Violation]:
    """A database that lacked what was relayed took a new incarnation, which the ledger shows."""
    bad = []
    for n, (before, after) in enumerate(pairwise(seen)):
        if before.database != after.database and after.number < before.relayed:
            final = seen[-1].incarnation
            if final <= before.incarnation:
                bad.append(
                    Violation(
                        "I4", f"sighting {n}: an older database took no new incarnation: {before.incarnation}, then {final}"
                    )
                )
    if seen and ledger.entries and ledger.incarnation < max(s.incarnation for s in seen):
        bad.append(Violation("I4", f"the ledger shows incarnation {ledger.incarnation}, the database had {seen[-1].incarnation}"))
    return bad
