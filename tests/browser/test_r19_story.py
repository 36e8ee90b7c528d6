"""The R19 story on the real parts, in a browser: facts meet, a manager declines, police disagree, a practice answers.

Four ways: as most people do it; without scripts; at phone width; by keyboard alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from domain.times import DAY_US, HOUR_US
from producers.halton import scenarios
from producers.halton.facts import SimulatedFact
from schemas.codes import label
from tests.browser.conftest import Visit
from tests.browser.test_pages import violations
from tests.fault.harness import ROOT
from tests.living import Living, living, now_us
from tests.services import Services

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

WHY: Final = "Known to the team; her worker saw her yesterday and the plan covers it."
GROUND: Final = "We found her with the same adults last night."
WAYS: Final = {"scripts": {}, "no scripts": {"scripts": False}, "phone": {"phone": True}, "keyboard": {}}
TABS_MAX: Final = 150


@pytest.fixture(scope="module")
def house(services: Services, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A living deployment for all ways; each has an R19 child of its own."""
    del browser  # without one nothing is started
    with living(services, tmp_path_factory.mktemp("living")) as found:
        yield found


class Hands:
    """How somebody works a page: with a mouse, or with Tab, arrows, space and Enter alone."""

    def __init__(self, page: Page, *, keyboard: bool) -> None:
        self.page, self._keyboard = page, keyboard

    def press(self, target: Locator) -> None:
        """A link or a button."""
        if not self._keyboard:
            target.click()
            return
        self._tab_to(target)
        self.page.keyboard.press("Enter")

    def choose(self, target: Locator) -> None:
        """A radio button: Tab leads into its group, arrows move in it."""
        if not self._keyboard:
            target.check()
            return
        name = target.get_attribute("name")
        self._tab_to(self.page.locator(f"input[name='{name}']"))
        self.page.keyboard.press("Space")
        for _ in range(20):
            if target.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"arrows do not lead to {name}")

    def write(self, target: Locator, text: str) -> None:
        """Words into a field."""
        if not self._keyboard:
            target.fill(text)
            return
        self._tab_to(target)
        self.page.keyboard.type(text)

    def _tab_to(self, target: Locator) -> None:
        expect(target.first).to_be_visible()
        for _ in range(TABS_MAX):
            if target.evaluate_all("found => found.includes(document.activeElement)"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {target}")


@pytest.mark.parametrize("way", WAYS)
def test_the_r19_story(house: Living, browser: Browser, way: str) -> None:
    """Match, queue, decline, seen at once, disagreement: each step by its page, no violation, nothing sideways on a phone."""
    name, facts = namesakes_apart()[list(WAYS).index(way)]
    house.publish(facts)
    visit, scripts = Visit(house.base, None, browser), way != "no scripts"  # type: ignore[arg-type]
    how = WAYS[way]

    def fit(page: Page) -> None:
        assert not scripts or [] == violations(page)
        assert way != "phone" or page.evaluate("document.scrollingElement.scrollWidth") <= 360

    def hands(page: Page) -> Hands:
        return Hands(page, keyboard=way == "keyboard")

    with (
        visit.person("icart_social_worker", **how) as worker,
        visit.person("icart_manager", **how) as manager,
        visit.person("icart_police", **how) as police,
    ):
        manager.goto("/queue")
        row = manager.locator("article", has=manager.get_by_role("link", name=name, exact=True))
        expect(row).to_have_count(0)
        worker.goto("/matches")
        fit(worker)
        hands(worker).press(worker.get_by_role("link", name=re.compile(f"^{name} and a record of")))
        expect(worker.get_by_label("They are the same child: join the records")).to_be_visible()
        fit(worker)
        hands(worker).choose(worker.get_by_label("They are the same child: join the records"))
        hands(worker).press(worker.get_by_role("button", name="Record the decision"))
        expect(worker.get_by_text("The two records are now one child.")).to_be_visible(timeout=15_000)

        at_once(manager, row, scripts=scripts)
        for agency in ("police", "education"):
            expect(row).to_contain_text(label("agency", agency))
        fit(manager)
        police.goto("/decisions")
        decided = police.locator("article", has=police.get_by_role("link", name=name, exact=True))
        expect(decided).to_have_count(0)
        hands(manager).press(row.get_by_role("link", name=re.compile("Read and decide")))
        expect(manager.get_by_role("heading", level=1)).to_have_text("Strategy discussion recommended")
        hands(manager).choose(manager.get_by_label("No, decline"))
        hands(manager).choose(manager.get_by_label("Known, and addressed in the current plan"))
        hands(manager).write(manager.get_by_label("Your reasoning"), WHY)
        fit(manager)
        hands(manager).press(manager.get_by_role("button", name="Record the decision"))
        expect(manager.get_by_text("Your decision is recorded")).to_be_visible(timeout=15_000)

        at_once(police, decided, scripts=scripts)
        expect(decided).to_contain_text(WHY)
        fit(police)
        hands(police).press(decided.get_by_role("link", name=re.compile("Read it, or disagree")))
        hands(police).write(police.get_by_label("Why do you disagree?"), GROUND)
        hands(police).press(police.get_by_role("button", name="I disagree"))
        expect(police.get_by_text(GROUND).first).to_be_visible(timeout=15_000)
        fit(police)
        if scripts:
            expect(manager.get_by_text("has changed since you opened this page")).to_be_visible(timeout=15_000)
            hands(manager).press(manager.get_by_role("link", name="Show the newest"))
        else:
            manager.reload()
        expect(manager.get_by_text(GROUND).first).to_be_visible(timeout=15_000)


def namesakes_apart() -> list[tuple[str, tuple[SimulatedFact, ...]]]:
    """(name, facts) of an R19 child for each way: of seeds whose children have different names."""
    found: dict[str, tuple[SimulatedFact, ...]] = {}
    for seed in range(60, 200):
        told = scenarios.r19(seed, now_us() - HOUR_US)
        found.setdefault(f"{told.children[0].given} {told.children[0].family}", told.facts)
        if len(found) == len(WAYS):
            return list(found.items())
    raise AssertionError("too few names")


def at_once(page: Page, row: Locator, *, scripts: bool) -> None:
    """It comes by itself where scripts run; otherwise after a reload."""
    if not scripts:
        page.reload()
    expect(row).to_have_count(1, timeout=15_000)


def test_a_practice_with_the_readme_s_own_lines(house: Living, tmp_path: Path) -> None:
    """The block of the README, word for word but for the address and the practice: pull, read, code; the page then says so."""
    facts = scenarios.gp_change(77, now_us() - DAY_US).facts
    house.publish(facts)
    outcome = next(f for f in reversed(facts) if f.record == "CsogOutcome")
    child, practice = house.child_of(outcome), str(outcome.practice)
    lines = block((ROOT / "README.md").read_text(), "How a practice subscribes")
    for before, after in (("http://127.0.0.1:8000", house.base), ("Y90008", practice)):
        assert lines.count(before) == 1, before
        lines = lines.replace(before, after)
    said = shell(house, tmp_path, lines)
    assert 2 == said.count('"resourceType": "Bundle"')
    assert "Receipt READ is" in said and "Receipt CODED is" in said
    house.house.settle()
    messages = house.person("icart_manager").json(f"/api/children/{child}")["messages"]
    coded = [m for m in messages if m["state"] == "CODED"]
    assert [practice] == [m["practice_ods"] for m in coded]
    assert ["READ", "CODED"] == [r["state"] for r in coded[0]["receipts"]]
    assert "Coded and hidden online" in house.person("icart_manager").get(f"/children/{child}").body


def block(text: str, heading: str) -> str:
    """The first shell block under a heading."""
    found = re.search(r"```sh\n(.*?)```", text.split(f"## {heading}", 1)[1], re.DOTALL)
    assert found
    return found[1]


def shell(house: Living, folder: Path, lines: str) -> str:
    """What the lines print; `sightline` is this tree's."""
    command = folder / "sightline"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m infra.command "$@"\n')
    command.chmod(0o755)
    environment = house.environment | {"PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = ["bash", "-euo", "pipefail", "-c", lines]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout
