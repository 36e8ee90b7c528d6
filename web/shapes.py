"""Rows that pages and API show, made out of *redacted* child views. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from domain.meetings import is_for
from domain.searching import SearchTerms
from domain.times import local
from web.ports import Json

WAITING: Final = ("OPEN", "OVERDUE", "EVIDENCE_CHANGED", "CONVENED")
"""States in which a recommendation waits for somebody. Convened is not held."""

DECIDABLE: Final = ("OPEN", "OVERDUE", "EVIDENCE_CHANGED")
DECIDED: Final = ("CONVENED", "DECLINED", "HELD", "CLOSED")
NAME_WITHHELD: Final = "Name withheld"


def is_withheld(item: object) -> bool:
    """Whether a part of a view was withheld from this reader."""
    return isinstance(item, Mapping) and bool(item.get("withheld"))


def child_name(view: Mapping[str, Any]) -> str:
    """Given and family name, or that it is withheld or not known."""
    name = view.get("name")
    if is_withheld(name):
        return NAME_WITHHELD
    parts = [plain(name.get("given")), plain(name.get("family"))] if isinstance(name, Mapping) else []
    return " ".join(p for p in parts if p) or "Name not known"


def plain(value: object) -> str:
    """A field that is text, or {value, …}, or withheld, as text."""
    if isinstance(value, Mapping):
        return "withheld" if value.get("withheld") else plain(value.get("value"))
    return "" if value is None else str(value)


def birth_date(view: Mapping[str, Any]) -> str | None:
    """The birth date, ISO, when known and not withheld."""
    found = view.get("birth_date")
    return None if is_withheld(found) else plain(found) or None


def age(view: Mapping[str, Any], now: int) -> int | None:
    """Age in whole years at `now`."""
    try:
        born = date.fromisoformat(birth_date(view) or "")
    except ValueError:
        return None
    today = local(now).date()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def seen(items: object) -> list[Json]:
    """The items of a list that are not withheld."""
    return [i for i in items if isinstance(i, dict) and not is_withheld(i)] if isinstance(items, list) else []


def withheld(items: object) -> list[Json]:
    """The items of a list that are withheld, one for each agency."""
    hidden = [i for i in items if is_withheld(i)] if isinstance(items, list) else []
    return list({(i.get("agency"), i.get("contact")): i for i in hidden}.values())


def recommendation_row(rec: Mapping[str, Any], now: int) -> Json:
    """A recommendation in short: state, due time (of the decision, or once convened of the discussion), why."""
    due_at = rec.get("held_due_at") if rec["state"] == "CONVENED" else rec.get("due_at")
    return {
        "recommendation_id": rec["recommendation_id"],
        "state": rec["state"],
        "basis": rec.get("basis"),
        "raised_at": rec["raised_at"],
        "due_at": due_at,
        "overdue": rec.get("passed_on") is not None or (rec["state"] in WAITING and (due_at or now + 1) <= now),
        "passed_on": rec.get("passed_on"),
        "evidence_changed": bool(rec.get("evidence_changed")),
        "reasons": [
            {"text": plain(r.get("text")), "agencies": r.get("agencies", []), "withheld": is_withheld(r)} for r in rec["reasons"]
        ],
        "disagreements": len(rec.get("disagreements", [])),
        "version": rec.get("version"),
    }


def child_row(view: Mapping[str, Any], now: int, states: Iterable[str] = WAITING) -> Json:
    """A child on a list: who, and the recommendations in one of `states`."""
    wanted = tuple(states)
    recs = [recommendation_row(r, now) for r in seen(view.get("recommendations", [])) if r["state"] in wanted]
    recs.sort(key=lambda r: (r["due_at"] is None, r["due_at"] or 0))
    return {
        "child_id": view["child_id"],
        "name": child_name(view),
        "birth_date": birth_date(view),
        "age": age(view, now),
        "recommendations": recs,
        "overdue": any(r["overdue"] for r in recs),
        "due_at": min((r["due_at"] for r in recs if r["due_at"] is not None), default=None),
        "case": None if is_withheld(view.get("case")) else view.get("case"),
        "possible_matches": len(view.get("possible_matches", [])),
        "version": view.get("version"),
    }


def hit_row(view: Mapping[str, Any], now: int) -> Json:
    """A child among search results: enough to tell children apart, no more."""
    row = child_row(view, now)
    found = []
    for shown in seen(view.get("identity", [])):
        fields = shown.get("fields") or {}
        found.append(
            {"agency": shown.get("agency"), "local_id": plain(shown.get("local_id")), "postcode": plain(fields.get("postcode"))}
        )
    return {**{k: row[k] for k in ("child_id", "name", "birth_date", "age", "possible_matches")}, "records": found}


def find_recommendation(view: Mapping[str, Any], recommendation_id: str) -> Json | None:
    """One recommendation of a redacted view."""
    return next((r for r in seen(view.get("recommendations", [])) if r.get("recommendation_id") == recommendation_id), None)


def people_in(view: Mapping[str, Any]) -> set[str]:
    """Account ids that a view names as having done something."""
    recs = seen(view.get("recommendations", []))
    done = [h.get("by") for r in recs for h in [*r.get("history", []), *r.get("disagreements", [])]]
    matches = [m.get("by") for k in ("rejected_matches", "undone_matches") for m in seen(view.get(k, []))]
    case = view.get("case") or {}
    exceptions = [e for m in seen(view.get("messages", [])) if (e := m.get("exception"))]
    taken = [e["taken"]["by"] for e in exceptions if e.get("taken")]
    late = [a for r in recs for h in r.get("history", []) for t in h.get("passed_to", []) for a in t["other_than"]]
    return {b for b in [*done, *matches, *taken, *late, case.get("by")] if b}


def passed_to(recs: Iterable[Mapping[str, Any]], role: str, account_id: str) -> bool:
    """Whether something overdue among these was passed to this person."""
    return any(r.get("passed_on") is not None and is_for(r["passed_on"]["to"], role, account_id) for r in recs)


def still_fits(view: Mapping[str, Any], terms: SearchTerms) -> bool:
    """Whether one presentation that the reader may see fits every term: what is withheld must not be found by guessing it."""
    shown = ({k: plain(v) for k, v in (p.get("fields") or {}).items()} for p in seen(view.get("identity", [])))
    return any(terms.score(fields) is not None for fields in shown)
