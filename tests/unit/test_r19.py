"""The child of R19 through the pure core: preparing, deciding and the book in memory, without a broker or a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
import pytest

from consumers.deciding import Decider
from consumers.host import Intake
from consumers.preparing import Preparer
from domain.fold import fold
from domain.times import DAY_US, HOUR_US
from producers.halton.facts import SimulatedFact
from producers.halton.scenarios import Scenario, r19
from projections.book import Book
from projections.entries import ACCEPTED, Entry
from schemas.codec import Codec
from schemas.policies import reference
from schemas.registry import UnknownSchema

AT: Final = 1_794_312_000_000_000
"""10 November 2026, noon."""

SEEDS: Final = 200
IDS: Final = UUID("b0b7fd4e-5a0c-5d9a-8d5e-5f7c1f0a7e11")
SIGNALS: Final = ("absence", "weight loss", "bad housing", "unsuitable adults", "crime")
"""The five, in the order of `Scenario.points`."""
SCHOOL: Final = frozenset({"absence", "weight loss", "unsuitable adults"})


class Shelf:
    """A registry in memory."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def register(self, subject: str, text: str) -> int:
        """The id of a text."""
        del subject
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def text(self, schema_id: int) -> str:
        """The text of an id."""
        if schema_id >= len(self.texts):
            raise UnknownSchema(str(schema_id))
        return self.texts[schema_id]


CODEC: Final = Codec(Shelf())  # type: ignore[arg-type]


class Memory:
    """`unify` without its database: one book, kept in memory, and what was concluded, by entry."""

    def __init__(self) -> None:
        self.book, self.number, self.clock = Book(), 0, AT + HOUR_US
        self.concluded: list[tuple[int, str, dict[str, Any]]] = []
        self._preparer = Preparer(CODEC, b"s" * 32, lambda: self.clock)
        self._decider = Decider(reference())
        self._decider.begin(self.book, {})

    def take(self, topic: str, record: str, value: dict[str, Any]) -> Entry:
        """Decide about one record."""
        self.number += 1
        self.clock += 1_000_000
        item = self._preparer.prepare(Intake(topic, 0, self.number, self.clock, CODEC.encode(record, value)))
        entry = Entry(self.number, 1, item.kind, self.clock, (topic, 0, self.number), item.agency, item.record, item.event_id)
        self._decider.decide(item, entry)
        self.concluded += [(self.number, kind, data) for kind, data in entry.conclusions]
        return entry

    def tell(self, fact: SimulatedFact) -> None:
        """An agency says something; it is accepted."""
        assert ACCEPTED == self.take(f"facts.{fact.agency}", fact.record, fact.value).verdict

    def confirm_all(self) -> int:
        """The reviewer confirms every open match; how many there were."""
        matches = [m for m in self.book.matches.values() if m.state == "OPEN"]
        done = 0
        for match in matches:
            if self.book.child_of[match.presentation_id] == self.book.child_of[match.anchor]:
                continue
            act = {
                "event_id": str(uuid5(IDS, match.match_id)),
                "actor_id": "reviewer",
                "actor_role": "icart_manager",
                "child_id": None,
                "acted_at": self.clock,
                "based_on": None,
                "correlation_id": None,
            }
            entry = self.take("decisions", "MatchConfirmed", {"act": act, "match_id": match.match_id, "rationale": None})
            assert ACCEPTED == entry.verdict
            done += 1
        return done

    def raised(self) -> list[tuple[int, dict[str, Any]]]:
        """Recommendations raised, with the entry that raised each."""
        return [(n, data) for n, kind, data in self.concluded if kind == "recommended"]

    def views(self) -> list[dict[str, Any]]:
        """The view of every child that still has presentations."""
        return [fold(self.book.history(c), reference(), self.clock) for c, members in self.book.members.items() if members]


def shuffled(facts: Iterable[SimulatedFact], rng: Random) -> list[SimulatedFact]:
    """In random order of arrival."""
    told = list(facts)
    rng.shuffle(told)
    return told


def lived(story: Scenario, facts: Sequence[SimulatedFact], rng: Random) -> Memory:
    """Facts in random order, the match confirmed when both sides are known: at a random moment, at the latest at the end."""
    house = Memory()
    for fact in facts:
        house.tell(fact)
        if rng.random() < 0.2:
            house.confirm_all()
    house.confirm_all()
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
            house = Memory()
            for fact in shuffled(story.facts, rng):
                house.tell(fact)
            assert [] == house.raised(), f"seed {seed}"
            assert 2 == len(house.views()), f"seed {seed}: police facts stand apart"
            before = house.number
            assert house.confirm_all() == 1
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
