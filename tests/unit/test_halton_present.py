"""The demonstration's two phases: a historic year, then a present at a readable pace; and the edge that publishes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice, takewhile
from threading import Event
from typing import Any

import pytest

from domain.times import DAY_US, HOUR_US, SECOND_US, to_us
from producers.halton.borough import Borough
from producers.halton.facts import SimulatedFact
from producers.halton.scenarios import SCENARIOS
from producers.halton.simulate import BATCH_FACTS, live_on, publish_all
from producers.halton.truth import Truth
from schemas.catalogue import spec
from schemas.codec import encode_body
from schemas.validation import check

END = to_us(datetime(2026, 3, 2, 12, tzinfo=UTC))
NOW = END + 7 * 60 * SECOND_US
"""The import took seven minutes."""
MINUTE_US = 60 * SECOND_US


@pytest.fixture(scope="module")
def halton() -> Borough:
    return Borough(END, children=4_000)


@pytest.fixture(scope="module")
def history(halton: Borough) -> list[SimulatedFact]:
    return list(halton.history())


@pytest.fixture(scope="module")
def first_hour(halton: Borough) -> list[SimulatedFact]:
    return list(takewhile(lambda f: f.arrives_at < NOW + HOUR_US, halton.live(NOW)))


class TestHistory:
    """The year before, imported."""

    def test_everything_is_historic_and_has_arrived(self, history: list[SimulatedFact]) -> None:
        """Imported: raises nothing that is already over."""
        assert all(f.value["envelope"]["historic"] for f in history)
        assert all(f.arrives_at < END for f in history)
        assert [] == [p for f in history for p in check(spec(f.record), f.value, f.arrives_at)]

    def test_the_r19_childs_first_four_signals_are_history_and_the_last_is_not(
        self, history: list[SimulatedFact], first_hour: list[SimulatedFact]
    ) -> None:
        """The viewer sees the fifth."""
        story = {f.key: f for f in history + first_hour if f.label == "r19"}
        signals = ("SchoolAbsence", "SchoolConcern", "VulnerabilitySubmission")
        before = [f for f in history if f.label == "r19" and f.record in signals]
        after = [f for f in first_hour if f.label == "r19"]
        assert 4 == len(before)
        assert [["CRIME_SUSPECT"]] == [f.value["concerns"] for f in after]
        assert len(story) == len(before) + len(after) + 3


class TestLive:
    """The present."""

    def test_the_points_come_within_two_minutes(self, first_hour: list[SimulatedFact]) -> None:
        """A recommendation and a message to a practice while somebody watches."""
        soon = [f for f in first_hour if f.arrives_at <= NOW + 2 * MINUTE_US and f.label]
        assert set(SCENARIOS) == {f.label for f in soon}
        assert any(f.record == "CsogOutcome" for f in soon)
        assert any(f.record == "MissingEpisodeGraded" and f.value["grade"] == "HIGH" for f in soon)

    def test_no_scenario_fact_is_told_twice_or_forgotten(
        self, halton: Borough, history: list[SimulatedFact], first_hour: list[SimulatedFact]
    ) -> None:
        """History and present together tell each story once."""
        told = Counter(f.key for f in history + first_hour if f.label)
        assert {f.key for s in halton.scenarios(END) for f in s.facts} == set(told)
        assert {1} == set(told.values())

    def test_valid_in_order_recent_and_never_in_the_future(self, first_hour: list[SimulatedFact]) -> None:
        """What happens now is told now; only what was under way at the end of history is older."""
        assert sorted(f.arrives_at for f in first_hour) == [f.arrives_at for f in first_hour]
        assert [] == [(f.record, str(p)) for f in first_hour for p in check(spec(f.record), f.value, f.arrives_at)]
        for f in first_hour:
            envelope = f.value["envelope"]
            assert envelope["occurred_at"] <= envelope["recorded_at"] <= f.arrives_at
            if envelope["event_id"] and f.occurred_at < END - HOUR_US:
                assert f.arrives_at < NOW + HOUR_US

    def test_a_few_facts_a_minute(self, halton: Borough) -> None:
        """The pace is the mean between facts, and can be set."""
        for pace_s in (4.0, 8.0):
            facts = list(islice(halton.live(NOW, pace_s, opening=False), 600))
            recent = [f for f in facts if f.occurred_at > NOW - HOUR_US]
            mean_s = (recent[-1].arrives_at - NOW) / SECOND_US / len(recent)
            assert 0.7 * pace_s <= mean_s <= 1.4 * pace_s

    def test_the_same_present_twice_and_another_one_later(self, halton: Borough) -> None:
        """Seeded by borough and beginning; a later start has other event ids, but for what was under way."""
        a, again, later = (
            [(f.key, encode_body(spec(f.record), f.value)) for f in islice(halton.live(at, opening=False), 400)]
            for at in (NOW, NOW, NOW + DAY_US)
        )
        assert a == again
        under_way = {f.key for f in halton.facts()}
        assert not ({k for k, _ in a} - under_way) & ({k for k, _ in later} - under_way)
        assert dict(later).keys() & under_way

    def test_what_was_sent_in_history_is_sent_again_only_to_the_byte(
        self, history: list[SimulatedFact], first_hour: list[SimulatedFact]
    ) -> None:
        """The same id with other content would be refused (I1)."""
        before = {f.key: f.value for f in history}
        for f in first_hour:
            assert before.get(f.key, f.value) == f.value

    def test_truth_goes_on(self, history: list[SimulatedFact], first_hour: list[SimulatedFact]) -> None:
        """One truth over both phases; records stay one child's."""
        truth = Truth(history + first_hour)
        assert truth.episodes
        for outcome in truth.outcomes.values():
            assert truth.practice_at(outcome.child, outcome.occurred_at) == outcome.practice

    def test_a_small_borough_lives_on_for_a_day(self) -> None:
        """Endless: a day of facts, all kinds, all valid."""
        facts = list(islice(Borough(END, 5, 1_500).live(NOW, 20.0), 3_000))
        assert [] == [(f.record, str(p)) for f in facts for p in check(spec(f.record), f.value, f.arrives_at)]
        assert {"ReturnHomeInterviewCompleted", "GpRegistration", "CpisAttendanceAlert"} <= {f.record for f in facts}


class Shelf:
    """A client that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Mapping[str, Any]]] = []

    def publish_many(self, facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Keep them."""
        new = list(facts)
        self.kept += new
        return [v["envelope"]["event_id"] for _, v in new]


def shelves() -> dict[str, Shelf]:
    return {a: Shelf() for a in ("police", "csc", "health", "education", "yjs", "probation", "rhi")}


class TestSimulate:
    """The edge that publishes."""

    def test_each_agency_publishes_its_own_in_order_with_progress(self, history: list[SimulatedFact]) -> None:
        """All of history, batch by batch."""
        clients, seen = shelves(), list[int]()
        assert len(history) == publish_all(history, clients, lambda done, _last: seen.append(done))
        assert len(history) == seen[-1]
        assert len(seen) == -(-len(history) // BATCH_FACTS)
        for agency, client in clients.items():
            assert [f.key for f in history if f.agency == agency] == [v["envelope"]["event_id"] for _, v in client.kept]

    def test_live_facts_wait_until_they_are_due_and_stop_when_told(self, first_hour: list[SimulatedFact]) -> None:
        """Nothing is published before its time."""
        clients, stop, clock = shelves(), Event(), iter(range(NOW, NOW + 10**12, 40 * SECOND_US))
        times: list[int] = []

        def now() -> int:
            times.append(next(clock))
            return times[-1]

        def watch(done: int, fact: SimulatedFact) -> None:
            assert fact.arrives_at <= times[-1]
            if done == 25:
                stop.set()

        class Unhurried(Event):
            def wait(self, timeout: float | None = None) -> bool:
                return self.is_set()

        stop = Unhurried()
        assert 25 == live_on(first_hour, clients, stop, watch, now)
        assert 25 == sum(len(c.kept) for c in clients.values())
