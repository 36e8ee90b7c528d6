"""GP messages that did not arrive: each waits for a named role, until somebody says what was done (R11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from domain.meetings import is_for
from web import forms
from web.forms import Form
from web.house import GpResolver, House, NotFound, TheHouse, Visitor
from web.pages.common import Posted, act, plain_conflict
from web.paging import ROWS, Page, PageNumber, first_of, page_of
from web.ports import GpException, Json
from web.shapes import birth_date, child_name, seen

router: Final = APIRouter(include_in_schema=False)

WHY: Final = {
    "NO_NHS_NUMBER": "No NHS number that was checked and traced is known. Trace the number; once health has told us, the message "
    "goes by itself. Until then tell the practice yourself.",
    "WITHHELD": "What CSOG decided is marked so that a practice may not be told it. Ask the agency whether it may be released, "
    "and have it sent again so; or tell the practice yourself what they may know.",
    "FREE_TEXT": "Its words name a place or another person, which a practice need not know. Ask social care to correct the "
    "outcome: the corrected one goes by itself. If nothing is wrong with it, tell the practice yourself.",
    "NO_PRACTICE": "No registered practice is known. Trace the registration, then record it or tell the practice yourself.",
    "REJECTED": "The practice says it is not theirs. Trace the registration; a new one sends the message on by itself.",
    "UNREAD": "The practice has not read it in time. Ring them.",
}
"""What each exception means and what to do next."""


def exception_rows(house: House, visitor: Visitor, number: int = 1) -> Page:
    """A page of the open exceptions that this visitor may know of."""
    listed = house.reading.gp_exceptions(ROWS, first_of(number))
    rows = [row for found in listed.items if (row := _row(house, visitor, found)) is not None]
    return page_of(rows, number, listed)


def exception_row(house: House, visitor: Visitor, message_id: UUID) -> Json | None:
    """One open exception."""
    found = house.reading.gp_exception(str(message_id))
    return None if found is None else _row(house, visitor, found)


def _row(house: House, visitor: Visitor, found: GpException) -> Json | None:
    child = house.redact(found.child, visitor)
    message = next((m for m in seen((child or {}).get("messages", [])) if m["message_id"] == found.message_id), None)
    if child is None or message is None:
        return None
    raised = message["exception"]
    return {
        "message_id": found.message_id,
        "child_id": child["child_id"],
        "name": child_name(child),
        "birth_date": birth_date(child),
        "practice_ods": message.get("practice_ods"),
        **{name: raised[name] for name in ("why", "for_role", "at", "due_at", "taken", "passed_on", "version")},
    }


def may_take(rows: Sequence[Json], visitor: Visitor) -> dict[str, str]:
    """What this visitor may do with each: "take", "give-back", or nothing (then it is not in the answer)."""
    me = visitor.account.account_id
    out = {}
    for row in rows:
        taken, passed = row["taken"], row["passed_on"]
        if taken is not None and taken["by"] == me:
            out[row["message_id"]] = "give-back"
        elif taken is None or (passed is not None and is_for(passed["to"], visitor.role, me)):
            out[row["message_id"]] = "take"
    return out


@router.get("/gp-exceptions")
def exceptions(request: Request, house: TheHouse, visitor: GpResolver, page: PageNumber = 1) -> Response:
    """The list."""
    return _page(house, request, visitor, {}, number=page)


@router.post("/gp-exceptions/{message_id}")
def resolve(request: Request, house: TheHouse, visitor: GpResolver, message_id: UUID, form: Posted) -> Response:
    """Say what was done."""
    row = exception_row(house, visitor, message_id)
    ticket = house.acting.read(form.get("ticket"), f"gp:{message_id}")
    if row is None and not house.acting.was_sent(ticket):
        raise NotFound
    form = forms.resolution(form)
    if form.errors:
        return _page(house, request, visitor, {str(message_id): form}, status=400)
    form.body["message_id"] = str(message_id)
    conflict = plain_conflict(
        house, request, visitor, form, back="/gp-exceptions", title="Somebody has already dealt with this message"
    )
    return act(
        house, request, visitor, form, record="GpExceptionResolved", ticket=ticket, child_id=row["child_id"] if row else None,
        done="/gp-exceptions?saved=yes", title="Your note is being saved", conflict=conflict,
    )  # fmt: skip


@router.post("/gp-exceptions/{message_id}/case")
def take(request: Request, house: TheHouse, visitor: GpResolver, message_id: UUID, form: Posted) -> Response:
    """Take it, so that it is a named person's, or give it back."""
    row = exception_row(house, visitor, message_id)
    ticket = house.acting.read(form.get("ticket"), f"gp-case:{message_id}")
    if row is None and not house.acting.was_sent(ticket):
        raise NotFound
    form.body = {"message_id": str(message_id), "taken": form.get("taken") == "yes"}
    conflict = plain_conflict(house, request, visitor, form, back="/gp-exceptions", title="Somebody else took this message")
    return act(
        house, request, visitor, form, record="GpExceptionTaken", ticket=ticket, child_id=row["child_id"] if row else None,
        done="/gp-exceptions", title="Your change is being saved", conflict=conflict,
    )  # fmt: skip


def _page(
    house: House, request: Request, visitor: Visitor, tried: dict[str, Form], *, status: int = 200, number: int = 1
) -> Response:
    found = exception_rows(house, visitor, number)
    rows = found.rows
    house.shown(request, visitor, "GP_EXCEPTION", [r["child_id"] for r in rows])
    tickets = {r["message_id"]: _ticket(house, r, tried.get(r["message_id"])) for r in rows}
    cases = {r["message_id"]: house.acting.open(f"gp-case:{r['message_id']}", r["version"]) for r in rows}
    names = house.names(r["taken"]["by"] for r in rows if r["taken"])
    errors = [e | {"href": f"#resolution-{m}"} for m, f in tried.items() for e in f.summary]
    return house.page(
        request, "gp_exceptions.html", visitor, status=status, rows=rows, page=found, tickets=tickets, tried=tried, errors=errors,
        why=WHY, cases=cases, names=names, mine=may_take(rows, visitor), saved=request.query_params.get("saved") == "yes",
    )  # fmt: skip


def _ticket(house: House, row: Json, tried: Form | None) -> str:
    return tried.get("ticket") if tried is not None else house.acting.open(f"gp:{row['message_id']}", row["version"])
