"""For those who run Sightline: how far behind, how old, what could not be accepted. No personal data on any of it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from schemas.topics import AGENCIES, HOUSE
from web.house import NotFound, Operator, TheHouse

router: Final = APIRouter(include_in_schema=False)

LETTERS_MAX: Final = 200


@router.get("/status")
def status(request: Request, house: TheHouse, visitor: Operator) -> Response:
    """Lag, relay age, dead letters, positions, pulse."""
    return house.page(request, "status.html", visitor, status_of=house.reading.status(), pulse=house.reading.pulse())


@router.get("/dead-letters")
def dead_letters(request: Request, house: TheHouse, visitor: Operator, agency: str = "") -> Response:
    """The newest, for one agency or all."""
    whose = (*AGENCIES, HOUSE)
    chosen = agency if agency in whose else None
    rows = house.reading.dead_letters(chosen, LETTERS_MAX)
    return house.page(request, "dead_letters.html", visitor, rows=rows, agency=chosen, agencies=whose)


@router.get("/dead-letters/{letter_id}")
def dead_letter(request: Request, house: TheHouse, visitor: Operator, letter_id: UUID) -> Response:
    """Reason and pointer: the sender's bytes stay in the intake."""
    found = house.reading.dead_letter(str(letter_id))
    if found is None:
        raise NotFound
    return house.page(request, "dead_letter.html", visitor, letter=found)
