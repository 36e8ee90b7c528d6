"""Every page in every role: no axe violation, no sideways scrolling on a phone, the same content without scripts."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from projections.accounts import PEOPLE_ROLES
from tests.browser.conftest import Visit
from tests.webworld import AISHA_REC, CALLUM, CALLUM_REC, LETTER, MATCH, MIA, MIA_REC, NOAH, NOAH_REC

pytestmark = pytest.mark.browser

CHILDREN = (
    "/queue",
    "/decisions",
    "/search",
    f"/children/{CALLUM}",
    f"/children/{MIA}",
    f"/children/{NOAH}?as_of-day=1&as_of-month=5&as_of-year=2026",
    *(f"/recommendations/{r}" for r in (CALLUM_REC, MIA_REC, NOAH_REC, AISHA_REC)),
    "/children/00000000-0000-4000-8000-000000000000",
)
MATCHES = ("/matches", f"/matches/{MATCH}", "/matches?state=UNDONE")
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


def violations(page: Page) -> list[str]:
    """What axe finds, each in a line."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']} ({v['impact']}): {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found]


def test_every_role_is_visited() -> None:
    """A role added later must be added here."""
    assert set(PEOPLE_ROLES) == set(PAGES)


@pytest.mark.parametrize("role", PAGES)
def test_no_axe_violation(shared: Visit, role: str) -> None:
    """On a desk."""
    with shared.person(role) as page:
        found = {}
        for path in PAGES[role]:
            page.goto(path)
            if bad := violations(page):
                found[path] = bad
        assert {} == found


@pytest.mark.parametrize("role", ["icart_manager", "admin"])
def test_on_a_phone(shared: Visit, role: str) -> None:
    """360 pixels wide: nothing scrolls sideways, and axe is content."""
    with shared.person(role, phone=True) as page:
        for path in PAGES[role]:
            page.goto(path)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 360, path
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
