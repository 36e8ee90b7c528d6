"""A past view is judged by what was in force then: policy, deadlines, calendars and code lists come out of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from domain.times import HOUR_US
from infra import assembly
from schemas.codes import code_lists_text
from schemas.policies import past_reference, policy_text, reference
from tests.integration.test_clock import World
from tests.services import Deployment

pytestmark = [pytest.mark.timeout(240)]
LATER = policy_text().replace(b"id: halton-risk-1\n", b"id: halton-risk-2\n").replace(b"threshold: 12\n", b"threshold: 99\n")
UNREADABLE = policy_text().replace(b"threshold: 12\n", b"threshold: many\n")


@pytest.fixture
def world(new_deployment: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Nothing said yet."""
    with closing(World(new_deployment(), tmp_path, monkeypatch)) as made:
        yield made


def decide_under(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """A release with this policy text is deployed: what unify decides and the web reads from now on."""
    rules = past_reference(text, code_lists_text())
    monkeypatch.setattr(assembly, "current_reference", lambda: rules)
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
