"""What pages with forms share: reading a form with its token, finding a child for a reader, saying an act."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from domain.sharing import records_beside
from web.acting import Ticket
from web.forms import Form
from web.house import BadForm, House, NotFound, Visitor, form_of, house_of
from web.ports import Entry, Json, PerhapsSent
from web.security import CSRF_FIELD, csrf_token, same_token

HIDDEN: Final = (CSRF_FIELD, "ticket")


async def posted(request: Request) -> Form:
    """The form of a POST, once its token is right. Raises: BadForm."""
    house = house_of(request)
    data = await form_of(request)
    values = {k: v for k, v in data.items() if isinstance(v, str)}
    holder = request.cookies.get(house.cookie) or request.cookies.get(f"{house.cookie}-form", "")
    if not holder or not same_token(values.get(CSRF_FIELD, ""), csrf_token(house.config.secret, holder)):
        raise BadForm
    return Form(values, {k: [v for v in data.getlist(k) if isinstance(v, str)] for k in values})


Posted = Annotated[Form, Depends(posted)]


def child_for(house: House, visitor: Visitor, child_id: UUID, as_of: int | None = None, known_at: int | None = None) -> Json:
    """The child's view as this visitor may see it. Raises: NotFound, also when the child must not be known to them."""
    view = house.reading.child_view(str(child_id), as_of, known_at)
    return may_know(house.redact(view, visitor) if view is not None else None)


def beside(house: House, view: Json) -> Sequence[str]:
    """The children whose records a redacted view shows beside the child's own of today: they are looked at too (I7)."""
    shown = records_beside(view)
    return house.reading.children_of(shown) if shown else ()


def may_know(redacted: Json | None) -> Json:
    """The redacted view, unless nothing of it is left. Raises: NotFound."""
    if redacted is None:
        raise NotFound
    return redacted


def act(
    house: House,
    request: Request,
    visitor: Visitor,
    form: Form,
    *,
    record: str,
    ticket: Ticket,
    child_id: str | None,
    done: str,
    title: str,
    conflict: Callable[[Entry], Response],
) -> Response:
    """Say the act in `form.body`; answer with where it went.

    Accepted: `done`. Not yet known, or the broker away (which may have it all the same): a page that asks again, with every
    word and the same id. Refused: `conflict`.
    """  # fmt: skip
    pending = Pending(title, done, ticket.event_id)
    try:
        outcome = house.acting.say(
            record, ticket, actor_id=visitor.account.account_id, role=visitor.role, child_id=child_id, body=form.body,
            correlation_id=request.state.request_id,
        )  # fmt: skip
    except PerhapsSent:
        return _pending(house, request, visitor, form, pending=pending, ticket=house.acting.again(ticket), status=503)
    if outcome.refused and outcome.entry is not None:
        return conflict(outcome.entry)
    if outcome.pending:
        return _pending(house, request, visitor, form, pending=pending, ticket=outcome.ticket, status=202)
    return RedirectResponse(done, 303)


@dataclass(frozen=True, slots=True)
class Pending:
    """What the waiting page says and where it leads."""

    title: str
    done: str
    event_id: str


def _pending(
    house: House, request: Request, visitor: Visitor, form: Form, *, pending: Pending, ticket: str, status: int
) -> Response:
    hidden = [(k, v) for k, vs in form.many.items() if k not in HIDDEN for v in vs]
    return house.page(
        request, "pending.html", visitor, status=status, pending=pending, ticket=ticket, typed=typed(form), hidden=hidden,
        away=status == 503,
    )  # fmt: skip


def typed(form: Form) -> Mapping[str, str]:
    """What was typed in words, to give back."""
    return {k: v for k, v in form.values.items() if k not in HIDDEN and len(v.strip()) > 20}


def plain_conflict(
    house: House, request: Request, visitor: Visitor, form: Form, *, back: str, **values: Any
) -> Callable[[Entry], Response]:
    """A 409 page for acts that have no page of their own for it."""

    def answer(entry: Entry) -> Response:
        return house.page(
            request, "conflict.html", visitor, status=409, entry=entry, typed=typed(form), back=back, decided=None, **values
        )

    return answer
