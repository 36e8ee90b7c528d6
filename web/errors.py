"""One answer for each thing that goes wrong: a page for people, problem+json under /api, an OperationOutcome under /fhir."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from domain.problems import InvalidFact
from projections.accounts import FAILURES_MAX, LOCKED_US
from projections.reading import CatchingUp
from web.acting import BadTicket, SaidOtherwise
from web.house import FIELDS_MAX, BadForm, Forbidden, NotFound, NotSignedIn, Visitor, WrongPassword, form_of, house_of
from web.ports import PerhapsSent, Unavailable
from web.security import BODY_BYTES_MAX, BodyTooLong

log: Final = structlog.get_logger("web")

NOT_TEXT: Final = ("csrf", "ticket", "password", "name")
"""Fields that are not given back to somebody whose session has ended."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """How one kind of error reads. `code` is stable, for programs; `fhir` is its issue type."""

    status: int
    code: str
    title: str
    text: str
    fhir: str


class Unauthorised(Exception):
    """A practice without a credential, or not a live one."""


TROUBLES: Final[Mapping[type[Exception], Trouble]] = {
    NotSignedIn: Trouble(
        401,
        "not-signed-in",
        "Your session has ended",
        "Sign in again. Nothing was recorded just now; what was sent before stands.",
        "login",
    ),
    WrongPassword: Trouble(
        401,
        "wrong-password",
        "The name or the password is not right",
        f"After {FAILURES_MAX} wrong passwords an account rests for {LOCKED_US // 60_000_000} minutes; an administrator can "
        "reset it.",
        "login",
    ),
    Unauthorised: Trouble(
        401, "not-signed-in", "No valid credential", "Use the practice's client id and secret as HTTP Basic.", "login"
    ),
    Forbidden: Trouble(
        403,
        "not-for-this-role",
        "This page is not for your role",
        "If you need it for your work, ask an administrator of Sightline.",
        "forbidden",
    ),
    NotFound: Trouble(
        404,
        "not-found",
        "Page not found",
        "There is nothing here that you may see. If you followed a link, what it shows may have been joined with another record "
        "or withdrawn: search again.",
        "not-found",
    ),
    BadForm: Trouble(
        403,
        "form-token",
        "The form was opened in another session",
        "Nothing was sent or recorded. Open the page again.",
        "forbidden",
    ),
    BadTicket: Trouble(
        409, "form-ticket", "This form can no longer be used", "Nothing was recorded. Open the page again.", "conflict"
    ),
    SaidOtherwise: Trouble(
        409,
        "already-said",
        "This form was already sent",
        "What you first sent stands. To add something, open the page again.",
        "conflict",
    ),
    BodyTooLong: Trouble(
        413,
        "too-long",
        "The request is too long",
        f"It may have {BODY_BYTES_MAX // 1024} KiB at most. Nothing was recorded: shorten it and send it again.",
        "too-long",
    ),
    InvalidFact: Trouble(
        400, "invalid", "Something in the form cannot be recorded", "Go back and check what you entered.", "invalid"
    ),
    PerhapsSent: Trouble(
        503,
        "perhaps-recorded",
        "Sightline cannot answer just now",
        "Whether it was recorded is not known. Send it again as it is, with the same id: it counts once. If a child may be at "
        "risk now, do not wait: call.",
        "transient",
    ),
    Unavailable: Trouble(
        503,
        "unavailable",
        "Sightline cannot answer just now",
        "Nothing was recorded. Try again in a minute. If a child may be at risk now, do not wait: call.",
        "transient",
    ),
    CatchingUp: Trouble(
        503,
        "catching-up",
        "Sightline is catching up",
        "It was restarted or restored and is reading what it holds. Nothing is shown until it is complete, because half a "
        "picture can look like safety. Try again in a minute. If a child may be at risk now, do not wait: call.",
        "transient",
    ),
    SQLAlchemyError: Trouble(
        503,
        "unavailable",
        "Sightline cannot answer just now",
        "Who looks at a child must be recorded first, and that is not possible just now. Nothing was shown or recorded. "
        "Try again in a minute. If a child may be at risk now, do not wait: call.",
        "transient",
    ),
}


DEFECT: Final = Trouble(
    500,
    "defect",
    "Something went wrong",
    "It is our fault, and those who run Sightline have been told. Whether it was recorded is not known: ask again with the same "
    "id. If a child may be at risk now, do not wait: call.",
    "exception",
)
UNREADABLE: Final = Trouble(
    400,
    "unreadable",
    "The request cannot be read",
    f"Its body is not what its content type says. A form has no files and at most {FIELDS_MAX} fields; JSON is not nested deep. "
    "Nothing was recorded.",
    "structure",
)
"""Every 400 of the framework's own is about a body."""

UNREAD: Final = (TROUBLES[BodyTooLong], UNREADABLE)
"""Reading the body broke off: nothing of it can be given back, and to read on would be to wait for what has come already."""


def for_programs(path: str, trouble: Trouble, request_id: str) -> JSONResponse | None:
    """The trouble as a program reads it; None where people read."""
    if path.startswith("/fhir/"):
        return outcome(trouble)
    return problem(trouble, request_id) if path.startswith("/api/") else None


def install_handlers(app: FastAPI) -> None:
    """Every error above, and the framework's own, in the form the caller reads."""
    for kind in TROUBLES:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)


async def _answer(request: Request, err: Exception) -> Response:
    trouble = next(t for kind, t in TROUBLES.items() if isinstance(err, kind))
    if trouble.status == 503:
        log.warning("unavailable", error=type(err).__name__, request_id=request.state.request_id)
    details = (
        [{"field": p.field, "rule": p.rule, "message": p.message} for p in err.problems] if isinstance(err, InvalidFact) else []
    )
    return await respond(request, trouble, details)


async def respond(request: Request, trouble: Trouble, details: list[dict[str, str]] | None = None) -> Response:
    """The trouble as page, problem+json or OperationOutcome."""
    path = request.url.path
    if path.startswith("/fhir/"):
        return outcome(trouble)
    if path.startswith("/api/"):
        return problem(trouble, request.state.request_id, details)
    if trouble.code == "not-signed-in" and request.method in ("GET", "HEAD"):
        return _to_sign_in(request)
    typed = {} if trouble in UNREAD else await _typed(request)
    visitor = await _who(request) if trouble.status < 500 and trouble.status != 401 else None
    return house_of(request).page(
        request, "trouble.html", visitor, status=trouble.status, trouble=trouble, typed=typed, details=details or []
    )


def _to_sign_in(request: Request) -> Response:
    """Sign in, and come back. Where htmx asked for a part of a page, the whole page leaves: a part is nothing to come back to."""
    if "hx-target" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
    return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)


async def _who(request: Request) -> Visitor | None:
    """Who is signed in, if anybody: their way on stands on the page of an error too."""
    with suppress(NotSignedIn, SQLAlchemyError):
        return await run_in_threadpool(house_of(request).visitor, request, touch=False)
    return None


def problem(trouble: Trouble, request_id: str, details: list[dict[str, str]] | None = None) -> JSONResponse:
    """RFC 9457."""
    body: dict[str, Any] = {
        "type": f"urn:sightline:problem:{trouble.code}", "title": trouble.title, "status": trouble.status, "detail": trouble.text,
        "request_id": request_id, **({"errors": details} if details else {}),
    }  # fmt: skip
    return JSONResponse(body, trouble.status, media_type="application/problem+json")


def outcome(trouble: Trouble) -> JSONResponse:
    """A FHIR OperationOutcome."""
    issue = {"severity": "error", "code": trouble.fhir, "diagnostics": f"{trouble.title}. {trouble.text}"}
    headers = {"www-authenticate": 'Basic realm="Sightline GP", charset="UTF-8"'} if trouble.status == 401 else {}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return JSONResponse(body, trouble.status, headers, media_type="application/fhir+json")


async def _typed(request: Request) -> dict[str, str]:
    """What somebody typed, given back to them so that it is not lost (only in answer to their own POST)."""
    if request.method != "POST" or "form" not in request.headers.get("content-type", ""):
        return {}
    try:
        form = await form_of(request)
    except HTTPException:
        return {}
    return {k: v for k, v in form.items() if k not in NOT_TEXT and isinstance(v, str) and len(v.strip()) > 20}


async def _http(request: Request, err: Exception) -> Response:
    status = err.status_code if isinstance(err, HTTPException) else 500
    if status == 404:
        return await respond(request, TROUBLES[NotFound])
    if status == 400:
        return await respond(request, UNREADABLE)
    title = {405: "This address does not take that"}.get(status, "This request cannot be answered")
    return await respond(request, Trouble(status, f"http-{status}", title, "Check the address and try again.", "not-supported"))


async def _validation(request: Request, err: Exception) -> Response:
    """Names the field and the rule, never the value (I7). A path that is no UUID is simply not found."""
    errors = err.errors() if isinstance(err, RequestValidationError) else []
    if any(e["loc"][0] == "path" for e in errors):
        return await respond(request, TROUBLES[NotFound])
    details = [
        {"field": ".".join(map(str, e["loc"][1:])), "rule": e["type"], "message": e["msg"].split(", got")[0]} for e in errors
    ]
    return await respond(request, Trouble(422, "invalid", "The request is not valid", "See `errors`.", "invalid"), details)
