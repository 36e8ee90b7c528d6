"""What one may do. `event_id` is a UUID you choose once: the same request again is the same act.

`based_on` is the `version` seen.

200: recorded. 202: sent, not yet confirmed (GET /api/acts/{event_id}). 409: somebody else was quicker, or new facts came.
"""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field

from domain.problems import InvalidFact, Problem
from domain.times import to_us
from web.acting import Ticket
from web.api.session import checked
from web.errors import Trouble, problem
from web.house import Decider, Dissenter, GpResolver, Holder, House, Matcher, NotFound, Taker, TheHouse, Visitor
from web.pages.common import child_for
from web.pages.gp_exceptions import exception_row
from web.pages.matches import ACTS, redacted_pair
from web.pages.matches import load as load_match
from web.pages.recommendations import load
from web.rendering import refusal
from web.roles import VOICE

router: Final = APIRouter(prefix="/api", tags=["acting"], dependencies=[Depends(checked)])

Text = Annotated[str, Field(max_length=4000)]


class Act(BaseModel):
    """What every act carries."""

    event_id: UUID
    based_on: int | None = None


class Based(Act):
    """An act that settles something: `based_on` is the `version` of what you saw."""

    based_on: int


class Decision(Based):
    """Convene (with `meeting_at`), or decline (with `reason` and `rationale`)."""

    decision: str
    reason: str | None = None
    rationale: Text | None = None
    meeting_at: AwareDatetime | None = None


class Held(Based):
    """The strategy discussion was held."""

    held_at: AwareDatetime
    attended: list[str] = Field(min_length=1, max_length=40)
    outcome: str
    outcome_text: Text


class Ground(Act):
    """Why you disagree."""

    ground: Text


class Rationale(Based):
    """Why."""

    rationale: Text


class Match(Based):
    """confirm, reject or undo; undoing needs a rationale."""

    decision: str
    rationale: Text | None = None


class Taken(Act):
    """True: take the case; false: give it back."""

    taken: bool


class Resolution(Based):
    """What was done."""

    resolution: Text


@router.post("/recommendations/{recommendation_id}/decide")
def decide(request: Request, house: TheHouse, visitor: Decider, recommendation_id: UUID, body: Decision) -> JSONResponse:
    """Convene or decline (R1)."""
    wanted = {"CONVENE": ("meeting_at",), "DECLINE": ("reason", "rationale")}.get(body.decision, ())
    _need(RECORD_DECIDED, [name for name in wanted if not getattr(body, name)])
    said = {"decision": body.decision, "reason": body.reason, "rationale": body.rationale}
    said["meeting_at"] = body.meeting_at.isoformat() if body.meeting_at else None
    return _about(
        request=request,
        house=house,
        visitor=visitor,
        recommendation_id=recommendation_id,
        record=RECORD_DECIDED,
        body=body,
        said=said,
    )


@router.post("/recommendations/{recommendation_id}/held")
def held(request: Request, house: TheHouse, visitor: Holder, recommendation_id: UUID, body: Held) -> JSONResponse:
    """Record that the discussion was held."""
    said = {"held_at": to_us(body.held_at), "attended": body.attended, "outcome": body.outcome, "outcome_text": body.outcome_text}
    return _about(
        request=request,
        house=house,
        visitor=visitor,
        recommendation_id=recommendation_id,
        record="StrategyMeetingHeld",
        body=body,
        said=said,
    )


@router.post("/recommendations/{recommendation_id}/disagree")
def disagree(request: Request, house: TheHouse, visitor: Dissenter, recommendation_id: UUID, body: Ground) -> JSONResponse:
    """Disagree, for your own agency (R5)."""
    said = {"agency": VOICE[visitor.role], "ground": body.ground}
    return _about(
        request=request,
        house=house,
        visitor=visitor,
        recommendation_id=recommendation_id,
        record="RecommendationDisagreed",
        body=body,
        said=said,
    )


@router.post("/recommendations/{recommendation_id}/close")
def close(request: Request, house: TheHouse, visitor: Decider, recommendation_id: UUID, body: Rationale) -> JSONResponse:
    """Close a recommendation whose evidence changed."""
    return _about(
        request=request,
        house=house,
        visitor=visitor,
        recommendation_id=recommendation_id,
        record="RecommendationClosed",
        body=body,
        said={"rationale": body.rationale},
    )


@router.post("/children/{child_id}/case")
def case(request: Request, house: TheHouse, visitor: Taker, child_id: UUID, body: Taken) -> JSONResponse:
    """Take the case, or give it back."""
    child_for(house, visitor, child_id)
    return _say(
        request=request,
        house=house,
        visitor=visitor,
        record="CaseTaken",
        body=body,
        child_id=str(child_id),
        said={"taken": body.taken},
    )


@router.post("/matches/{match_id}")
def match(request: Request, house: TheHouse, visitor: Matcher, match_id: UUID, body: Match) -> JSONResponse:
    """Confirm, reject or undo a possible match."""
    pair = load_match(house, match_id)
    if redacted_pair(house, visitor, pair) is None:
        raise NotFound
    if body.decision not in ACTS:
        raise InvalidFact("Match", [Problem("decision", "unknown-code", f"must be one of {', '.join(ACTS)}")])
    _need("Match", ["rationale"] if body.decision == "undo" and not body.rationale else [])
    said = {"match_id": str(match_id), "rationale": body.rationale}
    return _say(
        request=request,
        house=house,
        visitor=visitor,
        record=ACTS[body.decision],
        body=body,
        child_id=pair.child["child_id"],
        said=said,
    )


@router.post("/gp-exceptions/{message_id}")
def resolve(request: Request, house: TheHouse, visitor: GpResolver, message_id: UUID, body: Resolution) -> JSONResponse:
    """Say what was done about a GP message that did not arrive."""
    row = exception_row(house, visitor, message_id)
    if row is None:
        raise NotFound
    said = {"message_id": str(message_id), "resolution": body.resolution}
    return _say(
        request=request,
        house=house,
        visitor=visitor,
        record="GpExceptionResolved",
        body=body,
        child_id=row["child_id"],
        said=said,
    )


@router.post("/gp-exceptions/{message_id}/case")
def take_exception(request: Request, house: TheHouse, visitor: GpResolver, message_id: UUID, body: Taken) -> JSONResponse:
    """Take a GP message that did not arrive, or give it back."""
    row = exception_row(house, visitor, message_id)
    if row is None:
        raise NotFound
    said = {"message_id": str(message_id), "taken": body.taken}
    return _say(
        request=request,
        house=house,
        visitor=visitor,
        record="GpExceptionTaken",
        body=body,
        child_id=row["child_id"],
        said=said,
    )


RECORD_DECIDED: Final = "RecommendationDecided"


def _need(record: str, missing: list[str]) -> None:
    if missing:
        raise InvalidFact(record, [Problem(name, "required", "is required") for name in missing])


def _about(
    *, request: Request, house: House, visitor: Visitor, recommendation_id: UUID, record: str, body: Act, said: dict[str, Any]
) -> JSONResponse:
    child_id, _, _ = load(house, visitor, recommendation_id)
    return _say(
        request=request,
        house=house,
        visitor=visitor,
        record=record,
        body=body,
        child_id=child_id,
        said={"recommendation_id": str(recommendation_id), **said},
    )


def _say(
    *, request: Request, house: House, visitor: Visitor, record: str, body: Act, child_id: str, said: dict[str, Any]
) -> JSONResponse:
    outcome = house.acting.say(
        record, Ticket(str(body.event_id), record, body.based_on), actor_id=visitor.account.account_id, role=visitor.role,
        child_id=child_id, body=said, correlation_id=request.state.request_id,
    )  # fmt: skip
    if outcome.entry is None:
        return JSONResponse({"event_id": str(body.event_id), "state": "pending"}, 202)
    if outcome.refused:
        reason = outcome.entry.reason or "refused"
        return problem(Trouble(409, reason, "Not recorded", refusal(reason), "conflict"), request.state.request_id)
    return JSONResponse({"event_id": str(body.event_id), "state": "recorded", "number": outcome.entry.number})
