"""Sign in, sign out, the first page of each role."""

from __future__ import annotations

import re
import secrets
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from projections.accounts import ABSOLUTE_US, end_session
from web.errors import TROUBLES
from web.house import House, NotSignedIn, TheHouse, WrongPassword
from web.pages.common import Posted
from web.roles import Right, may

router: Final = APIRouter(include_in_schema=False)

LOCAL: Final = re.compile(r"/[A-Za-z0-9][A-Za-z0-9/_-]*\Z")
"""Where sign-in may lead: an address of ours without a query."""


def first_page(role: str) -> str:
    """Where a role starts."""
    if may(role, Right.CHILDREN):
        return "/queue"
    return "/status" if may(role, Right.OPERATE) else "/board"


@router.get("/")
def home(request: Request, house: TheHouse) -> Response:
    """The first page of whoever asks."""
    return RedirectResponse(first_page(house.visitor(request).role), 303)


@router.get("/sign-in")
def sign_in_form(request: Request, house: TheHouse, next: str = "") -> Response:  # noqa: A002 - the parameter's public name
    """The form; its token hangs on a cookie of its own until there is a session."""
    return _form(house, request, next)


@router.post("/sign-in")
def sign_in_post(request: Request, house: TheHouse, form: Posted) -> Response:
    """A new session, or the form again: it does not say which of name, password and lock said no."""
    found = house.sign_in(form.get("name"), form.values.get("password", ""))
    target = form.get("next")
    if found is None:
        told = TROUBLES[WrongPassword]
        form.errors["name"] = f"{told.title}. {told.text}"
        return _form(house, request, target, form.get("name"), form.summary)
    account, token = found
    answer = RedirectResponse(target if LOCAL.match(target) else first_page(account.role), 303)
    answer.set_cookie(
        house.cookie, token, max_age=ABSOLUTE_US // 1_000_000, httponly=True, secure=house.config.secure_cookies, samesite="lax"
    )
    answer.delete_cookie(f"{house.cookie}-form", secure=house.config.secure_cookies)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, house: TheHouse, form: Posted) -> Response:
    """End the session."""
    del form
    try:
        token = house.visitor(request).token
    except NotSignedIn:
        return RedirectResponse("/sign-in", 303)
    with house.config.keep_engine.begin() as conn:
        end_session(conn, token, now=house.now())
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(house.cookie, secure=house.config.secure_cookies)
    return answer


def _form(house: House, request: Request, target: str, name: str = "", errors: list[dict[str, str]] | None = None) -> Response:
    cookie = f"{house.cookie}-form"
    holder = request.cookies.get(house.cookie) or request.cookies.get(cookie) or secrets.token_urlsafe(32)
    answer = house.page(
        request, "sign_in.html", status=400 if errors else 200, target=target if LOCAL.match(target) else "", name=name,
        errors=errors or [], holder=holder,
    )  # fmt: skip
    answer.set_cookie(cookie, holder, httponly=True, secure=house.config.secure_cookies, samesite="lax")
    return answer
