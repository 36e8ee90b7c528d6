"""What the views hold, beside what the oracle expects: per child, found by its set of facts and never by its id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.fault.checker import ACCEPTED, SHOWN, Violation, read_ledger, views
from tests.fault.harness import House
from tests.fault.oracle import Child, Oracle, Told

Reasons = dict[str, tuple[int, frozenset[str]]]
Raised = dict[tuple[int, str], tuple[str, Reasons]]
"""By entry number and child id: the basis and the reasons."""


@dataclass
class Comparison:
    """What was found, and how many of each kind were compared."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def same(self, invariant: str, kind: str, key: object, both: tuple[object, object], count: int) -> None:
        """Note a difference of `both`, expected and found; `count` things were compared."""
        expected, found = both
        self.counts[kind] += count
        if expected != found:
            self.violations.append(
                Violation(invariant, f"{kind} of {key}: expected {_short(expected, found)}, found {_short(found, expected)}")
            )


def compare(house: House, oracle: Oracle) -> Comparison:
    """Fact ids and their states, episodes and interviews, reasons, recommendations, GP messages, as the tables hold them."""
    ledger = read_ledger(house)
    accepted = {
        e["event_id"]: (e["number"], e["accepted_at"])
        for e in ledger.facts
        if e["verdict"] == ACCEPTED and e["event_id"] in oracle.sent
    }
    told = oracle.told(accepted)
    out = compare_views(oracle, told, views(house).values())
    found: Raised = {}
    for number, child_id, data in house.rows("select number, child_id, data from conclusion where kind = 'recommended'"):
        found[(number, child_id)] = raised(orjson.loads(bytes(data)))
    links = house.rows("select presentation_id, child_id, from_number, to_number from link order by from_number, presentation_id")
    on = dict(house.rows("select event_id, presentation_id from fact"))
    at = {e["number"]: e["accepted_at"] for e in ledger.entries}
    compare_raised(out, expected_raised(oracle, told, at, on, links), found)
    return out


def compare_views(oracle: Oracle, told: list[Told], documents: Iterable[dict[str, Any]]) -> Comparison:
    """All that a child view says by itself. `documents`: the views of every child not merged away."""
    out = Comparison()
    by_facts = {frozenset(c["event_id"] for c in v["chronology"]): v for v in documents}
    home = {f.key: oracle.people.cluster_of[oracle.people.of[f.key]] for f in told}
    children = list(oracle.children(told))
    for people, facts in children:
        keys = frozenset(f.key for f in facts)
        view = by_facts.get(keys)
        if view is None:
            near = max(by_facts, key=lambda k: len(k & keys))
            text = f"lacks {sorted(keys - near)[:SHOWN]}, has {sorted(near - keys)[:SHOWN]}"
            out.violations.append(Violation("I5", f"no view holds exactly the {len(keys)} facts of a child; the nearest {text}"))
            continue
        child = oracle.child(facts, told, people, view["as_of"], home)
        _facts(out, child, view)
        _episodes(out, child, view)
        _risk(out, child, view)
        _messages(out, child, view, people)
    out.same("I5", "children", "the borough", (len(children), len(by_facts)), len(by_facts))
    return out


def raised(data: dict[str, Any]) -> tuple[str, Reasons]:
    """Basis and reasons of a `recommended` conclusion."""
    return data["basis"], {r["rule"]: (r["points"], frozenset(r["facts"])) for r in data["reasons"]}


def compare_raised(out: Comparison, expected: Raised, found: Raised) -> None:
    """Recommendations by the entry that raised them and the child."""
    for key in sorted(expected.keys() | found.keys()):
        out.same("TRUTH", "recommendations", key, (expected.get(key), found.get(key)), 1)


def _facts(out: Comparison, child: Child, view: dict[str, Any]) -> None:
    expected = {f.key: child.states[f.key] for f in child.facts}
    found = {c["event_id"]: c["state"] for c in view["chronology"]}
    out.same("I5", "facts", view["child_id"], (expected, found), len(expected))
    out.counts["superseded"] += sum(s == "SUPERSEDED" for s in expected.values())
    out.counts["retracted"] += sum(s == "RETRACTED" for s in expected.values())


def _episodes(out: Comparison, child: Child, view: dict[str, Any]) -> None:
    expected = {
        (frozenset(e.sources), e.type, e.started, e.ended, e.clock, frozenset((i.id, _state(i)) for i in e.interviews))
        for e in child.episodes
    }
    found = {
        (
            frozenset((a, n) for a, n in e["sources"]), e["type"], e["started_at"], e["ended_at"], e["rhi_clock"]["state"],
            frozenset((i["interview_id"], i["state"]) for i in e["interviews"]),
        )
        for e in view["missing"]
    }  # fmt: skip
    out.same("TRUTH", "episodes", view["child_id"], (expected, found), len(expected))
    loose = {i.id for i in child.unpaired}
    out.same(
        "TRUTH",
        "interviews unpaired",
        view["child_id"],
        (loose, {i["interview_id"] for i in view["interviews_unpaired"]}),
        len(loose),
    )
    out.counts["interviews"] += sum(len(e.interviews) for e in child.episodes)


def _state(interview: Any) -> str:
    return "COMPLETED" if interview.completed else "DECLINED" if interview.declined else "OFFERED"


def _risk(out: Comparison, child: Child, view: dict[str, Any]) -> None:
    found: Reasons = {r["rule"]: (r["points"], frozenset(r["facts"])) for r in view["risk"]["reasons"]}
    out.same("TRUTH", "reasons", view["child_id"], (child.reasons, found), len(child.reasons))
    said = (view["risk"]["points"], view["risk"]["harm"])
    out.same("TRUTH", "points", view["child_id"], ((child.points, child.harm), said), 1)


def _messages(out: Comparison, child: Child, view: dict[str, Any], people: frozenset[Any]) -> None:
    """Every live outcome is with the child's practice of today, once; nobody has read any in these runs."""
    traced = {s.numbers["nhs"] for s in people if "nhs" in s.numbers}
    registered = [f for f in child.of("GpRegistration") if f.body["registered_from"] <= child.today]
    newest = max(registered, key=lambda f: (f.body["registered_from"], *f.order)) if registered else None
    practice = newest.body["practice_ods"] if newest is not None and len(traced) == 1 else None
    expected = Counter((f.key, practice) for f in child.of("CsogOutcome"))
    found = Counter((m["csog_event_id"], m["practice_ods"]) for m in view["messages"] if m["state"] != "WITHDRAWN")
    out.same("TRUTH", "messages", view["child_id"], (expected, found), sum(expected.values()))


def expected_raised(
    oracle: Oracle,
    told: list[Told],
    at: Mapping[int, int],
    on: Mapping[str, str],
    links: Sequence[tuple[str, str, int, int | None]],
) -> Raised:
    """Walk each child through the ledger as its links say it was: raised exactly when, and on what, the written policy says.

    `at` gives `accepted_at` by number, `on` the presentation by fact, `links` (presentation, child, from number, to number).
    Nobody decides in these runs, so a recommendation is raised once, and anew with each thing that its last raising did not list.
    """
    fields = {f.key: oracle.people.of[f.key] for f in told}
    founder: dict[str, str] = {}
    for pid, child_id, _, _ in links:
        founder.setdefault(child_id, pid)
    facts_on: dict[str, list[Told]] = defaultdict(list)
    for f in told:
        facts_on[on[f.key]].append(f)
    expected: Raised = {}
    moments = sorted(
        {
            (n, c)
            for p, c, a, z in links
            for n in [
                a,
                *([] if z is None else [z]),
                *(f.number for f in facts_on[p] if f.number >= a and (z is None or f.number < z)),
            ]
        }
    )
    open_on: dict[str, tuple[int, Child]] = {}
    for number, child_id in moments:
        where = {p: c for p, c, a, z in links if a <= number and (z is None or z > number)}
        mine = [p for p, c in where.items() if c == child_id]
        if not mine:
            continue
        known = [f for f in told if f.number <= number]
        home = {f.key: hash(where.get(on[f.key])) for f in known}
        facts = [f for p in mine for f in facts_on[p] if f.number <= number]
        child = oracle.child(facts, known, {fields[f.key] for f in facts}, at[number], home)
        waiting = [c for c in open_on if where.get(founder[c]) == child_id]
        about = waiting[0] if waiting else child_id
        if child.basis is None:
            continue
        if waiting:
            raised_at, listed = open_on[about]
            since = {p: a for p, c, a, z in links if p in mine and a <= number and (z is None or z > number)}
            old = [f for f in facts if f.number <= raised_at and since[on[f.key]] <= raised_at]
            if not oracle.news(child, listed, oracle.seen(old, known, raised_at, child)):
                continue
        open_on[about] = (number, child)
        expected[(number, child_id)] = (child.basis, child.reasons)
    return expected


def _short(one: object, other: object) -> str:
    """What `one` has that `other` has not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return str({k: v for k, v in one.items() if other.get(k) != v})[:600]
    if isinstance(one, set) and isinstance(other, set):
        return str(one - other)[:600]
    return str(one)[:600]
