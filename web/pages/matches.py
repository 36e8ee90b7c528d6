"""Possible matches: two records side by side, and a person decides (never guess: design, Identity)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from web import forms
from web.forms import Form
from web.house import House, Matcher, NotFound, TheHouse, Visitor
from web.pages.common import Posted, act, may_know, plain_conflict
from web.paging import ROWS, Page, PageNumber, first_of, page_of
from web.ports import Json, MatchPair
from web.shapes import child_name, is_withheld, plain, seen

router: Final = APIRouter(include_in_schema=False)

STATES: Final = ("OPEN", "CONFIRMED", "REJECTED", "UNDONE")

ACTS: Final = {"confirm": "MatchConfirmed", "reject": "MatchRejected", "undo": "MatchUndone"}
POSSIBLE: Final = {"OPEN": ("confirm", "reject"), "CONFIRMED": ("undo",), "REJECTED": ("confirm",), "UNDONE": ("confirm",)}
"""What may be done in which state: a rejection stands until somebody looks again."""

FIELDS: Final = {
    "given_name": "Given name",
    "other_names": "Other names",
    "family_name": "Family name",
    "birth_date": "Date of birth",
    "sex": "Sex",
    "postcode": "Postcode",
    "address_line": "Address",
    "nhs_number": "NHS number",
    "upn": "UPN",
    "la_child_id": "Social care number",
    "pnc": "PNC id",
}


def compare(presentation: Json, identity: list[Json]) -> list[Json]:
    """Rows of both sides: {label, left, right [values], verdict (same, differs, unknown)}. Pure."""
    rows = []
    for key, label in FIELDS.items():
        left = plain((presentation.get("fields") or {}).get(key))
        right = list(dict.fromkeys(v for i in identity if (v := plain((i.get("fields") or {}).get(key)))))
        if left or right:
            told = {v.casefold() for v in right}
            verdict = "unknown" if not left or not right else "same" if left.casefold() in told else "differs"
            rows.append({"key": key, "label": label, "left": left, "right": right, "verdict": verdict})
    return rows


def redacted_pair(house: House, visitor: Visitor, pair: MatchPair) -> tuple[Json, Json] | None:
    """(presentation, child view) as this visitor may see them; None when either must not be known."""
    wrapped = house.redact({"possible_matches": [pair.presentation]}, visitor)
    child = house.redact(pair.child, visitor)
    if child is None or wrapped is None or not wrapped.get("possible_matches"):
        return None
    shown: Json = wrapped["possible_matches"][0]
    return None if is_withheld(shown) else (shown, child)


@router.get("/matches")
def matches(request: Request, house: TheHouse, visitor: Matcher, state: str = "OPEN", page: PageNumber = 1) -> Response:
    """The list, by state."""
    chosen = state if state in STATES else "OPEN"
    found, children = match_rows(house, visitor, chosen, page)
    house.shown(request, visitor, "MATCHING", children)
    return house.page(request, "matches.html", visitor, rows=found.rows, page=found, state=chosen, states=STATES)


def match_rows(house: House, visitor: Visitor, state: str, number: int = 1) -> tuple[Page, list[str]]:
    """A page of the list of matches, and the children it shows."""
    rows, children = [], []
    listed = house.reading.possible_matches(state, ROWS, first_of(number))
    for pair in listed.items:
        found = redacted_pair(house, visitor, pair)
        if found is not None:
            shown, child = found
            children += children_in(pair)
            rows.append(
                {
                    "match_id": pair.match_id,
                    "state": pair.state,
                    "raised_at": pair.raised_at,
                    "agency": shown["agency"],
                    "fields": shown["fields"],
                    "evidence": shown.get("evidence", []),
                    "child_id": child["child_id"],
                    "child": child_name(child),
                    "version": pair.version,
                }
            )
    return page_of(rows, number, listed), children


@router.get("/matches/{match_id}")
def match(request: Request, house: TheHouse, visitor: Matcher, match_id: UUID, saved: str = "") -> Response:
    """Both side by side."""
    pair = load(house, match_id)
    return _page(house, request, visitor, pair, Form(), saved=saved)


@router.post("/matches/{match_id}")
def decide(request: Request, house: TheHouse, visitor: Matcher, match_id: UUID, form: Posted) -> Response:
    """Confirm, reject or undo."""
    pair = load(house, match_id)
    ticket = house.acting.read(form.get("ticket"), f"match:{match_id}")
    what = form.get("what")
    form = forms.rationale(form, "Enter why you undo it", required=what == "undo")
    if what not in ACTS:
        form.errors["what"] = "Select what you have decided"
    if form.errors:
        return _page(house, request, visitor, pair, form, status=400)
    form.body["match_id"] = str(match_id)
    if redacted_pair(house, visitor, pair) is None:
        raise NotFound
    house.shown(request, visitor, "MATCHING", children_in(pair))
    conflict = plain_conflict(
        house,
        request,
        visitor,
        form,
        back=f"/matches/{match_id}",
        title="This match has changed since you opened it",
        state=pair.state,
    )
    return act(
        house, request, visitor, form, record=ACTS[what], ticket=ticket, child_id=str(pair.child["child_id"]),
        done=f"/matches/{match_id}?saved={what}", title="Your decision is being saved", conflict=conflict,
    )  # fmt: skip


def load(house: House, match_id: UUID) -> MatchPair:
    """The pair. Raises: NotFound."""
    pair = house.reading.possible_match(str(match_id))
    if pair is None:
        raise NotFound
    return pair


def children_in(pair: MatchPair) -> list[str]:
    """The children of whom the page shows something (I7): of each side, also a record that is on another child."""
    return [c for c in (pair.child["child_id"], pair.other_child_id) if c]


def _page(
    house: House, request: Request, visitor: Visitor, pair: MatchPair, form: Form, *, status: int = 200, saved: str = ""
) -> Response:
    found = redacted_pair(house, visitor, pair)
    if found is None:
        raise NotFound
    shown, child = found
    may_know(child)
    house.shown(request, visitor, "MATCHING", children_in(pair))
    identity = [i for i in seen(child.get("identity", [])) if i["presentation_id"] != shown["presentation_id"]]
    values: dict[str, Any] = {
        "pair": pair,
        "shown": shown,
        "child": child,
        "name": child_name(child),
        "rows": compare(shown, identity),
        "form": form,
        "possible": POSSIBLE[pair.state],
        "names": house.names(h.get("by") for h in pair.history),
        "saved": saved if saved in ACTS else "",
        "together": pair.other_child_id == child["child_id"],
        "ticket": form.get("ticket") or house.acting.open(f"match:{pair.match_id}", pair.version),
    }
    return house.page(request, "match.html", visitor, status=status, **values)
