"""What people do, in a browser: decide, disagree, compare records, and see what others did."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_pages import violations
from tests.webworld import CALLUM, CALLUM_REC, MATCH, MIA_REC

pytestmark = pytest.mark.browser

WHY = "Seen today at his aunt's; the core group meets tomorrow."


def decline(page: Page, why: str = WHY) -> None:
    """Fill in the form and send it."""
    page.goto(f"/recommendations/{CALLUM_REC}")
    page.get_by_label("No, decline").check()
    page.get_by_label("Known, and addressed in the current plan").check()
    page.get_by_label("Your reasoning").fill(why)
    page.get_by_role("button", name="Record the decision").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_manager_declines_and_police_disagree(visit: Visit, *, scripts: bool) -> None:
    """Seen at once; the disagreement stands beside the decision."""
    with visit.person("icart_manager", scripts=scripts) as manager:
        decline(manager)
        expect(manager.get_by_text("Your decision is recorded")).to_be_visible()
        assert not scripts or [] == violations(manager)
    with visit.person("icart_police", scripts=scripts) as police:
        police.goto("/decisions")
        expect(police.get_by_text(WHY)).to_be_visible()
        police.get_by_role("link", name=re.compile("Read it, or disagree.*Callum")).click()
        police.get_by_label("Why do you disagree?").fill("We found him there last night.")
        police.get_by_role("button", name="I disagree").click()
        expect(police.get_by_text("We found him there last night.")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_error_keeps_the_text_and_says_where(visit: Visit, *, scripts: bool) -> None:
    """An error summary in focus, links to the field, nothing lost."""
    with visit.person("icart_manager", scripts=scripts) as page:
        page.goto(f"/recommendations/{CALLUM_REC}")
        page.get_by_label("No, decline").check()
        page.get_by_label("Your reasoning").fill(WHY)
        page.get_by_role("button", name="Record the decision").click()
        expect(page.get_by_text("There is a problem")).to_be_visible()
        assert page.title().startswith("Error: ")
        expect(page.get_by_label("Your reasoning")).to_have_value(WHY)
        if scripts:
            assert [] == violations(page)
            page.get_by_role("link", name="Select why you decline").click()
            expect(page.get_by_label("A strategy discussion is already arranged")).to_be_focused()


def test_two_managers_at_once(visit: Visit) -> None:
    """One winner, one clear page with the text."""
    with visit.person("icart_manager") as first, visit.person("manager2") as second:
        for page, why in ((first, WHY), (second, "Other words that must not be lost")):
            page.goto(f"/recommendations/{CALLUM_REC}")
            page.get_by_label("No, decline").check()
            page.get_by_label("Below the threshold for significant harm").check()
            page.get_by_label("Your reasoning").fill(why)
        first.get_by_role("button", name="Record the decision").click()
        expect(first.get_by_text("Your decision is recorded")).to_be_visible()
        second.get_by_role("button", name="Record the decision").click()
        expect(second.get_by_role("heading", level=1)).to_have_text("This recommendation has changed since you opened it")
        expect(second.get_by_text("Declined by Sam Icart Manager, iCART manager")).to_be_visible()
        expect(second.get_by_label("Rationale")).to_have_value("Other words that must not be lost")
        assert [] == violations(second)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_pending_until_the_ledger_answers(visit: Visit, *, scripts: bool) -> None:
    """With scripts the page goes on by itself; without, by its button; never twice."""
    visit.world.slow_s = 60.0
    with visit.person("icart_manager", scripts=scripts) as page:
        decline(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Your decision is being saved")
        expect(page.get_by_label("Rationale")).to_have_value(WHY)
        assert not scripts or [] == violations(page)
        visit.world.answer()
        if not scripts:
            page.get_by_role("button", name="Check again").click()
        expect(page.get_by_text("Your decision is recorded")).to_be_visible(timeout=15_000)
    assert 1 == len({v["act"]["event_id"] for _, v in visit.world.sent})


def test_the_queue_and_the_child_page_follow_the_ledger(visit: Visit) -> None:
    """Another's decision leaves the queue, and a banner appears on the open child page, by themselves."""
    with (
        visit.person("icart_police") as queue,
        visit.person("icart_social_worker") as child,
        visit.person("icart_manager") as manager,
    ):
        queue.goto("/queue")
        child.goto(f"/children/{CALLUM}")
        expect(queue.get_by_role("link", name="Callum Ashworth", exact=True)).to_be_visible()
        decline(manager)
        visit.world.touch(CALLUM)
        expect(queue.get_by_role("link", name="Callum Ashworth", exact=True)).to_have_count(0, timeout=15_000)
        expect(child.get_by_text("has changed since you opened this page")).to_be_visible(timeout=15_000)
        assert [] == violations(child)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_compare_and_confirm_a_match(visit: Visit, *, scripts: bool) -> None:
    """From the list, side by side, to one child."""
    with visit.person("icart_social_worker", scripts=scripts) as page:
        page.goto("/matches")
        page.get_by_role("link", name=re.compile("Callum Ashworth and a record of")).click()
        page.wait_for_url(f"**/matches/{MATCH}")
        page.get_by_label("They are the same child: join the records").check()
        page.get_by_role("button", name="Record the decision").click()
        expect(page.get_by_text("The two records are now one child.")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_search_and_open(visit: Visit, *, scripts: bool) -> None:
    """A reason is needed; the result leads to the child; an empty result says what to do."""
    with visit.person("icart_health", scripts=scripts) as page:
        page.goto("/search")
        page.get_by_label("Name", exact=True).fill("Mia")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("link", name="Select why you are searching")).to_be_visible()
        expect(page.get_by_label("Name", exact=True)).to_have_value("Mia")
        page.get_by_label("Check on a new contact or referral").check()
        page.get_by_role("button", name="Search").click()
        assert not scripts or [] == violations(page)
        page.get_by_role("link", name="Mia O’Connor").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Mia O’Connor")
        page.goto("/search")
        page.get_by_label("Name", exact=True).fill("Zebedee")
        page.get_by_label("A child I work with").check()
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text("make a referral to iCART")).to_be_visible()


def test_nothing_left_after_signing_out(visit: Visit) -> None:
    """Going back shows no child."""
    with visit.person("icart_manager") as page:
        page.goto(f"/recommendations/{MIA_REC}")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.go_back()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
