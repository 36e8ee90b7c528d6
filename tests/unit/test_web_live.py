"""Live streams: what they tell, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from tests.webfixtures import Site, site
from tests.webworld import CALLUM
from web.feed import Feed
from web.house import House
from web.pages import live

__all__ = ["site"]


def request_of(site: Site, role: str) -> Request:
    """A request with this person's cookie."""
    cookie = f"sightline={site.person(role).cookies['sightline']}".encode()
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"cookie", cookie)],
            "app": site.app,
            "state": {},
            "query_string": b"",
        }
    )


async def take(stream: AsyncIterator[Any], wanted: str, limit: int = 20) -> str:
    """The first event that holds `wanted`."""
    for _ in range(limit):
        found = str(await asyncio.wait_for(anext(stream), 5))
        if wanted in found:
            return found
    raise AssertionError(f"no {wanted} among {limit} events")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats and pauses of milliseconds."""
    monkeypatch.setattr(live, "BEAT_S", 0.1)
    monkeypatch.setattr(live, "APART_S", 0.01)


def run(site: Site, what: Any) -> Any:
    """Run with the watcher going."""

    async def both() -> Any:
        house: House = site.app.state.house
        house.feed = type(house.feed)(house.reading)
        watcher = asyncio.create_task(house.feed.watch())
        try:
            return await asyncio.wait_for(what(house), 20)
        finally:
            await house.feed.stop()
            watcher.cancel()

    return asyncio.run(both())


def test_a_changed_child_is_told_once_the_ledger_moved(site: Site) -> None:
    """A banner without content."""
    request = request_of(site, "icart_police")

    async def what(house: House) -> str:
        answer = live.live_child(
            request=request, house=house, visitor=house.visitor(request), child_id=site_id(), version=100, recommendation=None
        )
        stream = answer.body_iterator  # type: ignore[attr-defined]
        await anext(stream)
        site.world.touch(CALLUM)
        return await take(stream, "event: changed")

    told = run(site, what)
    assert CALLUM in told
    assert "Callum" not in told


def test_streams_that_break_off_take_nobody_along(site: Site) -> None:
    """A hundred readers go away at once, twice over as frameworks do it, while the ledger moves: those who stay are told."""
    house: House = site.app.state.house

    async def what() -> int:
        feed = Feed(house.reading)
        watcher = asyncio.create_task(feed.watch())
        gone = [asyncio.create_task(feed.after(10_000, 30)) for _ in range(100)]
        await asyncio.sleep(0.1)
        for _ in range(3):
            site.world.touch(CALLUM)
            for task in gone:
                task.cancel()
            await asyncio.sleep(0)
        position = feed.position
        stays = asyncio.create_task(feed.after(position, 10))
        site.world.touch(CALLUM)
        found = await stays
        await feed.stop()
        watcher.cancel()
        return found - position

    assert asyncio.run(what()) > 0


def test_the_queue_is_told(site: Site) -> None:
    """`changed` and nothing else."""
    request = request_of(site, "edt")

    async def what(house: House) -> str:
        stream = live.live_queue(request, house, house.visitor(request)).body_iterator  # type: ignore[attr-defined]
        await anext(stream)
        site.world.touch(CALLUM)
        return await take(stream, "event: queue")

    assert "event: queue\ndata: changed\n\n" == run(site, what)


def test_a_stream_ends_with_its_session_and_keeps_none_alive(site: Site) -> None:
    """Listening is not using."""
    request = request_of(site, "edt")

    async def what(house: House) -> int:
        stream = live.live_queue(request, house, house.visitor(request)).body_iterator  # type: ignore[attr-defined]
        await anext(stream)
        site.now += 31 * 60 * 1_000_000
        return len([x async for x in stream])

    assert 1 >= run(site, what)
    assert 0 == site.app.state.house.feed.streams


def test_a_screen_whose_session_has_ended_is_led_to_sign_in(site: Site) -> None:
    """A last event; what htmx then asks for says where the whole page goes. A plain request is redirected as ever."""
    client, request = site.person("edt"), request_of(site, "edt")

    async def what(house: House) -> list[str]:
        stream = live.live_queue(request, house, house.visitor(request)).body_iterator  # type: ignore[attr-defined]
        await anext(stream)
        site.now += 31 * 60 * 1_000_000
        return [str(x) async for x in stream]

    assert "event: queue\ndata: changed\n\n" == run(site, what)[-1]
    asked = client.get("/queue/rows", headers={"hx-request": "true", "hx-target": "rows"})
    assert (401, "/sign-in", "") == (asked.status_code, asked.headers["hx-redirect"], asked.text)
    assert 303 == client.get("/queue/rows").status_code


@pytest.mark.parametrize(
    "path",
    [
        "/queue/rows",
        "/decisions/rows",
        "/pulse",
        f"/acts/{CALLUM}",
        "/live/queue",
        f"/live/children/{CALLUM}?version=1",
        "/live/pulse",
    ],
)
def test_an_unattended_screen_idles_out(site: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a screen asks for by itself, every nine minutes: after half an hour the session is over all the same."""
    monkeypatch.setattr(live, "STREAMS_MAX", 0)  # a stream answers at once, and is asked for again
    client, seen = site.person("icart_manager"), []
    for _ in range(4):
        site.now += 9 * 60 * 1_000_000
        seen.append(client.get(path).status_code)
    assert 303 == seen[3]
    assert 303 not in seen[:3]


def site_id() -> Any:
    """The child's id as a UUID."""
    from uuid import UUID

    return UUID(CALLUM)
