"""The queue, by child: who waits for a decision, by when and why; and what was decided lately."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from domain.times import DAY_US
from web.house import ChildReader, ChildScreen, House, Taker, TheHouse, Visitor
from web.pages.common import Posted, act, child_for, plain_conflict
from web.paging import ROWS, Page, PageNumber, first_of, page_of
from web.ports import Json
from web.shapes import DECIDABLE, DECIDED, child_row, passed_to, seen

router: Final = APIRouter(include_in_schema=False)

RECENT_US: Final = 7 * DAY_US


def queue_rows(house: House, visitor: Visitor, number: int = 1) -> Page:
    """A page of the queue for this visitor: what was passed to them because somebody is late, harm triggers, what was passed to
    others, then the earliest due.
    """
    listed = house.reading.queue(ROWS, first_of(number))
    views = [house.redact(v, visitor) for v in listed.items]
    rows = [child_row(v, house.now()) for v in views if v is not None]
    for rec in (rec for row in rows for rec in row["recommendations"]):
        rec["for_you"] = passed_to([rec], visitor.role, visitor.account.account_id)
    return page_of(sorted((r for r in rows if r["recommendations"]), key=_first), number, listed)


def _first(row: Json) -> tuple[bool, bool, bool, bool, int]:
    recs = row["recommendations"]
    harm = any(r["basis"] == "HARM" and r["state"] in DECIDABLE for r in recs)
    passed = any(r["passed_on"] for r in recs)
    return (not any(r["for_you"] for r in recs), not harm, not passed, row["due_at"] is None, row["due_at"] or 0)


def decided_rows(house: House, visitor: Visitor, number: int = 1) -> Page:
    """A page of children with a decision of the last days, for those who may disagree with it."""
    listed = house.reading.recently_decided(house.now() - RECENT_US, ROWS, first_of(number))
    views = [house.redact(v, visitor) for v in listed.items]
    rows = [(child_row(v, house.now(), DECIDED), v) for v in views if v is not None]
    shown = [{**row, "decided": v.get("recommendations", [])} for row, v in rows if row["recommendations"]]
    return page_of(shown, number, listed)


@router.get("/queue")
def queue(request: Request, house: TheHouse, visitor: ChildReader, page: PageNumber = 1) -> Response:
    """The queue page."""
    return _queue(request, house, visitor, "queue.html", page)


@router.get("/queue/rows")
def rows(request: Request, house: TheHouse, visitor: ChildScreen, page: PageNumber = 1) -> Response:
    """The rows alone, asked for when the ledger has moved."""
    return _queue(request, house, visitor, "queue_rows.html", page)


@router.get("/decisions")
def decisions(request: Request, house: TheHouse, visitor: ChildReader, page: PageNumber = 1) -> Response:
    """What was decided in the last seven days: visible at once to police, health and education."""
    return _decisions(request, house, visitor, "decisions.html", page)


@router.get("/decisions/rows")
def decided(request: Request, house: TheHouse, visitor: ChildScreen, page: PageNumber = 1) -> Response:
    """The decisions alone, asked for when the ledger has moved."""
    return _decisions(request, house, visitor, "decisions_rows.html", page)


def _decisions(request: Request, house: House, visitor: Visitor, template: str, number: int) -> Response:
    found = decided_rows(house, visitor, number)
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in found.rows])
    names = house.names(h.get("by") for r in found.rows for rec in seen(r["decided"]) for h in rec.get("history", ()))
    return house.page(request, template, visitor, rows=found.rows, page=found, names=names)


@router.post("/children/{child_id}/case")
def take(request: Request, house: TheHouse, visitor: Taker, child_id: UUID, form: Posted) -> Response:
    """Take the case, or give it back."""
    ticket = house.acting.read(form.get("ticket"), f"case:{child_id}")
    child_for(house, visitor, child_id)
    form.body = {"taken": form.get("taken") == "yes"}
    return act(
        house,
        request,
        visitor,
        form,
        record="CaseTaken",
        ticket=ticket,
        child_id=str(child_id),
        title="Your change is being saved",
        done=f"/children/{child_id}",
        conflict=plain_conflict(
            house, request, visitor, form, back=f"/children/{child_id}", title="Somebody else took this case"
        ),
    )


def _queue(request: Request, house: House, visitor: Visitor, template: str, number: int) -> Response:
    found = queue_rows(house, visitor, number)
    rows = found.rows
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in rows])
    late = [
        a for r in rows for x in r["recommendations"] if x["passed_on"] for t in x["passed_on"]["to"] for a in t["other_than"]
    ]
    names = house.names([*(r["case"]["by"] for r in rows if r["case"]), *late])
    return house.page(request, template, visitor, rows=rows, page=found, names=names, pulse=house.reading.pulse())
