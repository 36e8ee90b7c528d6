"""One recommendation: why, by when, what people did; and the forms to decide, hold, disagree, close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from web import forms
from web.acting import BadTicket
from web.forms import Form
from web.house import ChildReader, Decider, Dissenter, Holder, House, NotFound, TheHouse, Visitor
from web.pages.common import Posted, act, may_know, typed
from web.ports import Entry, Json
from web.roles import VOICE
from web.shapes import DECIDABLE, child_name, find_recommendation, people_in

router: Final = APIRouter(include_in_schema=False)

ABOUT: Final = {"decide": "decide:", "held": "held:", "disagree": "disagree:", "close": "close:"}
RECORDS: Final = {
    "decide": "RecommendationDecided",
    "held": "StrategyMeetingHeld",
    "disagree": "RecommendationDisagreed",
    "close": "RecommendationClosed",
}
WHEN: Final = {"decide": DECIDABLE, "held": ("CONVENED",), "close": DECIDABLE}
"""In which states each act makes sense; one may disagree with a decision in any later state."""


def load(house: House, visitor: Visitor, recommendation_id: UUID) -> tuple[str, Json, Json]:
    """(child id, redacted view, recommendation). Raises: NotFound."""
    found = house.reading.recommendation(str(recommendation_id))
    if found is None:
        raise NotFound
    view = may_know(house.redact(found[1], visitor))
    rec = find_recommendation(view, str(recommendation_id))
    if rec is None:
        raise NotFound
    return found[0], view, rec


@router.get("/recommendations/{recommendation_id}")
def show(request: Request, house: TheHouse, visitor: ChildReader, recommendation_id: UUID, saved: str = "") -> Response:
    """The page."""
    child_id, view, rec = load(house, visitor, recommendation_id)
    house.shown(request, visitor, "FRONT_DOOR", [child_id])
    return _page(house, request, visitor, view, rec=rec, tried={}, saved=saved)


@router.post("/recommendations/{recommendation_id}/decide")
def decide(request: Request, house: TheHouse, visitor: Decider, recommendation_id: UUID, form: Posted) -> Response:
    """Convene or decline (R1)."""
    return _act(
        house, request, visitor, recommendation_id, what="decide", form=form, read=lambda f: forms.decision(f, house.now())
    )


@router.post("/recommendations/{recommendation_id}/held")
def held(request: Request, house: TheHouse, visitor: Holder, recommendation_id: UUID, form: Posted) -> Response:
    """The strategy discussion was held."""
    return _act(house, request, visitor, recommendation_id, what="held", form=form, read=lambda f: forms.held(f, house.now()))


@router.post("/recommendations/{recommendation_id}/disagree")
def disagree(request: Request, house: TheHouse, visitor: Dissenter, recommendation_id: UUID, form: Posted) -> Response:
    """One action, from any decision (R5)."""
    return _act(
        house,
        request,
        visitor,
        recommendation_id,
        what="disagree",
        form=form,
        read=lambda f: forms.disagreement(f, VOICE[visitor.role]),
    )


@router.post("/recommendations/{recommendation_id}/close")
def close(request: Request, house: TheHouse, visitor: Decider, recommendation_id: UUID, form: Posted) -> Response:
    """Close a recommendation whose evidence changed."""
    return _act(
        house,
        request,
        visitor,
        recommendation_id,
        what="close",
        form=form,
        read=lambda f: forms.rationale(f, "Enter why this can be closed now that the evidence has changed", field="closing"),
    )


def _act(
    house: House,
    request: Request,
    visitor: Visitor,
    recommendation_id: UUID,
    *,
    what: str,
    form: Form,
    read: Callable[[Form], Form],
) -> Response:
    child_id, view, rec = load(house, visitor, recommendation_id)
    ticket = house.acting.read(form.get("ticket"), ABOUT[what] + str(recommendation_id))
    house.shown(request, visitor, "STRATEGY_DISCUSSION", [child_id])
    form = read(form)
    form.body["recommendation_id"] = str(recommendation_id)

    def again(status: int) -> Response:
        return _page(house, request, visitor, view, rec=rec, tried={what: form}, status=status)

    def conflict(entry: Entry | None) -> Response:
        return _conflict(house, request, visitor, recommendation_id, form=form, entry=entry)

    if form.errors:
        return again(400)
    if what in WHEN and _too_late(rec, what, ticket.based_on) and not house.acting.was_sent(ticket):
        return conflict(None)
    return act(
        house,
        request,
        visitor,
        form,
        record=RECORDS[what],
        ticket=ticket,
        child_id=child_id,
        title="Your decision is being saved",
        done=f"/recommendations/{recommendation_id}?saved={what}",
        conflict=conflict,
    )


def _too_late(rec: Json, what: str, based_on: int | None) -> bool:
    return rec["state"] not in WHEN[what] or rec.get("version") != based_on


def _conflict(
    house: House, request: Request, visitor: Visitor, recommendation_id: UUID, *, form: Form, entry: Entry | None
) -> Response:
    """Who was quicker, when, and what was typed here. Read anew, so that it says what is in force now."""
    _, view, rec = load(house, visitor, recommendation_id)
    decided = next((h for h in reversed(rec.get("history", [])) if h.get("by")), None)
    return house.page(
        request, "conflict.html", visitor, status=409, title="This recommendation has changed since you opened it", entry=entry,
        typed=typed(form), back=f"/recommendations/{recommendation_id}", decided=decided, state=rec["state"],
        names=house.names(people_in(view)),
    )  # fmt: skip


def _page(
    house: House,
    request: Request,
    visitor: Visitor,
    view: Json,
    *,
    rec: Json,
    tried: dict[str, Form],
    status: int = 200,
    saved: str = "",
) -> Response:
    rid = rec["recommendation_id"]
    tickets = {what: _ticket(house, about + rid, rec, tried.get(what)) for what, about in ABOUT.items()}
    errors = [e for f in tried.values() for e in f.summary]
    return house.page(
        request,
        "recommendation.html",
        visitor,
        status=status,
        view=view,
        rec=rec,
        name=child_name(view),
        tickets=tickets,
        tried=tried,
        errors=errors,
        saved=saved if saved in ABOUT else "",
        names=house.names(people_in(view)),
        decidable=rec["state"] in DECIDABLE,
        voice=VOICE.get(visitor.role),
    )


def _ticket(house: House, about: str, rec: Json, tried: Form | None) -> str:
    """A new ticket; a form that was tried keeps its own, so that trying again is still one act."""
    if tried is not None:
        try:
            house.acting.read(tried.get("ticket"), about)
            return tried.get("ticket")
        except BadTicket:
            pass
    return house.acting.open(about, rec.get("version"))
