"""Who the child is, as told by whom; which presentations may also be this child; where everything has moved.

Name, birth date and sex come from the best source a reader may see: one with a trusted number before one without, then
health, social care, education, police, others, then the newest. Pure of roles, so that redaction can choose again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final

from domain import identifiers
from domain.labelling import rest_on_any, same_label
from domain.model import Fact, History, Json, Presentation
from domain.selection import Known

SOURCES: Final = {"health": 0, "csc": 1, "education": 2, "police": 3, "yjs": 4, "probation": 5, "rhi": 6}
"""Order of sources for the same field (default: who checks identity best first)."""

TRACED: Final = "01"
"""NHS number status: verified by a trace."""

LISTS: Final = {"OPEN": "possible_matches", "REJECTED": "rejected_matches", "UNDONE": "undone_matches"}

PREVIOUS: Final = {"match_confirmed": "CONFIRMED", "match_rejected": "REJECTED", "match_undone": "UNDONE"}


def identity(known: Known, history: History) -> list[Json]:
    """Every presentation on the child, in the order first seen.

    In a view of the past, none of a presentation's facts may have happened yet: who may see it is then said by those to come.
    """
    carried: dict[str, list[Fact]] = defaultdict(list)
    for fact in known.facts:
        carried[fact.presentation_id].append(fact)
    to_come = {p.presentation_id for p in known.presentations} - carried.keys()
    for fact in sorted(history.facts, key=lambda f: f.event_id) if to_come else ():
        if fact.presentation_id in to_come and (known.known_at is None or fact.accepted_at <= known.known_at):
            carried[fact.presentation_id].append(fact)
    return [_shown(p, known, carried[p.presentation_id]) for p in known.presentations]


def header(items: Sequence[Mapping[str, Any]]) -> Json:
    """{name, birth_date, sex, said_by} of identity items: each field from the best of them."""
    best = sorted(items, key=_goodness)
    said: dict[str, list[str]] = {}
    for field in ("given_name", "family_name", "birth_date", "sex"):
        value = _first(best, field)
        said[field] = sorted({i["agency"] for i in items if value is not None and i["fields"].get(field) == value})
    name = next((i for i in best if i["fields"].get("family_name")), None)
    given = (name["fields"].get("given_name") if name else None) or _first(best, "given_name")
    return {
        "name": {"given": given, "family": name["fields"]["family_name"] if name else None},
        "birth_date": _first(best, "birth_date"), "sex": _first(best, "sex"), "said_by": said,
    }  # fmt: skip


def possible_matches(known: Known, history: History) -> dict[str, list[Json]]:
    """Open, rejected and undone possible matches, by the key under which the view lists them.

    One belongs on the view of each of its two children: while one of its sides, and not the other, is on this child. Of several
    open ones about the same record (raised by records that have come together since) it is the first: it is one question.
    """
    raised = {c.data["match_id"]: c for c in known.conclusions if c.kind == "possible_match"}
    decided: dict[str, Any] = {}
    for c in known.conclusions:
        if c.kind in PREVIOUS:
            decided[c.data["match_id"]] = c
    out: dict[str, list[Json]] = {"possible_matches": [], "rejected_matches": [], "undone_matches": []}
    shown = {p.presentation_id: p for p in (*history.others.values(), *history.presentations)}
    for match_id in sorted({*raised, *decided}):
        about = (raised.get(match_id) or decided[match_id]).data
        away = [p for p in (about["presentation_id"], about["anchor"]) if p not in known.links]
        if len(away) != 1 or away[0] not in shown:
            continue
        item = _match(match_id, raised.get(match_id), decided.get(match_id), shown[away[0]], history)
        if (listed := LISTS.get(item["state"])) is not None:
            out[listed].append(item)
    first: dict[str, str] = {}
    for item in sorted(out["possible_matches"], key=lambda i: (raised[i["match_id"]].number, i["match_id"])):
        first.setdefault(item["presentation_id"], item["match_id"])
    out["possible_matches"] = [i for i in out["possible_matches"] if first[i["presentation_id"]] == i["match_id"]]
    return out


def merged_into(known: Known, history: History) -> str | None:
    """The child to which every presentation has moved; None while any is here, or when they went different ways."""
    if known.links:
        return None
    limit = known.known_at if known.known_at is not None else 1 << 62
    here = {x.presentation_id for x in history.links if x.child_id == known.child_id and x.from_at <= limit}
    now = {
        x.child_id
        for x in history.links
        if x.presentation_id in here and x.from_at <= limit and (x.to_at is None or x.to_at > limit)
    }
    return now.pop() if len(now) == 1 else None


def trusted_nhs_number(known: Known) -> str | None:
    """The child's checked, traced NHS number; None when there is none, or when two contradict."""
    if known.traced is None:
        fields = (p.fields for p in known.presentations)
        known.traced = frozenset(n for f in fields if (n := _traced(f.get("nhs_number"), f.get("nhs_number_status"))))
    return next(iter(known.traced)) if len(known.traced) == 1 else None


def latest_birth_date(known: Known) -> str | None:
    """The latest usable birth date that any source gives: what is not certain widens protection, never lowers it."""
    return max((d for p in known.presentations if (d := _iso_date(p.fields.get("birth_date"))) is not None), default=None)


@lru_cache(maxsize=8192)
def _iso_date(text: str | None) -> str | None:
    try:
        return text if text and date.fromisoformat(text).isoformat() == text and text > "1990" else None
    except ValueError:
        return None


@lru_cache(maxsize=8192)
def _traced(number: str | None, status: str | None) -> str | None:
    return identifiers.nhs_number(number) if status == TRACED else None


def _shown(shown: Presentation, known: Known, facts: Sequence[Fact]) -> Json:
    link = known.links[shown.presentation_id]
    linked = {"rule": link.rule, "evidence": list(link.evidence), "at": link.from_at, "by": link.by}
    return {
        "presentation_id": shown.presentation_id,
        "agency": shown.agency,
        "local_id": shown.local_id,
        "fields": dict(shown.fields),
        "identifiers": _identifiers(shown.fields),
        "first_seen": shown.accepted_at,
        "linked": linked,
        "number": shown.number,
        **_any_of(shown.agency, facts),
    }


def _identifiers(fields: Mapping[str, str | None]) -> list[Json]:
    out = []
    for system, check in identifiers.CHECKS.items():
        if value := fields.get(system):
            valid = _valid(check, value)
            trusted = valid and (system != "nhs_number" or fields.get("nhs_number_status") == TRACED)
            out.append({"system": system, "value": value, "valid": valid, "trusted": trusted})
    return out


@lru_cache(maxsize=16384)
def _valid(check: Callable[[str | None], str | None], value: str) -> bool:
    return check(value) is not None


def _any_of(agency: str, facts: Iterable[Fact]) -> Json:
    """A presentation came with each of its facts: who may see any may see it. Without facts to hand: its owner alone."""
    return rest_on_any(facts, same_label(agency, "OWNER"))


def _match(match_id: str, raised: Any, decided: Any, other: Presentation, history: History) -> Json:
    carried = [f for f in history.facts if f.presentation_id == other.presentation_id]
    item: Json = {
        "match_id": match_id, "presentation_id": other.presentation_id, "agency": other.agency,
        "fields": dict(other.fields), "evidence": list((raised.data if raised else {}).get("evidence", ())),
        "raised_at": raised.accepted_at if raised else None, "state": PREVIOUS[decided.kind] if decided else "OPEN",
        **_any_of(other.agency, sorted(carried, key=lambda f: f.event_id)),
    }  # fmt: skip
    if decided:
        item |= {"by_role": decided.data["by_role"], "rationale": decided.data["rationale"], "at": decided.accepted_at}
    return item


def _goodness(item: Mapping[str, Any]) -> tuple[int, int, int, str]:
    trusted = any(i["trusted"] for i in item["identifiers"])
    return (0 if trusted else 1, SOURCES.get(item["agency"], 9), -item["number"], item["presentation_id"])


def _first(items: Sequence[Mapping[str, Any]], field: str) -> Any:
    return next((i["fields"][field] for i in items if i["fields"].get(field)), None)
