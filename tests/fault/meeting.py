"""Row 18: did two workers meet one child, and is each fact on its own child while matches are undone?"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Final

from tests.fault.checker import check
from tests.fault.compare import answered, compare
from tests.fault.evidence import ACCEPTED, read_ledger
from tests.fault.harness import House
from tests.fault.oracle import Oracle
from tests.fault.trial import Broken, Trial
from tests.fault.walk import Answer, Children

NEAR: Final = 50
"""Entries: two batches, the one and the other worker's."""


def deciders(house: House) -> set[str]:
    """Who owns partitions of facts."""
    return {owner for (owner,) in house.rows("select distinct owner from position where topic like 'facts.%'")}


def met_by_both(house: House) -> int:
    """Children of whom both workers decided near one another; who decided what, the moves of positions say."""
    decided: dict[tuple[str, int, int], str] = {}
    for topic, partition, first, end, owner in house.rows(DECIDED):
        decided |= dict.fromkeys(((topic, partition, offset) for offset in range(first, end)), owner)
    child_of = {(a, i): c for a, i, c in house.rows(CHILD_OF)}
    told: dict[str, list[tuple[int, str]]] = {}
    for e in read_ledger(house).facts:
        if e["verdict"] == ACCEPTED:
            decider = decided[e["source_topic"], e["source_partition"], e["source_offset"]]
            told.setdefault(child_of[e["agency"], e["event_id"]], []).append((e["number"], decider))
    return sum(any(b[0] - a[0] <= NEAR and a[1] != b[1] for a, b in pairwise(some)) for some in told.values())


DECIDED: Final = "select topic, partition, old_offset, new_offset, owner from watching.move where new_offset > old_offset"
CHILD_OF: Final = "select f.agency, f.event_id, p.child_id from fact f join presentation p using (presentation_id)"
SIDES: Final = """
select m.match_id, (select max(c.number) from conclusion c where c.about = m.match_id), p.child_id, q.child_id
from possible_match m join presentation p on p.presentation_id = m.presentation_id
join presentation q on q.presentation_id = m.anchor
where m.state = any(%s) and (m.state = 'UNDONE' or exists (select 1 from edge e where e.match_id = m.match_id))
order by m.match_id
"""
"""Matches with their version and the children that their two sides are on."""


def taken_apart(trial: Trial, house: House, before: Collection[str]) -> list[str]:
    """Undo confirmed matches, and judge that each fact is then on the child that the other links put it on; the matches.

    Children of matches undone `before` are left alone: rules may not join what came to them meanwhile, which the oracle does
    not know. Raises: Broken, Unsuited.
    """
    rows = house.rows(SIDES, [["CONFIRMED"]])
    touched = {c for match_id, _, *sides in rows if match_id in before for c in sides}
    chosen = {m: v for m, v, c, _ in rows if c not in touched}
    for match_id, version in chosen.items():
        head = {"actor_id": "reviewer", "actor_role": "icart_manager", "based_on": version}
        house.people.act("MatchUndone", head, match_id=match_id, rationale="wrong")
    house.settle()
    apart = sum(a != b for m, _, a, b in house.rows(SIDES, [["UNDONE"]]) if m in chosen)
    trial.counts["matches taken apart"] = apart
    trial.suited(apart > 0, "nothing to take apart")
    if found := [*check(house)[0], *compare(house, linked(trial.oracle(house), house), truth=False).violations]:
        raise Broken(found)
    house.thaw("clock")
    return list(chosen)


def linked(oracle: Oracle, house: House) -> Oracle:
    """The oracle, where children are what the rules and the answers accepted so far make them, whatever else is true."""
    ledger = read_ledger(house)
    at = {e["event_id"]: (e["number"], e["accepted_at"]) for e in ledger.facts if e["verdict"] == ACCEPTED}
    told, (answers, _) = oracle.told(at), answered(house, oracle, ledger)
    children = Children()
    for step in sorted([*told, *answers], key=lambda x: x.number):
        if isinstance(step, Answer):
            children.join(step.one, step.other, 1 if step.joins else -1)
        else:
            children.show(oracle.people.of[step.key])
    oracle.people.clusters = sorted({children.of(s) for s in children.order}, key=lambda c: min((s.agency, s.fields) for s in c))
    oracle.people.cluster_of = {s: n for n, c in enumerate(oracle.people.clusters) for s in c}
    return oracle
