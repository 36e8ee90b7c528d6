"""The queue, by child: who waits for a decision, by when and why; and what was decided lately."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from domain.times import DAY_US
from web.house import ChildReader, House, Taker, TheHouse, Visitor
from web.pages.common import Posted, act, child_for, plain_conflict
from web.ports import Json
from web.shapes import DECIDED, child_row, passed_to, seen

router: Final = APIRouter(include_in_schema=False)

RECENT_US: Final = 7 * DAY_US
RECENT_MAX: Final = 100


def queue_rows(house: House, visitor: Visitor) -> list[Json]:
    """Rows of the queue for this visitor: what was passed to them because somebody is late, then the earliest due."""
    views = [house.redact(v, visitor) for v in house.reading.queue(house.config.queue_max)]
    rows = [child_row(v, house.now()) for v in views if v is not None]
    for rec in (rec for row in rows for rec in row["recommendations"]):
        rec["for_you"] = passed_to([rec], visitor.role, visitor.account.account_id)
    waiting = (r for r in rows if r["recommendations"])
    return sorted(
        waiting, key=lambda r: (not any(x["for_you"] for x in r["recommendations"]), r["due_at"] is None, r["due_at"] or 0)
    )


def decided_rows(house: House, visitor: Visitor) -> list[Json]:
    """Children with a decision of the last days, for those who may disagree with it."""
    views = [house.redact(v, visitor) for v in house.reading.recently_decided(house.now() - RECENT_US, RECENT_MAX)]
    rows = [(child_row(v, house.now(), DECIDED), v) for v in views if v is not None]
    return [{**row, "decided": v.get("recommendations", [])} for row, v in rows if row["recommendations"]]


@router.get("/queue")
def queue(request: Request, house: TheHouse, visitor: ChildReader) -> Response:
    """The queue page."""
    return _queue(request, house, visitor, "queue.html")


@router.get("/queue/rows")
def rows(request: Request, house: TheHouse, visitor: ChildReader) -> Response:
    """The rows alone, asked for when the ledger has moved."""
    return _queue(request, house, visitor, "queue_rows.html")


@router.get("/decisions")
def decisions(request: Request, house: TheHouse, visitor: ChildReader) -> Response:
    """What was decided in the last seven days: visible at once to police, health and education."""
    return _decisions(request, house, visitor, "decisions.html")


@router.get("/decisions/rows")
def decided(request: Request, house: TheHouse, visitor: ChildReader) -> Response:
    """The decisions alone, asked for when the ledger has moved."""
    return _decisions(request, house, visitor, "decisions_rows.html")


def _decisions(request: Request, house: House, visitor: Visitor, template: str) -> Response:
    found = decided_rows(house, visitor)
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in found])
    names = house.names(h.get("by") for r in found for rec in seen(r["decided"]) for h in rec.get("history", ()))
    return house.page(request, template, visitor, rows=found, names=names)


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


def _queue(request: Request, house: House, visitor: Visitor, template: str) -> Response:
    found = queue_rows(house, visitor)
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in found])
    late = [
        a for r in found for x in r["recommendations"] if x["passed_on"] for t in x["passed_on"]["to"] for a in t["other_than"]
    ]
    names = house.names([*(r["case"]["by"] for r in found if r["case"]), *late])
    return house.page(request, template, visitor, rows=found, names=names, pulse=house.reading.pulse())
