"""The GP practices' door (FHIR R4): a practice reads its own messages with its own credential, and answers them (R11).

Reading marks nothing: a receipt is a word of the practice's own. Another practice's message is not found, not forbidden.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from domain.model import make_id
from projections.accesses import practice_of
from schemas.codes import code_lists
from web.acting import Ticket
from web.errors import Trouble, Unauthorised, outcome
from web.fhir import NotACsogMessage, gp_content, inbox_bundle, message_bundle, receipt
from web.house import House, NotFound, TheHouse, house_of
from web.ports import Json

router: Final = APIRouter(prefix="/fhir/r4", tags=["GP practices (FHIR R4)"])

FHIR_JSON: Final = "application/fhir+json"
WAITING: Final = ("WAITING", "ACCEPTED", "READ")
"""Messages a practice still has to do something about; `?state=all` gives the others too."""

EVERY: Final = (*WAITING, "CODED", "REJECTED")
ENTRIES_MAX: Final = 500
"""Of one page, whatever `_count` asks for: some 200 KiB, and a few ms."""

RANK: Final = {"WAITING": 0, "ACCEPTED": 1, "READ": 2, "CODED": 3, "REJECTED": 4}
"""Receipts go forward only; a rejection is the last word of a practice."""


def practice(request: Request) -> str:
    """The ODS code of the practice whose credential came as HTTP Basic. Raises: Unauthorised."""
    house = house_of(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        client_id, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
    except ValueError as err:  # not base64, not ASCII, or not UTF-8 beneath it
        raise Unauthorised from err
    if scheme.lower() != "basic" or not secret:
        raise Unauthorised
    with house.config.keep_engine.connect() as conn:
        found = practice_of(conn, client_id, secret, now=house.now())
    if found is None:
        raise Unauthorised
    request.state.actor = found
    return found


Practice = Annotated[str, Depends(practice)]


@router.get("/metadata")
def metadata() -> JSONResponse:
    """CapabilityStatement: what this door offers, to anyone."""
    operation = {"name": "receipt", "definition": "urn:sightline:fhir:operation:receipt"}
    resource = {"type": "Communication", "interaction": [{"code": "read"}, {"code": "search-type"}], "operation": [operation]}
    return _fhir(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-05-01",
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "implementation": {"description": "Sightline: CSOG outcomes for GP practices"},
            "format": ["json"],
            "rest": [
                {
                    "mode": "server",
                    "security": {"description": "HTTP Basic over TLS, a credential a practice"},
                    "resource": [resource],
                }
            ],
        }
    )


Count = Annotated[int, Query(alias="_count", ge=0, description="Entries of a page; 0 or none: all in one answer")]
After = Annotated[str, Query(pattern="^[0-9]{1,16}[.][0-9a-f-]{36}$", description="As the link `next` of a page has it")]


@router.get("/Communication")
def inbox(  # noqa: PLR0917  a parameter of the address each
    request: Request, house: TheHouse, ods: Practice, state: str = "", count: Count = 0, after: After = ""
) -> JSONResponse:
    """The practice's own waiting messages, as pointers, oldest first: read each by its id.

    With `_count` a page at a time: the link `next` leads to the next one, also when messages have left the list meanwhile.
    """
    limit = min(count, ENTRIES_MAX) if count else None
    at, _, message_id = after.partition(".")
    place = (int(at), message_id) if after else None
    found = house.reading.gp_inbox(ods, EVERY if state == "all" else WAITING, place, limit and limit + 1)
    items, base = found[:limit], _base(request, house)
    onward = None
    if len(found) > len(items):
        asked = {"state": state, "_count": count, "after": f"{items[-1].sent_at}.{items[-1].message_id}"}
        onward = f"{base}/Communication?{urlencode({k: v for k, v in asked.items() if v})}"
    pointers = ((i.message_id, i.state, i.sent_at) for i in items)
    return _fhir(inbox_bundle(pointers, base, onward, whole=not after and onward is None))


def _base(request: Request, house: House) -> str:
    """Where a practice asks again. Behind a TLS proxy we are not told so: but cookies for HTTPS alone mean that there is one."""
    address = request.base_url.replace(scheme="https") if house.config.secure_cookies else request.base_url
    return str(address).rstrip("/") + "/fhir/r4"


@router.get("/Communication/{message_id}")
def read(request: Request, house: TheHouse, ods: Practice, message_id: UUID) -> JSONResponse:
    """One message: Bundle of Communication, Flag and Provenance. Recorded as an access before it is given (I7)."""
    view, message = _mine(house, ods, message_id)
    try:
        bundle = message_bundle(gp_content(view, message))
    except NotACsogMessage as err:
        raise NotFound from err
    house.record(request, ods, "gp_practice", "GP_MESSAGE", [view["child_id"]])
    return _fhir(bundle)


@router.post("/Communication/{message_id}/$receipt")
async def answer(request: Request, house: TheHouse, ods: Practice, message_id: UUID) -> JSONResponse:
    """The practice's word: Parameters with `state` ACCEPTED, READ, CODED or REJECTED (with `reason`). Twice is once.

    200 once the ledger has it, 202 when it is sent and not yet confirmed: ask again with the same body.
    """
    try:
        state, reason = receipt(await request.json())
        if reason is not None and reason not in code_lists()["gp-reject-reason"].codes:
            raise ValueError(f"parameter `reason` must be one of {', '.join(code_lists()['gp-reject-reason'].codes)}")
    except (ValueError, RecursionError) as err:  # also bad JSON, whose text could quote the body: say our own words
        text = str(err) if str(err).startswith(("parameter", "send a")) else "The body is not JSON"
        return outcome(Trouble(400, "invalid", "The receipt is not valid", text, "invalid"))
    return await run_in_threadpool(
        partial(_say, request=request, house=house, ods=ods, message_id=message_id, state=state, reason=reason)
    )


def _say(*, request: Request, house: House, ods: str, message_id: UUID, state: str, reason: str | None) -> JSONResponse:
    view, message = _mine(house, ods, message_id)
    if RANK.get(message["state"], 0) > RANK[state]:
        text = f"This message is already {message['state']}; a receipt does not go back."
        return outcome(Trouble(409, "too-late", "The receipt is out of date", text, "conflict"))
    ticket = Ticket(make_id("receipt", message_id, ods, state), f"gp:{message_id}", None)
    said = house.acting.say(
        "GpReceipt", ticket, actor_id=ods, role="gp_practice", child_id=view["child_id"],
        body={"message_id": str(message_id), "practice_ods": ods, "state": state, "reason": reason},
        correlation_id=request.state.request_id,
    )  # fmt: skip
    if said.refused:
        return outcome(
            Trouble(409, "refused", "The receipt was not recorded", "It does not fit how the message stands now.", "conflict")
        )
    done = not said.pending
    text = f"Receipt {state} is recorded." if done else f"Receipt {state} is sent and waits for confirmation; ask again."
    issue = {"severity": "information", "code": "informational", "diagnostics": text}
    return _fhir({"resourceType": "OperationOutcome", "issue": [issue]}, 200 if done else 202)


def _mine(house: House, ods: str, message_id: UUID) -> tuple[Json, Json]:
    """The message when it lies in this practice's inbox. Raises: NotFound."""
    found = house.reading.gp_message(str(message_id), ods)
    if found is None or found[1]["state"] not in EVERY:
        raise NotFound
    return found


def _fhir(resource: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(resource, status, media_type=FHIR_JSON)
