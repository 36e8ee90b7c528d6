"""Recommendations of a strategy discussion and what became of them, folded from conclusions (R1, R3, R5).

OPEN → (EVIDENCE_CHANGED) → (OVERDUE) → CONVENED → HELD, or DECLINED, or CLOSED. `open` means that a decision is still owed.
Where two children are found to be one and each has an open one, one of them goes on and the other is JOINED into it; should they
be taken apart again, it is open again on its own child, on which all that was said of it has stayed (`home`).

`version` is the entry that last changed what there is to decide: a decision based on an older one is stale. Going overdue or a
disagreement does not change it.

Undecided when due, or convened and not held when due: it is passed to another person and to the duty team (`passed`), until it
is decided or held. Raised anew with a later due time, it stays with them, and is passed on again when that time is over. One
who had acted in time and was read late takes that back (`overdue_withdrawn`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from domain.model import Conclusion, Fact, Json
from domain.policy import Reference
from domain.risk import recalled
from domain.selection import Known
from domain.times import to_us

DECIDED: Final = {"convened": "CONVENED", "declined": "DECLINED", "held": "HELD", "closed": "CLOSED"}

WORDS: Final[Mapping[str, str]] = {
    "recommended": "Recommended", "evidence_changed": "Evidence changed",
    "recommendation_overdue": "Overdue: passed on to another person and to EDT",
    "meeting_overdue": "Convened and not held: passed on to another person and to EDT",
    "overdue_withdrawn": "Not overdue: somebody had acted in time",
    "joined": "Joined with another recommendation on the same child",
    "parted": "Open again: the two records were taken apart",
    "convened": "Convened", "declined": "Declined", "held": "Held", "disagreed": "Disagreed", "closed": "Closed",
}  # fmt: skip


@dataclass(slots=True)
class Recommendation:
    """One recommendation, in its present state. `raised`: the newest `recommended` (news raises it anew while it is open).

    `evidence`: the facts it was last raised on; `agencies`: those who told them; `changed`: those that are gone since.
    `found_in_force`: that many, all there were, have been found in force; they stay so while what is known goes on.
    `joined`: it is decided with another one; `left`: it was, and that one is no longer on this child; `reopened`: that was said.
    """

    recommendation_id: str
    raised: Conclusion
    raised_at: int
    version: int = 0
    decision: str | None = None
    decided: Conclusion | None = None
    passed: Conclusion | None = None
    joined: Conclusion | None = None
    left: bool = False
    reopened: Conclusion | None = None
    changed: set[str] = field(default_factory=set)
    steps: list[Conclusion] = field(default_factory=list)
    evidence: set[str] = field(default_factory=set)
    found_in_force: int = field(default=0, compare=False)
    agencies: frozenset[str] = frozenset()
    disagreed: list[Conclusion] = field(default_factory=list)

    @property
    def home(self) -> str:
        """The child id it was first raised on. All that is said of it is said there, and stays there when a match is undone."""
        return str(self.steps[0].data["child_id"])

    @property
    def about(self) -> Json:
        """As every conclusion about it names it."""
        return {"recommendation_id": self.recommendation_id, "child_id": self.home}

    @property
    def open(self) -> bool:
        """A decision is still owed."""
        return self.decision is None and self.joined is None

    @property
    def state(self) -> str:
        """OPEN, OVERDUE, EVIDENCE_CHANGED, JOINED, CONVENED, DECLINED, HELD or CLOSED."""
        if self.decision is not None:
            return self.decision
        if self.joined is not None:
            return "JOINED"
        return "OVERDUE" if self.passed else "EVIDENCE_CHANGED" if self.changed else "OPEN"

    @property
    def due_at(self) -> int:
        """When the decision is due, µs UTC; computed whenever it is raised, or open again."""
        return int((self.reopened or self.raised).data["due_at"])

    @property
    def held_due_at(self) -> int | None:
        """When a convened discussion is to have been held, µs UTC; computed once, when convened. None: nothing is convened."""
        if self.decision != "CONVENED" or self.decided is None:
            return None
        found: int | None = self.decided.data.get("held_due_at")
        return found

    @property
    def waits_until(self) -> int | None:
        """When what somebody owes here becomes overdue, µs UTC; None: nothing is owed, or it was passed on already."""
        due = self.due_at if self.open else self.held_due_at
        if due is not None and self.passed is not None and due <= self.passed.data["due_at"]:
            return None
        return due

    @property
    def owed(self) -> bool:
        """Somebody has to do something: decide, or hold what was convened."""
        return self.open or self.decision == "CONVENED"

    @property
    def owed_at(self) -> int:
        """When what is owed was or is due, µs UTC; when it was passed on, since when it has been overdue."""
        return int(self.passed.data["due_at"]) if self.passed is not None else self.held_due_at or self.due_at

    @property
    def seen(self) -> tuple[int, int]:
        """What people saw of it: what was known by this entry, or (of a discussion that was held) at this instant, µs UTC.

        A decision is about what the recommendation listed, so the entry is the one that raised it last.
        """
        held = self.decided if self.decision == "HELD" else None
        return self.raised.number, -1 if held is None else min(int(held.data["held_at"]), held.accepted_at)


def recommendations(known: Known) -> list[Recommendation]:
    """Every recommendation on this child, oldest first."""
    return in_order(by_id(known))


def by_id(known: Known) -> dict[str, Recommendation]:
    """Every recommendation on this child."""
    found: dict[str, Recommendation] = {}
    for c in known.conclusions:
        learn(found, c)
    return found


def dues(raised: Iterable[Recommendation]) -> list[int]:
    """When what somebody owes on these becomes overdue, µs UTC."""
    return [at for r in raised if (at := r.waits_until) is not None]


def in_order(found: Mapping[str, Recommendation]) -> list[Recommendation]:
    """Oldest first."""
    return sorted(found.values(), key=lambda r: (r.raised_at, r.steps[0].number, r.recommendation_id))


def learn(found: dict[str, Recommendation], c: Conclusion) -> None:
    """Let a conclusion that was drawn after all others join in."""
    rid = c.data.get("recommendation_id")
    if rid is None:
        return
    rec = found.get(rid)
    if rec is None:
        if c.kind != "recommended":
            return
        rec = found[rid] = Recommendation(rid, c, c.accepted_at)
    _step(rec, c, found)


def _step(rec: Recommendation, c: Conclusion, found: Mapping[str, Recommendation]) -> None:
    rec.steps.append(c)
    match c.kind:
        case "recommended":
            rec.raised, rec.reopened = c, None
            rec.evidence, rec.found_in_force, rec.changed = {f for r in c.data["reasons"] for f in r["facts"]}, 0, set()
            rec.agencies = frozenset(a for r in c.data["reasons"] for a in r["agencies"])
        case "evidence_changed":
            rec.changed |= set(c.data["facts"])
        case "recommendation_overdue" | "meeting_overdue":
            rec.passed = c
            return
        case "overdue_withdrawn":
            rec.passed = None
            return
        case "disagreed":
            rec.disagreed.append(c)
            return
        case "joined":
            rec.left = c.data["into"] not in found
            rec.joined, rec.passed = None if rec.left else c, None
        case "parted":
            rec.joined, rec.left, rec.reopened = None, False, c
        case _:
            rec.decision, rec.decided, rec.passed = DECIDED[c.kind], c, None
    rec.version = c.number


def shown(rec: Recommendation, reference: Reference, facts: Mapping[str, Fact]) -> Json:
    """A recommendation as the view lists it."""
    data = rec.raised.data
    policy = reference.policies.get(data["policy"], reference.policy)
    return {
        "recommendation_id": rec.recommendation_id, "state": rec.state, "basis": data["basis"], "raised_at": rec.raised_at,
        "due_at": rec.due_at, "points": data["points"], "policy": data["policy"],
        "reasons": [recalled(r, policy, facts, reference) for r in data["reasons"]], "version": rec.version,
        "evidence_changed": bool(rec.changed),
        "history": [_history(c, reference, again=n > 0, holds=c is rec.joined) for n, c in enumerate(rec.steps)],
        "disagreements": [
            {"at": c.accepted_at, **{k: c.data[k] for k in ("agency", "by", "by_role", "ground")}}
            for c in rec.disagreed
        ],
        "open": rec.open, "held_due_at": rec.held_due_at, "passed_on": _passed(rec, reference),
    }  # fmt: skip


def _passed(rec: Recommendation, reference: Reference) -> Json | None:
    """To whom it was passed on, while that is so."""
    if rec.passed is None:
        return None
    d = rec.passed.data
    what = "MEETING" if rec.passed.kind == "meeting_overdue" else "DECISION"
    to = _to(d, reference)
    return {"at": rec.passed.accepted_at, "what": what, "due_at": d["due_at"], "to": to, "behind": list(d["behind"])}


def _to(data: Mapping[str, Any], reference: Reference) -> list[Json]:
    return [
        {"role": t["role"], "role_label": reference.label("role", t["role"]), "other_than": list(t["other_than"])}
        for t in data.get("passed_to", ())
    ]


def passed_to(rec: Recommendation, holder: Json | None, reference: Reference) -> list[Json]:
    """Who gets what is overdue: each role that the policy names, but never the person who is late (R2)."""
    late = [(holder["by"], holder["by_role"])] if holder is not None else []
    if rec.decision == "CONVENED" and rec.decided is not None:
        late.append((rec.decided.data["by"], rec.decided.data["by_role"]))
    return [
        {"role": role, "other_than": sorted({by for by, by_role in late if by_role == role})}
        for role in reference.policy.overdue_to
    ]


def is_for(passed: Iterable[Mapping[str, Any]], role: str, account_id: str) -> bool:
    """Was it passed on to this person?"""
    return any(t["role"] == role and account_id not in t["other_than"] for t in passed)


def planned_at(meeting_at: str | None, now: int) -> int:
    """The instant for which a discussion is convened, µs UTC, never before `now`; `now` when none is given."""
    try:
        return max(now, to_us(datetime.fromisoformat(meeting_at or "")))
    except ValueError:
        return now


AGAIN: Final = "Recommended again: more has come"


def _history(c: Conclusion, reference: Reference, *, again: bool, holds: bool) -> Json:
    """One step. `again`: it is not the first; `holds`: it is the joining that holds (another may name another child's)."""
    d: Mapping[str, Any] = c.data
    label = AGAIN if again and c.kind == "recommended" else WORDS[c.kind]
    item: Json = {
        "at": c.accepted_at, "kind": c.kind, "label": label, "by": d.get("by"), "by_role": d.get("by_role"),
        "by_role_label": reference.label("role", d.get("by_role")),
        "text": d.get("rationale") or d.get("outcome_text") or d.get("ground"), "number": c.number,
    }  # fmt: skip
    for key, codes in (("reason", "decline-reason"), ("outcome", "strategy-outcome")):
        if d.get(key) is not None:
            item |= {key: d[key], f"{key}_label": reference.label(codes, d[key])}
    if "passed_to" in d:
        item["passed_to"] = _to(d, reference)
    told = (
        "meeting_at",
        "held_due_at",
        "held_at",
        "attended",
        "agency",
        "due_at",
        "behind",
        "acted_at",
        *(("into",) if holds else ()),
    )
    return item | {k: d[k] for k in told if d.get(k) is not None}


def case(known: Known) -> Json | None:
    """Who has taken the child's case; null when nobody has."""
    taken = next((c for c in reversed(known.conclusions) if c.kind == "case_taken"), None)
    if taken is None or not taken.data["taken"]:
        return None
    return {"by": taken.data["by"], "by_role": taken.data["by_role"], "at": taken.accepted_at}
