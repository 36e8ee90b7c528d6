"""The child page: every section of the view, today or as it was true and known on a day."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from web import forms
from web.forms import Form
from web.house import PURPOSES, ChildReader, House, TheHouse, Visitor
from web.pages.common import beside, child_for
from web.ports import Json
from web.shapes import age, child_name, passed_to, people_in, seen

router: Final = APIRouter(include_in_schema=False)


@router.get("/children/{child_id}")
def child(request: Request, house: TheHouse, visitor: ChildReader, child_id: UUID, purpose: str = "FRONT_DOOR") -> Response:
    """The page. `?as_of-day=…` and `?known_at-day=…` ask for the past; `purpose` comes along from a search."""
    form = Form({k: v for k, v in request.query_params.items() if len(v) <= 10})
    as_of, known_at = forms.moment(form, "as_of", house.now()), forms.moment(form, "known_at", house.now())
    view = child_for(house, visitor, child_id, as_of, known_at)
    house.shown(request, visitor, purpose if purpose in PURPOSES else "FRONT_DOOR", [str(child_id), *beside(house, view)])
    return child_page(house, request, visitor, view, form, past=as_of is not None or known_at is not None)


def child_page(house: House, request: Request, visitor: Visitor, view: Json, form: Form, *, past: bool) -> Response:
    """Render a redacted view whose showing is recorded."""
    return house.page(
        request,
        "child.html",
        visitor,
        status=400 if form.errors else 200,
        view=view,
        name=child_name(view),
        age=age(view, house.now()),
        names=house.names(people_in(view)),
        form=form,
        past=past,
        may_take_over=_may_take_over(visitor, view),
        case_ticket=house.acting.open(f"case:{view['child_id']}", None),
    )


def _may_take_over(visitor: Visitor, view: Json) -> bool:
    """Somebody else has the case, and something overdue on it was passed to this visitor."""
    me, case = visitor.account.account_id, view.get("case")
    return case is not None and case["by"] != me and passed_to(seen(view.get("recommendations", [])), visitor.role, me)
