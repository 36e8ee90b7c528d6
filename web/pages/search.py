"""Search: what is searched for travels in the body, never in an address; every search is recorded, also without hits."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from domain.searching import SearchTerms
from web import forms
from web.forms import Form
from web.house import SEARCH_PURPOSES, ChildReader, House, TheHouse, Visitor
from web.pages.common import Posted
from web.ports import Json
from web.shapes import hit_row, still_fits

router: Final = APIRouter(include_in_schema=False)

HITS_MAX: Final = 20
"""More than this is not a search for one child."""

AT_ONCE: Final = HITS_MAX + 1
TURNS_MAX: Final = 20
"""What is hidden from a reader takes no place among the hits, so more is read; at most 420 views, and then "there are more"."""


def hits(house: House, request: Request, visitor: Visitor, terms: SearchTerms, purpose: str) -> tuple[list[Json], bool]:
    """What was found, recorded; and whether there is more than is shown."""
    found: list[Json] = []
    more = False
    for turn in range(TURNS_MAX):
        some = house.reading.search(terms, AT_ONCE, turn * AT_ONCE)
        views = (house.redact(v, visitor) for v in some)
        found += [hit_row(v, house.now()) for v in views if v is not None and still_fits(v, terms)]
        more = len(some) == AT_ONCE
        if len(found) > HITS_MAX or not more:
            break
    house.shown(request, visitor, purpose, [h["child_id"] for h in found[:HITS_MAX]])
    return found[:HITS_MAX], more or len(found) > HITS_MAX


@router.get("/search")
def search_form(request: Request, house: TheHouse, visitor: ChildReader) -> Response:
    """The empty form."""
    return house.page(request, "search.html", visitor, form=Form(), purposes=SEARCH_PURPOSES, rows=None, more=False)


@router.post("/search")
def search(request: Request, house: TheHouse, visitor: ChildReader, form: Posted) -> Response:
    """Results, or the form again with what is missing."""
    form, terms = forms.search(form, SEARCH_PURPOSES)
    if form.errors:
        return house.page(request, "search.html", visitor, status=400, form=form, purposes=SEARCH_PURPOSES, rows=None, more=False)
    found, more = hits(house, request, visitor, terms, form.get("purpose"))
    return house.page(request, "search.html", visitor, form=form, purposes=SEARCH_PURPOSES, rows=found, more=more)
