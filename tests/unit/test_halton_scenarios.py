"""Each scenario makes its point for any seed, alone, by the contract and by the link rules of design.md."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from random import Random

import pytest

from domain.matching import Person, doubt, person, rule
from domain.model import Presentation
from domain.times import DAY_US, HOUR_US, to_us
from producers.halton.facts import SimulatedFact
from producers.halton.population import PRACTICES_ELSEWHERE
from producers.halton.scenarios import SCENARIOS, Scenario, r19
from producers.halton.truth import Truth
from schemas.catalogue import spec
from schemas.validation import check

AT = to_us(datetime(2026, 3, 2, 12, tzinfo=UTC))
SEEDS = range(200)
HARM_TRIGGERS = {"DISCLOSURE_ABUSE", "INJURY_ABUSE", "SELF_HARM", "EXPLOITATION"}


@cache
def told(label: str, seed: int) -> Scenario:
    """A story at `AT`, told once for all tests."""
    return SCENARIOS[label](seed, AT, None, 4 * HOUR_US)


def points(story: Scenario) -> list[SimulatedFact]:
    by_key = {f.key: f for f in story.facts}
    return [by_key[k] for k in story.points]


def people(story: Scenario, agency: str, child: int = 0) -> list[Person]:
    """The agency's presentations of a child of the story, comparable."""
    shown: list[Person] = []
    for n, f in enumerate(story.facts):
        subject = f.value["envelope"]["subject"]
        if f.agency == agency and f.child == story.children[child].id:
            shown.append(person(Presentation(f.key, agency, n, f.arrives_at, subject)))
    return shown


def every(agency: str, story: Scenario) -> Iterator[tuple[Person, Person]]:
    """Each of the agency's presentations beside social care's."""
    return ((a, b) for a in people(story, agency) for b in people(story, "csc"))


class TestEveryScenario:
    """What holds for all stories."""

    @pytest.mark.parametrize("label", SCENARIOS)
    def test_facts_are_valid_in_order_and_belong_to_the_story(self, label: str) -> None:
        """By the contract, for many seeds; labelled, and true to their truth."""
        for seed in SEEDS:
            story = told(label, seed)
            assert [] == [(f.record, str(p)) for f in story.facts for p in check(spec(f.record), f.value, f.arrives_at)]
            assert sorted(f.arrives_at for f in story.facts) == [f.arrives_at for f in story.facts]
            assert {label} == {f.label for f in story.facts}
            assert {c.id for c in story.children} == set(Truth(story.facts).children)

    @pytest.mark.parametrize("label", SCENARIOS)
    def test_a_story_told_at_another_instant_has_the_same_ids_and_children(self, label: str) -> None:
        """So a demonstration can tell the beginning as history and the rest as present."""
        today = datetime(2026, 3, 2, tzinfo=UTC).date()
        a, b = (SCENARIOS[label](3, at, today, HOUR_US) for at in (AT, AT + 90 * 60_000_000))
        assert [f.key for f in a.facts] == [f.key for f in b.facts]
        assert a.children == b.children

    def test_no_two_stories_share_a_child_or_a_number(self) -> None:
        """All scenarios of many seeds can live in one deployment."""
        children = [c for seed in SEEDS for label in SCENARIOS for c in told(label, seed).children]
        assert (
            len(children) == len({c.id for c in children}) == len({c.nhs for c in children}) == len({c.number for c in children})
        )


class TestR19:
    """The case-study child."""

    def test_five_weak_signals_of_two_agencies_within_four_weeks_on_an_open_cin(self) -> None:
        """The case study of the inspectors' letter."""
        for seed in SEEDS:
            story = told("r19", seed)
            signals = points(story)
            assert ["education", "education", "police", "education", "police"] == [f.agency for f in signals]
            assert AT == signals[-1].arrives_at
            assert signals[-1].occurred_at - signals[0].occurred_at <= 27 * DAY_US
            assert signals[0].value["sessions_missed"] / signals[0].value["sessions_possible"] >= 0.1
            concerns = [c for f in signals[1:] for c in f.value["concerns"]]
            assert ["WEIGHT_LOSS", "BAD_HOUSING", "UNSUITABLE_ADULTS", "CRIME_SUSPECT"] == concerns
            assert not HARM_TRIGGERS & set(concerns)
            assert not any(f.value.get("exploitation") for f in signals)
            assert {("UKGDPR", "PARTNERSHIP")} == {(f.value["envelope"]["regime"], f.value["envelope"]["scope"]) for f in signals}
            statuses = [f.value["status"] for f in story.facts if f.record == "SocialCareStatus"]
            assert ["CIN"] == statuses

    def test_school_joins_by_rule_and_police_only_by_a_confirmed_match(self) -> None:
        """Police know a name, a birth date and an old address."""
        for seed in SEEDS:
            story = told("r19", seed)
            child = story.children[0]
            assert all(rule(a, b) is not None for a, b in every("education", story))
            assert all(rule(a, b) is None and doubt(a, b) for a, b in every("police", story))
            for f in story.facts:
                subject = f.value["envelope"]["subject"]
                if f.agency == "police":
                    assert (child.given, child.family, child.born.isoformat()) == (
                        subject["given_name"], subject["family_name"], subject["birth_date"],
                    )  # fmt: skip
                    assert child.address_before.line == subject["address_line"]
                    assert subject["nhs_number"] is subject["upn"] is subject["la_child_id"] is subject["pnc"] is None


class TestTwins:
    """Two children whom a careless system takes for one."""

    def test_near_in_everything_and_one_number_is_the_others(self) -> None:
        """The mis-keyed record must join neither twin by rule, and the twins never one another."""
        for seed in SEEDS:
            story = told("twins", seed)
            a, b = story.children
            assert (a.born, a.family, a.address, a.sex) == (b.born, b.family, b.address, b.sex)
            assert a.given != b.given
            assert 0 < int(b.nhs[:9]) - int(a.nhs[:9]) <= 2
            mistyped = people(story, "health", child=1)[-1]
            assert ("nhs", a.nhs) in mistyped.strong
            assert all(rule(mistyped, p) is None for p in people(story, "csc", 0) + people(story, "health", 0))
            assert all(rule(p, q) is None for p in people(story, "csc", 0) for q in people(story, "csc", 1))


class TestPlacedIn:
    """Looked after from elsewhere."""

    def test_another_authoritys_child_with_a_practice_elsewhere_goes_missing(self) -> None:
        """Placing authority, its number, its practice; an episode with its interview."""
        for seed in SEEDS:
            story = told("placed", seed)
            status = next(f for f in story.facts if f.record == "SocialCareStatus")
            assert ("LAC", story.children[0].placing_la) == (status.value["status"], status.value["placing_la"])
            assert not status.value["envelope"]["subject"]["la_child_id"].startswith("876-")
            practice = next(f for f in story.facts if f.record == "GpRegistration").value["practice_ods"]
            assert practice in PRACTICES_ELSEWHERE
            assert 1 == len({f.episode for f in points(story)})


class TestGpChange:
    """A message must find the right practice."""

    def test_the_practice_changes_between_two_outcomes(self) -> None:
        """Truth knows which practice is right for which outcome."""
        for seed in SEEDS:
            story = told("gp", seed)
            first, change, second = points(story)
            truth = Truth(story.facts)
            assert (change.value["previous_ods"], change.value["practice_ods"]) == (first.practice, second.practice)
            assert first.practice != second.practice
            for outcome in truth.outcomes.values():
                assert outcome.practice == truth.practice_at(outcome.child, outcome.occurred_at)
            assert first.arrives_at < change.arrives_at < second.arrives_at


class TestHarmTriggers:
    """One fact is enough."""

    def test_missing_at_high_grade_on_a_plan_and_police_join_by_rule(self) -> None:
        """Youth justice hold what both police and social care know."""
        for seed in SEEDS:
            story = told("high", seed)
            assert "HIGH" == points(story)[-1].value["grade"]
            assert AT == points(story)[-1].arrives_at
            assert ["CP"] == [f.value["status"] for f in story.facts if f.record == "SocialCareStatus"]
            assert all(rule(p, y) is not None for p in people(story, "police") for y in people(story, "yjs"))
            assert all(rule(y, c) is not None for y, c in every("yjs", story))

    def test_found_with_an_exploiter(self) -> None:
        """Reported, graded, found: one episode."""
        for seed in SEEDS:
            story = told("found", seed)
            assert ["EXPLOITER"] == points(story)[-1].value["found_with"]
            assert 1 == len({f.episode for f in points(story)})


def test_truth_does_not_depend_on_the_order_of_arrival() -> None:
    """A story shuffled is the same story."""
    story = r19(11, AT)
    shuffled = list(story.facts)
    Random(5).shuffle(shuffled)
    a, b = Truth(story.facts), Truth(shuffled)
    assert {c: set(k) for c, k in a.children.items()} == {c: set(k) for c, k in b.children.items()}
    assert a.holders == b.holders
