"""Recommendations of a strategy discussion and what became of them, folded from conclusions (R1, R3, R5).

OPEN → (EVIDENCE_CHANGED) → (OVERDUE) → CONVENED → HELD, or DECLINED, or CLOSED. `open` means that a decision is still owed.
`version` is the entry that last changed what there is to decide: a decision based on an older one is stale. Going overdue or a
disagreement does not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.model import Conclusion, Fact, Json
from domain.policy import Reference
from domain.risk import recalled
from domain.selection import Known

DECIDED: Final = {"convened": "CONVENED", "declined": "DECLINED", "held": "HELD", "closed": "CLOSED"}

WORDS: Final[Mapping[str, str]] = {
    "recommended": "Recommended", "evidence_changed": "Evidence changed",
    "recommendation_overdue": "Overdue: passed on to another person and to EDT",
    "convened": "Convened", "declined": "Declined", "held": "Held", "disagreed": "Disagreed", "closed": "Closed",
}  # fmt: skip


@dataclass(slots=True)
class Recommendation:
    """One recommendation, in its present state. `raised`: the newest `recommended` (a harm trigger may have made it urgent)."""

    recommendation_id: str
    raised: Conclusion
    raised_at: int
    version: int = 0
    decision: str | None = None
    decided: Conclusion | None = None
    overdue: bool = False
    changed: set[str] = field(default_factory=set)
    steps: list[Conclusion] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """A decision is still owed."""
        return self.decision is None

    @property
    def state(self) -> str:
        """OPEN, OVERDUE, EVIDENCE_CHANGED, CONVENED, DECLINED, HELD or CLOSED."""
        if self.decision is not None:
            return self.decision
        return "OVERDUE" if self.overdue else "EVIDENCE_CHANGED" if self.changed else "OPEN"

    @property
    def due_at(self) -> int:
        """When the decision is due, µs UTC; computed once, when raised."""
        return int(self.raised.data["due_at"])

    @property
    def evidence(self) -> frozenset[str]:
        """The facts it was raised on, all tellings of it together."""
        return frozenset(f for c in self.steps if c.kind == "recommended" for r in c.data["reasons"] for f in r["facts"])


def recommendations(known: Known) -> list[Recommendation]:
    """Every recommendation on this child, oldest first."""
    found: dict[str, Recommendation] = {}
    for c in known.conclusions:
        rid = c.data.get("recommendation_id")
        if rid is None:
            continue
        rec = found.get(rid)
        if rec is None:
            if c.kind != "recommended":
                continue
            rec = found[rid] = Recommendation(rid, c, c.accepted_at)
        _step(rec, c)
    return sorted(found.values(), key=lambda r: (r.raised_at, r.steps[0].number, r.recommendation_id))


def _step(rec: Recommendation, c: Conclusion) -> None:
    rec.steps.append(c)
    match c.kind:
        case "recommended":
            rec.raised, rec.overdue = c, False
        case "evidence_changed":
            rec.changed |= set(c.data["facts"])
        case "recommendation_overdue":
            rec.overdue = True
            return
        case "disagreed":
            return
        case _:
            rec.decision, rec.decided = DECIDED[c.kind], c
    rec.version = c.number


def shown(rec: Recommendation, reference: Reference, facts: Mapping[str, Fact]) -> Json:
    """A recommendation as the view lists it."""
    data = rec.raised.data
    policy = reference.policies.get(data["policy"], reference.policy)
    return {
        "recommendation_id": rec.recommendation_id, "state": rec.state, "basis": data["basis"], "raised_at": rec.raised_at,
        "due_at": rec.due_at, "points": data["points"], "policy": data["policy"],
        "reasons": [recalled(r, policy, facts, reference) for r in data["reasons"]], "version": rec.version,
        "evidence_changed": bool(rec.changed), "history": [_history(c, reference) for c in rec.steps],
        "disagreements": [
            {"at": c.accepted_at, **{k: c.data[k] for k in ("agency", "by", "by_role", "ground")}}
            for c in rec.steps
            if c.kind == "disagreed"
        ],
        "open": rec.open,
    }  # fmt: skip


def _history(c: Conclusion, reference: Reference) -> Json:
    d: Mapping[str, Any] = c.data
    item: Json = {
        "at": c.accepted_at, "kind": c.kind, "label": WORDS[c.kind], "by": d.get("by"), "by_role": d.get("by_role"),
        "by_role_label": reference.label("role", d.get("by_role")),
        "text": d.get("rationale") or d.get("outcome_text") or d.get("ground"), "number": c.number,
    }  # fmt: skip
    for key, codes in (("reason", "decline-reason"), ("outcome", "strategy-outcome")):
        if d.get(key) is not None:
            item |= {key: d[key], f"{key}_label": reference.label(codes, d[key])}
    return item | {k: d[k] for k in ("meeting_at", "held_at", "attended", "agency", "due_at", "behind") if d.get(k) is not None}


def case(known: Known) -> Json | None:
    """Who has taken the child's case; null when nobody has."""
    taken = next((c for c in reversed(known.conclusions) if c.kind == "case_taken"), None)
    if taken is None or not taken.data["taken"]:
        return None
    return {"by": taken.data["by"], "by_role": taken.data["by_role"], "at": taken.accepted_at}
