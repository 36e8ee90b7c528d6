"""Sign in for programs: the same session cookie as the pages, and the token that every changing request carries."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from projections.accounts import ABSOLUTE_US, end_session
from web.house import Anyone, BadForm, House, TheHouse, Visitor, WrongPassword, house_of
from web.ports import Json
from web.roles import RIGHTS
from web.security import CSRF_HEADER, csrf_token, same_token

router: Final = APIRouter(prefix="/api/session", tags=["session"])


class SignIn(BaseModel):
    """Name and password."""

    name: str = Field(max_length=120)
    password: str = Field(max_length=256)


def checked(request: Request) -> None:
    """The request carries its session's token in `X-CSRF-Token`. Raises: BadForm."""
    house = house_of(request)
    holder = request.cookies.get(house.cookie, "")
    if not holder or not same_token(request.headers.get(CSRF_HEADER, ""), csrf_token(house.config.secret, holder)):
        raise BadForm


@router.post("")
def open_session(house: TheHouse, response: Response, body: SignIn) -> Json:
    """Sign in. The answer holds the token for the header `X-CSRF-Token` of every request that changes something."""
    found = house.sign_in(body.name, body.password)
    if found is None:
        raise WrongPassword
    account, token = found
    secure = house.config.secure_cookies
    response.set_cookie(house.cookie, token, max_age=ABSOLUTE_US // 1_000_000, httponly=True, secure=secure, samesite="lax")
    return _told(house, Visitor(account, token))


@router.get("")
def session(house: TheHouse, visitor: Anyone) -> Json:
    """Who is signed in, and the token."""
    return _told(house, visitor)


@router.delete("", status_code=204, dependencies=[Depends(checked)])
def close_session(house: TheHouse, visitor: Anyone) -> None:
    """Sign out."""
    with house.config.keep_engine.begin() as conn:
        end_session(conn, visitor.token, now=house.now())


def _told(house: House, visitor: Visitor) -> Json:
    rights = sorted(RIGHTS.get(visitor.role, ()))
    return {
        "account_id": visitor.account.account_id, "name": visitor.account.display_name, "role": visitor.role, "rights": rights,
        "csrf_token": csrf_token(house.config.secret, visitor.token),
    }  # fmt: skip
