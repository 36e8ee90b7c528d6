"""What the views hold, beside what the oracle expects: per child, found by its set of facts and never by its id or a link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tests.fault.clusters import Shown
from tests.fault.evidence import ACCEPTED, SHOWN, Ledger, Violation, read_ledger, views
from tests.fault.harness import House
from tests.fault.oracle import HOUR, Child, Corrections, Oracle, Told
from tests.fault.walk import Answer, Raised, raised

Reasons = dict[str, tuple[int, frozenset[str]]]
HARM_DUE_HOURS: Final = 4
"""schemas/deadlines.yaml, recommendation-harm."""


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


def compare(house: House, oracle: Oracle, *, truth: bool = True, of: Collection[str] | None = None) -> Comparison:
    """Fact ids and their states, episodes and interviews, reasons, recommendations, GP messages, as the tables hold them.

    Without `truth`, only what no clock and no words change: which child each fact is on, and where each fact stands (I5).
    `of`: so for all children but those with one of these facts, and without when each recommendation was raised: our own rule
    had failed by then.

    When a recommendation is raised is compared for children on whom nobody decided and whose matches nobody undid: an undo bars
    rules from joining their records, which the oracle does not know. And not where days were let pass: what rises by itself is
    then raised by whatever entry comes next, a receipt or the clock's.
    """
    ledger = read_ledger(house)
    told = oracle.told(
        {
            e["event_id"]: (e["number"], e["accepted_at"])
            for e in ledger.facts
            if e["verdict"] == ACCEPTED and e["event_id"] in oracle.sent
        }
    )
    answers, undone = answered(house, oracle, ledger)
    rows = house.rows("select number, about, data from conclusion where kind = 'recommended' order by number")
    told_of = [(number, about, orjson.loads(bytes(data))) for number, about, data in rows]
    decided = {a for (a,) in house.rows("select about from conclusion where kind in ('convened', 'declined', 'closed')")}
    apart = {_cluster(oracle, data) for _, about, data in told_of if about in decided} | undone
    out = compare_views(oracle, told, views(house).values(), apart, truth=truth, of=of)
    compare_answers(out, oracle, told, answers)
    if truth and of is None and not any(e.details["us"] for e in house.history.of("clock shifted")):
        at = {e["number"]: e["accepted_at"] for e in ledger.entries}
        compare_raised(out, oracle, raised(oracle, told, answers, at), [(n, d) for n, _, d in told_of], apart)
    return out


def compare_answers(out: Comparison, oracle: Oracle, told: Iterable[Told], answers: Iterable[Answer]) -> None:
    """What a reviewer was asked about two records was known of both: the ledger shows them before the answer."""
    since: dict[Shown, int] = {}
    for fact in told:
        shown = oracle.people.of[fact.key]
        since[shown] = min(fact.number, since.get(shown, fact.number))
    for a in answers:
        known = all(since.get(s, a.number) < a.number for s in (a.one, a.other))
        out.same("I2", "records known before the answer about them", a.number, (True, known), 1)


def answered(house: House, oracle: Oracle, ledger: Ledger) -> tuple[list[Answer], set[int]]:
    """The reviewer's accepted answers, from what was sent and the ledger's verdicts; and the clusters of matches undone.

    Which presentation a side of a match is, is known by the facts that were filed under it.
    """
    of: dict[str, Shown] = {}
    for event_id, pid in house.rows("select event_id, presentation_id from fact"):
        shown = oracle.people.of.get(event_id)
        if shown is not None and len(shown.fields) > 1:
            of[pid] = shown
    sides = {m: (of.get(p), of.get(a)) for m, p, a in house.rows("select match_id, presentation_id, anchor from possible_match")}
    sent = {e.details["event_id"]: e.details for e in house.history.of("act")}
    answers, undone = [], set[int]()
    for entry in ledger.entries:
        act = sent.get(entry["event_id"] or "")
        if act is None or entry["verdict"] != ACCEPTED or act["record"] not in ("MatchConfirmed", "MatchUndone"):
            continue
        one, other = sides[act["value"]["match_id"]]
        if one is not None and other is not None:
            answers.append(Answer(entry["number"], one, other, act["record"] == "MatchConfirmed"))
            if act["record"] == "MatchUndone":
                undone |= {oracle.people.cluster_of[one], oracle.people.cluster_of[other]}
    return answers, undone


def _cluster(oracle: Oracle, data: Mapping[str, Any]) -> int:
    """The final child of a recommendation's evidence."""
    fact = next(f for r in data["reasons"] for f in r["facts"])
    return oracle.people.cluster_of[oracle.people.of[fact]]


def compare_raised(
    out: Comparison,
    oracle: Oracle,
    expected: Mapping[Raised, int],
    found: Sequence[tuple[int, Mapping[str, Any]]],
    apart: Collection[int] = (),
) -> None:
    """Recommendations by the entry that raised them, their basis and reasons; but for the clusters in `apart`."""
    wanted = Counter({k: n for k, n in expected.items() if _of(oracle, k) not in apart})
    there = Counter(
        (n, d["basis"], frozenset((r["rule"], r["points"], frozenset(r["facts"])) for r in d["reasons"]))
        for n, d in found
        if _cluster(oracle, d) not in apart
    )
    for key in sorted(wanted.keys() | there.keys(), key=lambda k: k[:2]):
        out.same(
            "TRUTH",
            "recommendations",
            key[:2],
            ((wanted[key], sorted(map(str, key[2]))), (there[key], sorted(map(str, key[2])))),
            1,
        )


def _of(oracle: Oracle, key: Raised) -> int:
    fact = next(f for _, _, facts in key[2] for f in facts)
    return oracle.people.cluster_of[oracle.people.of[fact]]


def compare_views(
    oracle: Oracle, told: list[Told], documents: Iterable[dict[str, Any]], apart: Collection[int] = (), *, truth: bool = True,
    of: Collection[str] | None = None,
) -> Comparison:  # fmt: skip
    """All that a child view says by itself; without `truth`, its facts alone. `documents`: of every child not merged away.

    `of`: all of children with one of these facts, of the others their facts alone.

    Recommendations of the clusters in `apart` are left to `tests.fault.deeds`: somebody decided.
    """
    out = Comparison()
    by_facts: dict[frozenset[str], dict[str, Any]] = {}
    for v in documents:
        keys = frozenset(c["event_id"] for c in v["chronology"])
        if keys in by_facts:
            text = f"children {v['child_id']} and {by_facts[keys]['child_id']} show the same {len(keys)} facts: one child twice"
            out.violations.append(Violation("I5", text))
        by_facts[keys] = v
    corrections = Corrections(told)
    children = list(oracle.children(told))
    for people, facts in children:
        keys = frozenset(f.key for f in facts)
        view = by_facts.get(keys)
        if view is None:
            near = max(by_facts, key=lambda k: len(k & keys))
            text = f"lacks {sorted(keys - near)[:SHOWN]}, has {sorted(near - keys)[:SHOWN]}"
            out.violations.append(Violation("I5", f"no view holds exactly the {len(keys)} facts of a child; the nearest {text}"))
            continue
        child = oracle.child(facts, corrections, people, view["as_of"], oracle.home)
        _facts(out, child, view)
        if not truth or (of is not None and keys.isdisjoint(of)):
            continue
        _episodes(out, child, view)
        _risk(out, child, view)
        if not apart:
            _messages(out, child, view, people)
        if oracle.people.cluster_of[next(iter(people))] not in apart:
            _recommendations(out, child, view)
    out.same("I5", "children", "the borough", (len(children), len(by_facts)), len(by_facts))
    return out


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


def _recommendations(out: Comparison, child: Child, view: dict[str, Any]) -> None:
    """Nobody has decided: one of a child's is open, and the others are joined with it; a child that needs one has one.

    It says that evidence changed when some of what it was last raised on is withdrawn, not when all of it stands.
    """
    listed = view["recommendations"]
    to_decide = [r for r in listed if r["state"] != "JOINED"]
    states, owed = (len(to_decide), all(r["open"] for r in to_decide)), int(bool(listed) or child.basis is not None)
    out.same("TRUTH", "recommendation states", view["child_id"], ((owed, True), states), len(listed))
    out.counts["joined"] += len(listed) - len(to_decide)
    for rec in to_decide:
        evidence = {f for r in rec["reasons"] for f in r["facts"]}
        told = {child.states.get(f, "ELSEWHERE") for f in evidence}
        once = [h["kind"] for h in rec["history"]].count("recommended") == 1
        if told <= {"CURRENT"}:
            out.same("TRUTH", "evidence", rec["recommendation_id"], (False, rec["evidence_changed"]), 1)
        if "RETRACTED" in told:
            out.same("TRUTH", "evidence", rec["recommendation_id"], (True, rec["evidence_changed"]), 1)
        first = rec["history"][0]["at"]
        if rec["basis"] == "HARM" and once:
            out.same("TRUTH", "deadlines", rec["recommendation_id"], (first + HARM_DUE_HOURS * HOUR, rec["due_at"]), 1)


def _messages(out: Comparison, child: Child, view: dict[str, Any], people: frozenset[Any]) -> None:
    """Every live outcome is with the child's practice of today, once; nobody has read any in these runs."""
    traced = {s.numbers["nhs"] for s in people if "nhs" in s.numbers}
    registered = [f for f in child.of("GpRegistration") if f.body["registered_from"] <= child.today]
    newest = max(registered, key=lambda f: (f.body["registered_from"], f.recorded, *f.order)) if registered else None
    practice = newest.body["practice_ods"] if newest is not None and len(traced) == 1 else None
    expected = Counter((f.key, practice) for f in child.of("CsogOutcome"))
    found = Counter((m["csog_event_id"], m["practice_ods"]) for m in view["messages"] if m["state"] != "WITHDRAWN")
    out.same("TRUTH", "messages", view["child_id"], (expected, found), sum(expected.values()))


def _short(one: object, other: object) -> str:
    """What `one` has that `other` has not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return str({k: v for k, v in one.items() if other.get(k) != v})[:600]
    if isinstance(one, set) and isinstance(other, set):
        return str(one - other)[:600]
    return str(one)[:600]
