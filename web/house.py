"""What every page shares: who is asking, may they, was it recorded, and how a page is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from projections.accesses import record_access
from projections.accounts import Account, admitted, held, names_of, session_account, tried
from web import assets
from web.acting import Acting
from web.config import WebConfig
from web.feed import Feed
from web.ports import Json, Unavailable
from web.readers import Reader, reader_for, redacted
from web.rendering import make_environment
from web.roles import Right, may
from web.security import csrf_token

COOKIE: Final = "sightline"
PURPOSES: Final[Mapping[str, str]] = {
    "FRONT_DOOR": "Front-door work on this child",
    "REFERRAL_CHECK": "Check on a new contact or referral",
    "STRATEGY_DISCUSSION": "Preparing or recording a strategy discussion",
    "OWN_CASE": "A child I work with",
    "MATCHING": "Deciding whether two records are one child",
    "GP_EXCEPTION": "A GP message that did not arrive",
    "GP_MESSAGE": "A practice reads its own message",
    "OVERSIGHT": "Supervision or audit",
}
"""Why somebody looks. The first is what a child page opened from the queue means."""

SEARCH_PURPOSES: Final = ("REFERRAL_CHECK", "STRATEGY_DISCUSSION", "OWN_CASE", "OVERSIGHT")
FIELDS_MAX: Final = 100
"""Of a posted form: the longest has some 20."""


class NotSignedIn(Exception):
    """No session, or it has ended."""


class WrongPassword(Exception):
    """Name, password or lock say no to a sign-in, and nothing says which."""


class Forbidden(Exception):
    """Signed in, but this page is not for the role. Used for pages only: a child is never `forbidden`, it is not found."""


class NotFound(Exception):
    """Nothing here for this reader: it does not exist, or must not be known."""


class BadForm(Exception):
    """A form without its token: from elsewhere, or opened in a session that has ended."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asking: the account and the session's token."""

    account: Account
    token: str = field(repr=False)

    @property
    def role(self) -> str:
        """Their role."""
        return self.account.role

    @property
    def reader(self) -> Reader:
        """What `domain.sharing` needs to know of them."""
        return reader_for(self.account.role, self.account.account_id)


AT_THE_DOOR: Final = 12
"""Who may be signing in at once: fewer than there are threads (40) and connections (20) for all who are in already."""

HASHING: Final = 2
"""Passwords tried at once: each takes a core for tenths of a second, and 64 MiB."""


class House:
    """The parts of one web process."""

    def __init__(self, config: WebConfig) -> None:
        self.config = config
        self.reading = config.reading
        self.assets = assets.load(config.static_dir)
        self.feed = Feed(config.reading)
        self.acting = Acting(config.reading, config.speaking, config.secret, config.clock, config.wait_s)
        self.environment: Environment = make_environment()
        self.common: Mapping[str, Any] = {"asset": self.assets.url, "PURPOSES": PURPOSES, "demonstration": config.demonstration}
        self.cookie = f"__Host-{COOKIE}" if config.secure_cookies else COOKIE
        self._door, self._hashing = BoundedSemaphore(AT_THE_DOOR), BoundedSemaphore(HASHING)

    def now(self) -> int:
        """The clock."""
        return self.config.clock()

    def sign_in(self, name: str, password: str) -> tuple[Account, str] | None:
        """As `projections.accounts.sign_in`; no connection is held while a password is tried.

        Raises: Unavailable: more than `AT_THE_DOOR` at once.
        """
        if not self._door.acquire(blocking=False):
            raise Unavailable("too many are signing in at this moment")
        try:
            with self.config.keep_engine.connect() as conn:
                hashed = held(conn, name)
            with self._hashing:
                one = tried(hashed, password)
            with self.config.keep_engine.begin() as conn:
                return admitted(conn, name, one, now=self.now())
        finally:
            self._door.release()

    def visitor(self, request: Request, *, touch: bool = True) -> Visitor:
        """Who is asking. Raises: NotSignedIn."""
        token = request.cookies.get(self.cookie, "")
        if token:
            with self.config.keep_engine.begin() as conn:
                found = session_account(conn, token, now=self.now(), touch=touch)
            if found is not None:
                request.state.actor = found.account_id
                return Visitor(found, token)
        raise NotSignedIn

    def shown(self, request: Request, visitor: Visitor, purpose: str, children: Iterable[str]) -> None:
        """Record that these children are about to be shown (none: a search without hits). No record, no page (I7)."""
        self.record(request, visitor.account.account_id, visitor.role, purpose, children)

    def record(self, request: Request, actor_id: str, role: str, purpose: str, children: Iterable[str]) -> None:
        """Commit one access record in `keep`; then send it on."""
        route = getattr(request.scope.get("route"), "path", "")
        with self.config.keep_engine.begin() as conn:
            made = record_access(
                conn, actor_id=actor_id, role=role, action=f"{request.method} {route}", purpose=purpose,
                children=list(children), now=self.now(),
            )  # fmt: skip
        self.config.publish_access(made)

    def names(self, account_ids: Iterable[str | None]) -> Mapping[str, str]:
        """Display names of accounts, for "decided by …"."""
        with self.config.keep_engine.connect() as conn:
            return names_of(conn, [a for a in account_ids if a])

    def page(
        self, request: Request, template: str, visitor: Visitor | None = None, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Render a template with what every page needs."""
        holder = visitor.token if visitor else request.cookies.get(f"{self.cookie}-form", "")
        html = self.environment.get_template(template).render(
            **self.common,
            request=request, visitor=visitor, role=visitor.role if visitor else None, now=self.now(),
            cspNonce=request.state.nonce, csrf=csrf_token(self.config.secret, values.pop("holder", holder)),
            path=request.url.path, **values,
        )  # fmt: skip
        return HTMLResponse(html, status)

    def redact(self, view: Json, visitor: Visitor) -> Json | None:
        """The view as this visitor may see it; None when they must not know of it."""
        return redacted(view, visitor.reader)


def house_of(request: Request) -> House:
    """The house a request is in."""
    house: House = request.app.state.house
    return house


async def form_of(request: Request) -> FormData:
    """The fields that were posted. Raises: HTTPException (a file, too many fields, too long, or broken)."""
    try:
        return await request.form(max_files=0, max_fields=FIELDS_MAX)
    except ValueError as err:  # Starlette's, of a charset that is none or does not fit
        raise HTTPException(400) from err


def with_right(right: Right | None, *, touch: bool = True) -> Callable[[Request], Visitor]:
    """A dependency: the visitor, who has this right. Without `touch` asking does not keep the session alive.

    Raises: NotSignedIn, Forbidden.
    """

    def dependency(request: Request) -> Visitor:
        visitor = house_of(request).visitor(request, touch=touch)
        if right is not None and not may(visitor.role, right):
            raise Forbidden
        return visitor

    return dependency


Anyone = Annotated[Visitor, Depends(with_right(None))]
ChildReader = Annotated[Visitor, Depends(with_right(Right.CHILDREN))]
Decider = Annotated[Visitor, Depends(with_right(Right.DECIDE))]
Holder = Annotated[Visitor, Depends(with_right(Right.HOLD))]
Dissenter = Annotated[Visitor, Depends(with_right(Right.DISAGREE))]
Taker = Annotated[Visitor, Depends(with_right(Right.TAKE))]
Matcher = Annotated[Visitor, Depends(with_right(Right.MATCH))]
GpResolver = Annotated[Visitor, Depends(with_right(Right.GP_EXCEPTIONS))]
Operator = Annotated[Visitor, Depends(with_right(Right.OPERATE))]
Analyst = Annotated[Visitor, Depends(with_right(Right.BOARD))]
Screen = Annotated[Visitor, Depends(with_right(None, touch=False))]
"""Whoever's screen asks by itself: nobody need be sitting at it (shared desks in iCART)."""

ChildScreen = Annotated[Visitor, Depends(with_right(Right.CHILDREN, touch=False))]
"""The same, of a screen that shows children."""

TheHouse = Annotated[House, Depends(house_of)]
