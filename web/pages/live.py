"""Server-sent events: the queue has moved, this child's view has changed, the pulse. Every screen works without them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from web.feed import STREAMS_MAX
from web.house import ChildScreen, House, NotSignedIn, Screen, TheHouse
from web.pages.common import child_for

router: Final = APIRouter(include_in_schema=False)

BEAT_S: Final = 15.0
"""A comment at least this often: proxies keep the stream, and a closed session is noticed."""

APART_S: Final = 2.0
"""Events of one stream lie at least this far apart, so that a busy ledger does not make screens ask all the time."""

Event = Callable[[], str | None]
"""Called (in a thread) when the ledger has moved: the event's text, or None for nothing to say."""


@router.get("/live/queue")
def live_queue(request: Request, house: TheHouse, visitor: ChildScreen) -> Response:
    """Event `queue` whenever the ledger has moved."""
    del visitor
    changed = _event("queue", "changed")
    return _stream(house, request, lambda: changed, last=changed)


@router.get("/live/children/{child_id}")
def live_child(
    *, request: Request, house: TheHouse, visitor: ChildScreen, child_id: UUID, version: int, recommendation: UUID | None = None
) -> Response:
    """Event `changed` when the child's view is newer than `version`: a banner, no content. It leads back to the page it is on."""
    child_for(house, visitor, child_id)
    newest = f"/children/{child_id}" if recommendation is None else f"/recommendations/{recommendation}"
    banner = house.environment.get_template("changed.html").render(newest=newest)

    def newer() -> str | None:
        found = house.reading.child_version(str(child_id))
        return _event("changed", banner) if found is not None and found > version else None

    return _stream(house, request, newer)


@router.get("/live/pulse")
def live_pulse(request: Request, house: TheHouse, visitor: Screen) -> Response:
    """Event `pulse` whenever the ledger has moved."""
    del visitor
    changed = _event("pulse", "changed")
    return _stream(house, request, lambda: changed, last=changed)


@router.get("/pulse")
def pulse(request: Request, house: TheHouse, visitor: Screen) -> Response:
    """The counts alone; no personal data."""
    return house.page(request, "pulse.html", visitor, pulse=house.reading.pulse())


@router.get("/acts/{event_id}")
def act_state(house: TheHouse, visitor: Screen, event_id: UUID) -> Response:
    """Whether the ledger has answered an act: 204 not yet; else htmx is told to ask again by pressing the form's button."""
    del visitor
    if house.reading.entry_for(str(event_id)) is None:
        return Response(status_code=204)
    return Response(headers={"hx-trigger": "answered"})


def _event(name: str, data: str) -> str:
    lines = "\n".join(f"data: {line}" for line in data.splitlines() if line.strip())
    return f"event: {name}\n{lines}\n\n"


def _stream(house: House, request: Request, event: Event, last: str = "") -> Response:
    if house.feed.streams >= STREAMS_MAX:
        return PlainTextResponse("too many live screens; reload to see what is new\n", 503, headers={"retry-after": "30"})
    return StreamingResponse(_events(house, request, event, last), media_type="text/event-stream")


async def _events(house: House, request: Request, event: Event, last: str) -> AsyncIterator[str]:
    """Events until the reader goes away, the session ends, or the house stops. Listening does not keep a session alive.

    `last` is told when the session has ended: what the screen then asks for leads it to the sign-in page.
    """
    house.feed.streams += 1
    try:
        at = house.feed.position
        yield f"retry: {round(APART_S * 1000)}\n\n"
        first = await run_in_threadpool(event)  # what changed between making the page and listening to it
        if first is not None and "event: changed" in first:
            yield first
        while not house.feed.stopping and await _still_in(house, request):
            found = await house.feed.after(at, BEAT_S)
            told = await run_in_threadpool(event) if found > at else None
            yield told or ": still here\n\n"
            at = max(at, found)
            if told:
                await house.feed.pause(APART_S)
        if last and not house.feed.stopping:
            yield last
    finally:
        house.feed.streams -= 1


async def _still_in(house: House, request: Request) -> bool:
    try:
        await run_in_threadpool(house.visitor, request, touch=False)
    except NotSignedIn:
        return False
    return True
