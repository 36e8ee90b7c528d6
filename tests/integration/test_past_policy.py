"""A past view is judged by what was in force then: policy, deadlines, calendars and code lists come out of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from consumers import clock
from domain.times import HOUR_US
from infra import assembly, stores
from schemas.codes import code_lists_text
from schemas.policies import past_reference, policy_text, reference
from tests.integration import restoring
from tests.integration.test_clock import World
from tests.services import Deployment

pytestmark = [pytest.mark.timeout(240)]
LATER = policy_text().replace(b"id: halton-risk-1\n", b"id: halton-risk-2\n").replace(b"threshold: 12\n", b"threshold: 99\n")
MILDER = policy_text().replace(b"threshold: 12\n", b"threshold: 50\n")
STRICTER = LATER.replace(b"threshold: 99\n", b"threshold: 1\n")
UNREADABLE = policy_text().replace(b"threshold: 12\n", b"threshold: many\n")


@pytest.fixture
def world(new_deployment: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Nothing said yet."""
    with closing(World(new_deployment(), tmp_path, monkeypatch)) as made:
        yield made


def decide_under(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """A release with this policy text is deployed: what unify decides and the web reads from now on."""
    rules = past_reference(text, code_lists_text())
    monkeypatch.setattr(stores, "current_reference", lambda: rules)
    monkeypatch.setattr(assembly, "policy_text", lambda: text)
    monkeypatch.setattr(assembly, "policy_hash", lambda: sha256(text).hexdigest())


def test_the_policy_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As known before the change: the first policy's name and threshold; today and as known after it: the second's."""
    with world.working():
        world.says("first")
        child = world.recommendation("first")["child_id"]
    before = world.now()
    world.passes_to(before + HOUR_US)
    decide_under(monkeypatch, LATER)
    with world.working():
        world.says("second")
        world.recommendation("second")
        reading = assembly.reading(world.d.settings)
        found = {at: reading.child_view(child, None, at) for at in (before, world.now(), None, 1)}
    told = {at: None if v is None else (v["policy"]["id"], v["risk"]["threshold"]) for at, v in found.items()}
    first, second = ("halton-risk-1", 12), ("halton-risk-2", 99)
    assert [first, second, second, second] == list(told.values()), "before the first entry there is none: today's"
    kept = found[before]
    assert kept is not None
    assert ["halton-risk-1"] == [r["policy"] for r in kept["recommendations"]]


def test_every_child_is_judged_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stricter policy: who was below its threshold is recommended though nothing is said; once; nobody is called late."""
    monkeypatch.setattr(clock, "BATCH", 2)
    decide_under(monkeypatch, MILDER)
    quiet = ["a", "b", "c"]
    with world.working():
        for child in quiet:
            world.says(child, "BAD_HOUSING")
        world.wait(lambda: all(world.view(child) is not None for child in quiet))
        assert [[]] * 3 == [(world.view(c) or {})["recommendations"] for c in quiet]
    decide_under(monkeypatch, STRICTER)
    ours = assembly.clock(world.d.settings, 0)
    with world.working():
        ours.tick(world.consumer)
        assert 0 == restoring.ends(world.d, "clock", 0)[1], "in force from its first entry on"
        world.says("d", "BAD_HOUSING")
        world.wait(lambda: bool((world.view("d") or {"recommendations": []})["recommendations"]))
        ours.tick(world.consumer)
        assert 2 == restoring.ends(world.d, "clock", 0)[1], "a batch a tick"
        ours.tick(world.consumer)
        assert ["halton-risk-2"] * 3 == [world.recommendation(c)["policy"] for c in quiet]
        assert ["OPEN"] * 3 == [world.state(c) for c in quiet]
        again = assembly.clock(world.d.settings, 0)
        for one in (ours, again, again):
            one.tick(world.consumer)
        assert 3 == restoring.ends(world.d, "clock", 0)[1], "each child once, also after a restart"


def test_going_back_to_an_earlier_policy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came under the milder one meanwhile is judged again; once, also after a rebuild, which folds the same."""
    in_force = "select fingerprint from reference where kind = 'policy' order by number"

    def says_under(text: bytes, child: str) -> None:
        decide_under(monkeypatch, text)
        with world.working():
            world.says(child, "BAD_HOUSING")
            world.wait(lambda: world.view(child) is not None)

    for policy, child in ((STRICTER, "first"), (LATER, "quiet"), (STRICTER, "again")):
        says_under(policy, child)
    ours = assembly.clock(world.d.settings, 0)
    with world.working():
        ours.tick(world.consumer)
        assert "halton-risk-2" == world.recommendation("quiet")["policy"]
        said = restoring.ends(world.d, "clock", 0)[1]
        restoring.settled(world.d)
        assert [] == restoring.differences(world.d, world.d)[1]
    restoring.rebuilt(world.d)
    assert [(sha256(t).hexdigest(),) for t in (LATER, STRICTER)] == restoring.rows(world.d.views_dsn, in_force)
    for one in (ours, assembly.clock(world.d.settings, 0)):
        one.tick(world.consumer)
    assert said == restoring.ends(world.d, "clock", 0)[1]


def test_a_text_that_this_release_cannot_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Today's policy is used, and the view says which."""
    monkeypatch.setattr(assembly, "policy_text", lambda: UNREADABLE)
    monkeypatch.setattr(assembly, "policy_hash", lambda: "0" * 64)
    with world.working():
        world.says("first")
        child = world.recommendation("first")["child_id"]
        view = assembly.reading(world.d.settings).child_view(child, None, world.now())
    assert view is not None
    assert (reference().policy.id, reference().policy.threshold) == (view["policy"]["id"], view["risk"]["threshold"])
