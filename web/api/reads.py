"""What one may read. Instants in answers are µs since 1970, UTC; in questions ISO 8601 with an offset."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from domain.searching import SearchTerms
from domain.times import to_us
from schemas.topics import AGENCIES, HOUSE
from web.api import models
from web.house import Analyst, Anyone, ChildReader, GpResolver, Matcher, NotFound, Operator, TheHouse
from web.pages.board import tables
from web.pages.common import beside, child_for
from web.pages.gp_exceptions import exception_rows
from web.pages.matches import children_in, match_rows, redacted_pair
from web.pages.matches import load as load_match
from web.pages.operations import LETTERS_MAX
from web.pages.queue import decided_rows, queue_rows
from web.pages.recommendations import load as load_recommendation
from web.pages.search import hits
from web.paging import PageNumber
from web.ports import Json

router: Final = APIRouter(prefix="/api", tags=["reading"])


def gives(model: type[models.Shape]) -> dict[int | str, dict[str, Any]]:
    """The shape of an answer, for OpenAPI; the answer itself is not looked through a second time."""
    return {200: {"model": model}}


class Purpose(StrEnum):
    """Why somebody looks; recorded with the access."""

    FRONT_DOOR = "FRONT_DOOR"
    REFERRAL_CHECK = "REFERRAL_CHECK"
    STRATEGY_DISCUSSION = "STRATEGY_DISCUSSION"
    OWN_CASE = "OWN_CASE"
    OVERSIGHT = "OVERSIGHT"


class MatchState(StrEnum):
    """State of a possible match."""

    OPEN = "OPEN"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"
    UNDONE = "UNDONE"


class Search(BaseModel):
    """At least one of name, birth date and identifier. In the body, so that no address holds personal data."""

    name: str | None = Field(None, max_length=120)
    birth_date: date | None = None
    identifier: str | None = Field(None, max_length=120)
    purpose: Purpose


@router.get("/queue", response_model=None, responses=gives(models.Queue))
def queue(request: Request, house: TheHouse, visitor: ChildReader, page: PageNumber = 1) -> Json:
    """Children with a recommendation that waits for somebody: passed to you, harm triggers, passed to others, earliest due."""
    found = queue_rows(house, visitor, page)
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in found.rows])
    return found.document


@router.get("/decisions", response_model=None, responses=gives(models.Decisions))
def decisions(request: Request, house: TheHouse, visitor: ChildReader, page: PageNumber = 1) -> Json:
    """Decisions of the last seven days."""
    found = decided_rows(house, visitor, page)
    house.shown(request, visitor, "FRONT_DOOR", [r["child_id"] for r in found.rows])
    return found.document


@router.post("/search", response_model=None, responses=gives(models.Hits))
def search(request: Request, house: TheHouse, visitor: ChildReader, body: Search) -> Json:
    """Children that fit every term given; recorded also when there is none. Changes nothing, so it needs no token."""
    if not (body.name or body.birth_date or body.identifier):
        return {"items": [], "more": False}
    born = body.birth_date.isoformat() if body.birth_date else None
    number = body.identifier.replace(" ", "").upper() if body.identifier else None
    rows, more = hits(house, request, visitor, SearchTerms(body.name, born, number), body.purpose)
    return {"items": rows, "more": more}


@router.get("/children/{child_id}", response_model=None, responses=gives(models.ChildView))
def child(
    *,
    request: Request,
    house: TheHouse,
    visitor: ChildReader,
    child_id: UUID,
    purpose: Purpose = Purpose.FRONT_DOOR,
    as_of: Annotated[AwareDatetime | None, Query(description="What was true then")] = None,
    known_at: Annotated[AwareDatetime | None, Query(description="What we knew then")] = None,
) -> Json:
    """The child view of docs/child-view.md, as this reader may see it."""  # fmt: skip
    view = child_for(house, visitor, child_id, to_us(as_of) if as_of else None, to_us(known_at) if known_at else None)
    house.shown(request, visitor, purpose, [str(child_id), *beside(house, view)])
    return view


@router.get("/recommendations/{recommendation_id}", response_model=None, responses=gives(models.RecommendationOf))
def recommendation(request: Request, house: TheHouse, visitor: ChildReader, recommendation_id: UUID) -> Json:
    """One recommendation, with the child id. `version` is what an act on it is `based_on`."""
    child_id, _, rec = load_recommendation(house, visitor, recommendation_id)
    house.shown(request, visitor, "FRONT_DOOR", [child_id])
    return {"child_id": child_id, "recommendation": rec}


@router.get("/matches", response_model=None, responses=gives(models.Matches))
def matches(
    request: Request, house: TheHouse, visitor: Matcher, state: MatchState = MatchState.OPEN, page: PageNumber = 1
) -> Json:
    """Possible matches in a state."""
    found, children = match_rows(house, visitor, state, page)
    house.shown(request, visitor, "MATCHING", children)
    return found.document


@router.get("/matches/{match_id}", response_model=None, responses=gives(models.MatchPair))
def match(request: Request, house: TheHouse, visitor: Matcher, match_id: UUID) -> Json:
    """One possible match: the presentation, the child, what was decided before."""
    pair = load_match(house, match_id)
    found = redacted_pair(house, visitor, pair)
    if found is None:
        raise NotFound
    shown, view = found
    house.shown(request, visitor, "MATCHING", [*children_in(pair), *beside(house, view)])
    return {
        "match_id": pair.match_id, "state": pair.state, "version": pair.version, "presentation": shown, "child": view,
        "history": list(pair.history),
    }  # fmt: skip


@router.get("/gp-exceptions", response_model=None, responses=gives(models.GpExceptions))
def gp_exceptions(request: Request, house: TheHouse, visitor: GpResolver, page: PageNumber = 1) -> Json:
    """GP messages that did not arrive."""
    found = exception_rows(house, visitor, page)
    house.shown(request, visitor, "GP_EXCEPTION", [r["child_id"] for r in found.rows])
    return found.document


@router.get("/acts/{event_id}")
def act(house: TheHouse, visitor: Anyone, event_id: UUID) -> Json:
    """What became of an act: pending until the ledger topic has acknowledged it."""
    del visitor
    entry = house.reading.entry_for(str(event_id))
    if entry is None:
        return {"event_id": event_id, "state": "pending"}
    return {"event_id": event_id, "state": "answered", "verdict": entry.verdict, "reason": entry.reason, "number": entry.number}


@router.get("/status")
def status(house: TheHouse, visitor: Operator) -> Json:
    """Lag, relay age, dead letters, positions. No personal data."""
    del visitor
    return house.reading.status()


@router.get("/pulse")
def pulse(house: TheHouse, visitor: Anyone) -> Json:
    """Latest counts by agency and record; never authoritative."""
    del visitor
    return {"items": list(house.reading.pulse())}


@router.get("/dead-letters")
def dead_letters(house: TheHouse, visitor: Operator, agency: str | None = None) -> Json:
    """Dead letters, newest first: reason and pointer."""
    del visitor
    return {"items": list(house.reading.dead_letters(agency if agency in (*AGENCIES, HOUSE) else None, LETTERS_MAX))}


@router.get("/dead-letters/{letter_id}")
def dead_letter(house: TheHouse, visitor: Operator, letter_id: UUID) -> Json:
    """One dead letter."""
    del visitor
    found = house.reading.dead_letter(str(letter_id))
    if found is None:
        raise NotFound
    return found


@router.get("/board")
def board(house: TheHouse, visitor: Analyst) -> Json:
    """Counts with small numbers suppressed (null)."""
    del visitor
    return {"tables": tables(house)}
