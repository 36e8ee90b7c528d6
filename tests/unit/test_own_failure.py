"""When our own rules fail on a child: nothing stops, facts are shown, acts are answered, and what stands says so."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from consumers.host import Intake
from domain.times import DAY_US
from producers.halton.scenarios import r19
from projections.entries import Entry
from tests.fault.memory import CODEC, Memory

NOW = 1_794_312_000_000_000
"""10 November 2026, noon."""


def broken(*_: object) -> None:
    """A rule with a defect."""
    raise ZeroDivisionError("a defect of ours")


def act(role: str, child: str, **more: Any) -> dict[str, Any]:
    """An act's head."""
    head = {
        "event_id": "11111111-1111-4111-8111-111111111111",
        "actor_id": "mo",
        "actor_role": role,
        "child_id": child,
        "acted_at": NOW,
        "based_on": None,
        "correlation_id": None,
    }
    return {"act": head | more}


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The R19 child, all but the last sign; from here on evaluation fails."""
    house = Memory(NOW)
    *before, last = r19(7, NOW - DAY_US).facts
    for fact in before:
        house.tell(fact)
    while house.review():
        pass
    monkeypatch.setattr("domain.fold.risk.evaluate", broken)
    house.tell(last)
    return house


def test_the_fact_is_accepted_and_shown(house: Memory) -> None:
    """The entry says `not_evaluated`, the saved view holds the fact, and its risk is null."""
    number, kind, data = house.concluded[-1]
    assert (house.number, "not_evaluated", "ZeroDivisionError") == (number, kind, data["where"])
    (view,) = house.views()
    assert view == house.saved[view["child_id"]] | {"as_of": view["as_of"]}
    assert view["risk"] is None and view["evaluated_at"] is None
    assert [data["event_id"]] == view["not_evaluated"]
    assert data["event_id"] in {f["event_id"] for f in view["chronology"]}


def test_a_person_takes_the_case_all_the_same(house: Memory) -> None:
    """What needs no rule goes on."""
    (view,) = house.views()
    entry = house.take("decisions", "CaseTaken", act("icart_manager", view["child_id"]) | {"taken": True})
    assert ("ACCEPTED", "mo") == (entry.verdict, house.views()[0]["case"]["by"])


def test_the_clock_does_not_stop_at_it(house: Memory) -> None:
    """Its record is accepted, once, and says what failed."""
    (view,) = house.views()
    fired = act("clock", view["child_id"], actor_id="clock") | {"due_at": NOW, "behind": []}
    entry = house.take("clock", "ClockFired", fired)
    assert "ACCEPTED" == entry.verdict
    assert {"not_evaluated"} == {kind for kind, _ in entry.conclusions}


def test_what_fell_due_is_concluded_once_the_rule_is_mended(house: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed firing raised the child's version, so the next has another id (`consumers.clock`), and concludes."""
    (view,) = house.views()
    before, house.clock = view["version"], view["due_at"]
    due = {"due_at": view["due_at"], "behind": []}
    assert {"not_evaluated"} == {
        kind for kind, _ in house.take("clock", "ClockFired", act("clock", view["child_id"], actor_id="clock") | due).conclusions
    }
    (failed,) = house.views()
    assert failed["version"] > before
    monkeypatch.undo()
    again = act("clock", view["child_id"], actor_id="clock", event_id="22222222-2222-4222-8222-222222222222")
    assert ["recommendation_overdue"] == [kind for kind, _ in house.take("clock", "ClockFired", again | due).conclusions]


def test_no_fold_stands_between_a_person_and_an_act(house: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when not so much as the chronology can be put together, an act is answered and others go on."""
    monkeypatch.setattr("domain.fold.chronology", broken)
    child = next(c for c, members in house.book.members.items() if members)
    decider = house._decider
    entry = Entry(house.number + 1, 1, "ACT", house.clock, ("decisions", 0, 9), None, "CaseTaken", str(uuid4()))
    item = house._preparer.prepare(
        Intake("decisions", 0, 9, house.clock, CODEC.encode("CaseTaken", act("icart_manager", child) | {"taken": True}))
    )
    decider.decide(item, entry)
    assert "ACCEPTED" == entry.verdict


def test_a_judgement_of_ours_that_fails_refuses_the_act(house: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is told, and the partition goes on."""
    monkeypatch.setattr("consumers.deciding.judge", broken)
    (view,) = house.views()
    entry = house.take("decisions", "CaseTaken", act("icart_manager", view["child_id"]) | {"taken": True})
    assert ("REFUSED", "not-evaluated") == (entry.verdict, entry.reason)
