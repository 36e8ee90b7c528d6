"""Decides I1 to I7 from what was recorded, the topics and the tables of a run: never from log lines (I7 alone reads them)."""

from __future__ import annotations

from collections import Counter, defaultdict

from sqlalchemy.exc import SQLAlchemyError

from domain.problems import SightlineError
from tests.fault.databases import verified
from tests.fault.deeds import deeds
from tests.fault.effects import outputs_once
from tests.fault.evidence import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    REFUSED,
    SHOWN,
    Ledger,
    Violation,
    read_ledger,
)  # fmt: skip
from tests.fault.harness import INTAKE, OUTPUTS, House
from tests.fault.privacy import nothing_personal
from tests.fault.timeline import moves, timeline


def check(house: House) -> tuple[list[Violation], dict[str, int]]:
    """Every violation, and how much was looked at. The clock is held first: what it says meanwhile would be seen by half."""
    house.freeze("clock")
    house.settle()
    house.people.listen()
    house.now()
    ledger = read_ledger(house)
    sent = {t: house.read(t) for t in OUTPUTS}
    found = [
        *ledger.violations,
        *intake_once(house, ledger),
        *positions(house, ledger),
        *moves(house),
        *outputs_once(house, ledger, sent),
        *views_clean(house),
        *timeline(house, ledger),
        *nothing_personal(house, sent),
    ]
    broken, done = deeds(house, ledger)
    found += broken
    verdicts = Counter(e["verdict"] for e in ledger.facts)
    seen = {
        "entries": len(ledger.entries), "facts": len(ledger.facts), "outputs": sum(map(len, sent.values())),
        **{v.lower(): verdicts[v] for v in (ACCEPTED, DUPLICATE, CONFLICT, REFUSED)},
        "acts": sum(e["kind"] == "ACT" and e["verdict"] == ACCEPTED for e in ledger.entries),
        "recommendations": len(sent["recommendations"]), "gp.messages": len(sent["gp.messages"]),
        **done,
    }  # fmt: skip
    return found, seen


def intake_once(house: House, ledger: Ledger) -> list[Violation]:
    """I1: one entry an intake record; what an entry says is as it should be."""
    bad = []
    sources = Counter((e["source_topic"], e["source_partition"], e["source_offset"]) for e in ledger.entries if e["source_topic"])
    for (topic, partition), end in house.ends(INTAKE).items():
        counts = [sources.get((topic, partition, offset), 0) for offset in range(end)]
        none, twice = [o for o, c in enumerate(counts) if c == 0], [o for o, c in enumerate(counts) if c > 1]
        if none:
            bad.append(Violation("I1", f"{len(none)} records of {topic}[{partition}] have no entry, such as {none[:SHOWN]}"))
        if twice:
            bad.append(
                Violation("I1", f"{len(twice)} records of {topic}[{partition}] have several entries, such as {twice[:SHOWN]}")
            )
    return [*bad, *_accepted_once(house, ledger), *_poison_refused(house, ledger)]


def _accepted_once(house: House, ledger: Ledger) -> list[Violation]:
    """One acceptance an acknowledged fact, every other sending a duplicate or a conflict; no sending less than acknowledged."""
    bad = []
    by_id: dict[tuple[str, str], list[str]] = defaultdict(list)
    for e in ledger.facts:
        if e["event_id"] is not None:
            by_id[(e["agency"], e["event_id"])].append(e["verdict"])
    for agency, ids in house.acknowledged.items():
        for event_id, times in sorted(ids.items()):
            verdicts = by_id.get((agency, event_id), [])
            wanted = house.conflicts.get(event_id, 0)
            if len(verdicts) < times:
                text = f"{agency} {event_id} was acknowledged {times} times and is in the intake {len(verdicts)} times"
                bad.append(Violation("I1", text))
            if verdicts.count(ACCEPTED) != 1:
                bad.append(Violation("I1", f"acknowledged {agency} {event_id} is accepted {verdicts.count(ACCEPTED)} times"))
            elif verdicts[0] != ACCEPTED or verdicts.count(CONFLICT) != wanted or set(verdicts) - {ACCEPTED, DUPLICATE, CONFLICT}:
                bad.append(Violation("I1", f"{agency} {event_id} has the verdicts {verdicts}, with {wanted} conflicts sent"))
    return bad


def _poison_refused(house: House, ledger: Ledger) -> list[Violation]:
    """Each poison is refused for its reason."""
    bad = []
    for (topic, partition, offset), reason in house.poison.items():
        told = [
            (e["verdict"], e["reason"])
            for e in ledger.facts
            if (e["source_topic"], e["source_partition"], e["source_offset"]) == (topic, partition, offset)
        ]
        if told != [(REFUSED, reason)]:
            bad.append(Violation("I1", f"poison {reason} at {topic}[{partition}]@{offset} became {told}"))
    return bad


def positions(house: House, ledger: Ledger) -> list[Violation]:
    """I4: a position stands right after the highest entry of its source, and no work below it is missing."""
    highest: dict[tuple[str, int], int] = {}
    held: dict[tuple[str, int], set[int]] = defaultdict(set)
    for e in ledger.entries:
        if e["source_topic"]:
            key = (e["source_topic"], e["source_partition"])
            highest[key] = max(highest.get(key, -1), e["source_offset"])
            held[key].add(e["source_offset"])
    bad = []
    ends = house.ends(INTAKE)
    for topic, partition, offset in house.rows("select topic, partition, next_offset from position order by 1, 2"):
        key = (topic, partition)
        if missing := sorted(set(range(offset)) - held[key]):
            bad.append(
                Violation(
                    "I4",
                    f"position of {topic}[{partition}] is past {len(missing)} records without entry, such as {missing[:SHOWN]}",
                )
            )
        if not offset == ends[key] == highest.get(key, -1) + 1:
            bad.append(
                Violation(
                    "I4",
                    f"position {offset} of {topic}[{partition}], intake ends at {ends[key]}, highest entry {highest.get(key)}",
                )
            )
    return bad


def views_clean(house: House) -> list[Violation]:
    """I2: `verify` finds no difference."""
    try:
        count, differences = verified(house)
    except (SQLAlchemyError, SightlineError, AssertionError, KeyError) as err:
        return [Violation("I2", f"a clean fold of the ledger cannot be made ({type(err).__name__})")]
    if count == 0:
        return [Violation("I2", "no view was compared")]
    if not differences:
        return []
    return [Violation("I2", f"{len(differences)} differences, such as {differences[:SHOWN]}")]
