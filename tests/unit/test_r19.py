"""The child of R19 through the pure core: preparing, deciding and the book in memory, without a broker or a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from random import Random
from typing import Final

import orjson
import pytest

from domain.times import DAY_US, HOUR_US
from producers.halton.facts import SimulatedFact
from producers.halton.scenarios import Scenario, r19
from tests.fault.memory import Memory

AT: Final = 1_794_312_000_000_000
"""10 November 2026, noon."""

SEEDS: Final = 200
SIGNALS: Final = ("absence", "weight loss", "bad housing", "unsuitable adults", "crime")
"""The five, in the order of `Scenario.points`."""
SCHOOL: Final = frozenset({"absence", "weight loss", "unsuitable adults"})


def shuffled(facts: Iterable[SimulatedFact], rng: Random) -> list[SimulatedFact]:
    """In random order of arrival."""
    told = list(facts)
    rng.shuffle(told)
    return told


def lived(story: Scenario, facts: Sequence[SimulatedFact], rng: Random) -> Memory:
    """Facts in random order, the match confirmed when both sides are known: at a random moment, at the latest at the end."""
    house = Memory(AT + HOUR_US)
    for fact in facts:
        house.tell(fact)
        if rng.random() < 0.2:
            house.review()
    house.review()
    return house


class TestR19:
    """Weak signals of two agencies, no harm trigger, joined by a person."""

    @pytest.mark.parametrize("block", range(10))
    def test_recommended_once_joined_in_any_order(self, block: int) -> None:
        """For 200 seeds and random order of arrival: recommended once, with reasons that name police and school."""
        for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
            rng = Random(f"r19/{seed}")
            story = r19(seed, AT)
            house = lived(story, shuffled(story.facts, rng), rng)
            (view,) = house.views()
            raised = house.raised()
            assert 1 == len(raised), f"seed {seed}"
            assert "POINTS" == raised[0][1]["basis"], f"seed {seed}"
            assert view["risk"]["points"] >= view["risk"]["threshold"], f"seed {seed}"
            named = {a for r in raised[0][1]["reasons"] for a in r["agencies"]}
            assert {"police", "education"} <= named, f"seed {seed}"
            (recommendation,) = view["recommendations"]
            assert recommendation["open"], f"seed {seed}"
            assert not view["risk"]["harm"], f"seed {seed}: none of the five is a harm trigger"

    def test_nothing_without_the_confirmed_match(self) -> None:
        """Before a person has joined them, neither side recommends; the confirmation itself raises."""
        for seed in range(SEEDS // 10):
            rng = Random(f"apart/{seed}")
            story = r19(seed, AT)
            house = Memory(AT + HOUR_US)
            for fact in shuffled(story.facts, rng):
                house.tell(fact)
            assert [] == house.raised(), f"seed {seed}"
            assert 2 == len(house.views()), f"seed {seed}: police facts stand apart"
            before = house.number
            assert house.review() == 1
            assert [before + 1] == [n for n, _ in house.raised()], f"seed {seed}"

    def test_view_does_not_depend_on_order(self) -> None:
        """Two orders of arrival give the same risk, reasons and chronology."""
        for seed in range(SEEDS // 10):
            story = r19(seed, AT)
            seen = set()
            for order in range(3):
                rng = Random(f"order/{seed}/{order}")
                (view,) = lived(story, shuffled(story.facts, rng), rng).views()
                reasons = [(r["rule"], r["points"], sorted(r["facts"])) for r in view["risk"]["reasons"]]
                seen.add(orjson.dumps([reasons, view["risk"]["points"], [c["event_id"] for c in view["chronology"]]]))
            assert 1 == len(seen), f"seed {seed}"

    @pytest.mark.parametrize("kept", [c for n in range(6) for c in combinations(SIGNALS, n)], ids=lambda c: "+".join(c) or "none")
    def test_recommends_exactly_when_the_policy_says(self, kept: tuple[str, ...]) -> None:
        """Signals taken away one by one: two points each, four for two agencies, twelve recommend (policy halton-risk-1)."""
        agencies = {"school" if s in SCHOOL else "police" for s in kept}
        points = 2 * len(kept) + 4 * (len(agencies) == 2)
        for seed in (1, 77, 2019):
            rng = Random(f"table/{seed}/{kept}")
            story = r19(seed, AT)
            gone = {key for key, name in zip(story.points, names_of(story), strict=True) if name not in kept}
            house = lived(story, shuffled([f for f in story.facts if f.key not in gone], rng), rng)
            found = max(v["risk"]["points"] for v in house.views())
            assert points == found, f"seed {seed}"
            assert (points >= 12) == bool(house.raised()), f"seed {seed}"

    def test_old_signals_do_not_corroborate(self) -> None:
        """The same five half a year later: weaker, uncorroborated, not recommended."""
        story = r19(3, AT - 200 * DAY_US)
        house = lived(story, list(story.facts), Random(3))
        assert [] == house.raised()


def names_of(story: Scenario) -> list[str]:
    """What each of the story's points is, read from the fact itself."""
    names = {
        "WEIGHT_LOSS": "weight loss",
        "BAD_HOUSING": "bad housing",
        "UNSUITABLE_ADULTS": "unsuitable adults",
        "CRIME_SUSPECT": "crime",
    }
    by_key = {f.key: f for f in story.facts}
    return ["absence" if by_key[k].record == "SchoolAbsence" else names[by_key[k].value["concerns"][0]] for k in story.points]
