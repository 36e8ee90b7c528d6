"""Every page in every role: no axe violation, no sideways scrolling on a phone, the same content without scripts."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from starlette.routing import Route

from projections.accounts import PEOPLE_ROLES
from tests.browser.conftest import Visit
from tests.webworld import (
    AISHA_JOINED_REC,
    AISHA_REC,
    CALLUM,
    CALLUM_REC,
    LETTER,
    LOST_MESSAGE,
    MATCH,
    MIA,
    MIA_REC,
    NOAH,
    NOAH_REC,
)
from web.pages import ROUTERS

pytestmark = pytest.mark.browser

CHILDREN = (
    "/queue",
    "/decisions",
    "/search",
    f"/children/{CALLUM}",
    f"/children/{MIA}",
    f"/children/{NOAH}?as_of-day=1&as_of-month=5&as_of-year=2026",
    *(f"/recommendations/{r}" for r in (CALLUM_REC, MIA_REC, NOAH_REC, AISHA_REC, AISHA_JOINED_REC)),
    "/children/00000000-0000-4000-8000-000000000000",
)
MATCHES = ("/matches", f"/matches/{MATCH}", *(f"/matches?state={s}" for s in ("CONFIRMED", "REJECTED", "UNDONE")))
PAGES = {
    "icart_social_worker": (*CHILDREN, *MATCHES, "/gp-exceptions"),
    "icart_manager": (*CHILDREN, *MATCHES, "/gp-exceptions"),
    "icart_police": CHILDREN,
    "icart_health": (*CHILDREN, "/gp-exceptions"),
    "icart_education": CHILDREN,
    "edt": CHILDREN,
    "board_analyst": ("/board", "/queue"),
    "admin": ("/status", "/dead-letters", "/dead-letters?agency=csc", f"/dead-letters/{LETTER}", "/queue"),
}
"""Also pages that are not for the role: they too must be readable."""

SEE_EVERYTHING = ("icart_manager", "board_analyst", "admin")
"""Between them they are shown every page and every form."""

THE_SAME = ("/search", "/decisions", "/children/00000000-0000-4000-8000-000000000000")


NOT_VISITED = {
    "/": "leads on to the queue", "/sign-in": "a test of its own, below", "/api/docs": "Swagger UI, which is not ours",
    "/queue/rows": "within the queue", "/decisions/rows": "within the decisions", "/pulse": "within queue and status",
    "/acts/{event_id}": "no page", "/live/queue": "a stream", "/live/children/{child_id}": "a stream", "/live/pulse": "a stream",
}  # fmt: skip
"""Addresses that a browser can ask for and that are no page of their own, and why."""

TRIED = (
    (f"/recommendations/{CALLUM_REC}", "decide"), (f"/recommendations/{NOAH_REC}", "held"),
    (f"/recommendations/{AISHA_REC}", "close"), (f"/recommendations/{MIA_REC}", "disagree"),
    (f"/matches/{MATCH}", MATCH), ("/gp-exceptions", LOST_MESSAGE), ("/search", "search"),
)  # fmt: skip
"""Every form with something to fill in: (page, how its form's address ends)."""


def violations(page: Page) -> list[str]:
    """What axe finds, each in a line."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']} ({v['impact']}): {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found]


def test_every_role_is_visited() -> None:
    """A role added later must be added here."""
    assert set(PEOPLE_ROLES) == set(PAGES)


def test_every_page_is_visited() -> None:
    """A page added later must be added here: the routers' own table is what counts."""
    pages = {r.path for router in ROUTERS for r in router.routes if isinstance(r, Route) and "GET" in (r.methods or ())}
    visited = {p.partition("?")[0] for paths in PAGES.values() for p in paths}
    forgotten = {p for p in pages - set(NOT_VISITED) if not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", p), v) for v in visited)}
    assert set() == forgotten
    assert set() == set(NOT_VISITED) - pages - {"/api/docs"}


@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize(("path", "ends"), TRIED)
def test_a_form_sent_empty(shared: Visit, path: str, ends: str, phone: bool) -> None:
    """What is missing is said at the top and beside each field, and axe is content."""
    with shared.person("icart_manager", phone=phone) as page:
        page.goto(path)
        with page.expect_navigation():
            page.evaluate("ends => document.querySelector(`main form[action$='${ends}']`).requestSubmit()", ends)
        assert page.title().startswith("Error: ")
        assert 1 <= page.locator(".govuk-error-summary a").count()
        assert [] == violations(page)
        assert not phone or page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_pages_of_trouble(visit: Visit) -> None:
    """The views away (503), a defect of ours (500), and a session that ended while somebody typed (401)."""
    with visit.person("icart_manager") as page:
        page.goto("/gp-exceptions")
        page.fill(f"#resolution-{LOST_MESSAGE}", "Rang the practice; they will look today.")
        page.context.clear_cookies()
        with page.expect_navigation():
            page.evaluate("ends => document.querySelector(`main form[action$='${ends}']`).requestSubmit()", LOST_MESSAGE)
        assert [] == violations(page)
        visit.cookies.clear()
    with visit.person("icart_manager") as page:
        visit.world.views_away = True
        assert 503 == getattr(page.goto("/queue"), "status", None)
        assert [] == violations(page)
        visit.world.views_away = False
        visit.world.queue = lambda *_: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        assert 500 == getattr(page.goto("/queue"), "status", None)
        assert [] == violations(page)


@pytest.mark.parametrize("role", PAGES)
def test_no_axe_violation(shared: Visit, role: str) -> None:
    """On a desk; pages that are the same for everybody once."""
    with shared.person(role) as page:
        found = {}
        for path in (p for p in PAGES[role] if role in SEE_EVERYTHING or p not in THE_SAME):
            page.goto(path)
            if bad := violations(page):
                found[path] = bad
        assert {} == found


@pytest.mark.parametrize("role", PAGES)
def test_on_a_phone(shared: Visit, role: str) -> None:
    """360 pixels wide: nothing scrolls sideways, and axe is content (asked of those who see every kind of page and form)."""
    with shared.person(role, phone=True) as page:
        for path in PAGES[role]:
            page.goto(path)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 360, path
            if role in SEE_EVERYTHING:
                assert [] == violations(page), path


@pytest.mark.parametrize("role", ["icart_manager", "icart_health", "admin"])
def test_the_same_content_without_scripts(shared: Visit, role: str) -> None:
    """Every heading and every form that scripts show is there without them."""
    with shared.person(role) as page, shared.person(role, scripts=False) as bare:
        for path in PAGES[role]:
            page.goto(path)
            bare.goto(path)
            for what in ("h1", "h2", "form", "main a"):
                assert page.locator(what).count() == bare.locator(what).count(), (path, what)


def test_sign_in_and_its_error(shared: Visit) -> None:
    """Also what a stranger sees."""
    with shared.person("") as page:
        page.goto("/sign-in")
        assert [] == violations(page)
        page.fill("#name", "nobody")
        page.fill("#password", "nothing")
        page.get_by_role("button", name="Sign in").click()
        assert page.title().startswith("Error: ")
        assert [] == violations(page)


def test_by_keyboard(shared: Visit) -> None:
    """The skip link comes first; sign in and open a child without a mouse."""
    with shared.person("") as page:
        page.goto("/sign-in")
        page.keyboard.press("Tab")
        assert "Skip to main content" == page.evaluate("document.activeElement.textContent").strip()
        page.locator("#name").focus()
        page.keyboard.type("icart_police")
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse battery")
        page.keyboard.press("Enter")
        page.wait_for_url("**/queue")
        page.get_by_role("link", name="Callum Ashworth", exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/children/{CALLUM}")


def test_the_api_documentation(shared: Visit) -> None:
    """Swagger UI starts under the strict policy, from our own files."""
    with shared.person("icart_manager") as page:
        page.goto("/api/docs")
        page.get_by_text("/api/queue").first.wait_for()
