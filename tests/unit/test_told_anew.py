"""What an agency tells over again about one thing: what it recorded last holds, also where that happened earlier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.posting import in_force
from domain.selection import select
from domain.times import DAY_US, HOUR_US
from tests.unit.children import NOW, REFERENCE, Child

DAY, HOUR = DAY_US, HOUR_US


def again(record: str, agency: str, first: dict[str, Any], then: dict[str, Any]) -> Child:
    """`first` is told two days ago; what is recorded a day later happened five days before it, and came before it."""
    child = Child()
    child.says(agency, record, NOW - 2 * DAY, first, recorded_at=NOW - 2 * DAY)
    child.says(agency, record, NOW - 7 * DAY, then, recorded_at=NOW - DAY, accepted_at=NOW - 3 * DAY)
    return child


class TestSpans:
    """A span is the same by what it is of and by its first day."""

    @pytest.mark.parametrize("end", [None, "2026-02-20"])
    def test_plan(self, end: str | None) -> None:
        """A plan that goes on after all, or ended earlier than was told."""
        child = again("CpisStatusChanged", "health", {"end_date": "2026-02-23"}, {"end_date": end})
        assert [end] == [p["end"] for p in child.view()["cpis"]["status"]]

    def test_the_rule_that_asks_for_a_plan(self) -> None:
        """Missing, graded high, on a plan that was told as ended by mistake."""
        child = again("CpisStatusChanged", "health", {"end_date": "2026-02-23"}, {"end_date": None})
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": "HIGH"})
        assert "harm-plan-missing-high" in {r["rule"] for r in child.view()["risk"]["reasons"]}

    @pytest.mark.parametrize(("record", "agency"), [("WorkerAllocated", "csc"), ("InvolvementRecorded", "health")])
    def test_involved(self, record: str, agency: str) -> None:
        """Somebody who works with the child after all."""
        child = again(record, agency, {"to_date": "2026-02-20"}, {"to_date": None})
        assert [(None, True)] == [(i["to"], i["current"]) for i in child.view()["involved"]]

    def test_without_school(self) -> None:
        """Still without a place."""
        first = {"from_date": "2026-02-02", "to_date": "2026-02-20"}
        child = again("NoSchoolProvision", "education", first, first | {"to_date": None})
        assert [None] == [g["to"] for g in child.view()["education"]["no_provision"]]

    def test_practice(self) -> None:
        """Another practice, registered with on the same day: messages go to the one recorded last."""
        first = {"registered_from": "2026-02-02", "practice_ods": "N81001"}
        child = again("GpRegistration", "health", first, first | {"practice_ods": "N81002"})
        assert "N81002" == child.view()["practice"]["ods"]

    def test_what_is_imported_is_older(self) -> None:
        """An old telling that was brought in years after, and recorded then: what is told since holds."""
        child = Child()
        child.says("health", "CpisStatusChanged", NOW - 2 * DAY, {"end_date": "2026-02-23"})
        child.says("health", "CpisStatusChanged", NOW - 90 * DAY, {"end_date": None}, recorded_at=NOW - HOUR, historic=True)
        assert ["2026-02-23"] == [p["end"] for p in child.view()["cpis"]["status"]]

    def test_two_agencies_tell_of_one_plan(self) -> None:
        """Each by its own clock; between them by when it happened: an older copy does not open the plan again."""
        child = Child()
        child.says("csc", "CpisStatusChanged", NOW - 2 * DAY, {"end_date": "2026-02-23"})
        child.says("health", "CpisStatusChanged", NOW - 9 * DAY, {"end_date": None}, recorded_at=NOW - DAY)
        assert ["2026-02-23"] == [p["end"] for p in child.view()["cpis"]["status"]]

    def test_a_span_told_as_over_again(self) -> None:
        """A place at school from a later day than was said at first."""
        child = Child()
        child.says("education", "NoSchoolProvision", NOW - 20 * DAY, {"from_date": "2026-02-02"})
        over = {"from_date": "2026-02-02", "reason": "ENDED"}
        child.says("education", "NoSchoolProvision", NOW - 9 * DAY, over | {"to_date": "2026-02-06"})
        child.says("education", "NoSchoolProvision", NOW - 10 * DAY, over | {"to_date": "2026-02-13"}, recorded_at=NOW - DAY)
        assert ["2026-02-13"] == [g["to"] for g in child.view()["education"]["no_provision"]]

    def test_protection_that_is_over(self) -> None:
        """A worker who left protects no more."""
        child = Child()
        child.says("csc", "WorkerAllocated", NOW - 20 * DAY)
        assert ["Allocated: social worker"] == [p["text"] for p in child.view()["risk"]["protective"]]
        child.says("csc", "WorkerAllocated", NOW - 2 * DAY, {"to_date": "2026-02-20"})
        assert [] == child.view()["risk"]["protective"]

    def test_recorded_at_one_time(self) -> None:
        """Of systems that do not say when they recorded it, the later end counts."""
        child = Child()
        for end, day in (("2026-02-23", 2), (None, 9)):
            child.says("health", "CpisStatusChanged", NOW - day * DAY, {"end_date": end}, recorded_at=NOW - DAY)
        assert ["2026-02-23"] == [p["end"] for p in child.view()["cpis"]["status"]]


class TestEpisodes:
    """Missing episodes and their interviews."""

    def test_back_earlier(self) -> None:
        """The clock of the interview runs from the return as told last, and what it is said to have ended with goes with it."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 9 * DAY)
        late, early = NOW - 4 * DAY, NOW - 6 * DAY
        child.says("police", "MissingEpisodeEnded", late, {"outcome": "RETURNED"}, recorded_at=late)
        child.says("police", "MissingEpisodeEnded", early, {"outcome": "FOUND"}, recorded_at=NOW - 3 * DAY, accepted_at=NOW - DAY)
        (episode,) = child.view()["missing"]
        assert (early, early + 72 * HOUR, "FOUND") == (
            episode["ended_at"], episode["rhi_clock"]["due_at"], episode["outcome"],
        )  # fmt: skip

    def test_what_kind(self) -> None:
        """Away without permission after all: the type as told last, though it begins earlier."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 4 * DAY, {"episode_type": "MISSING"})
        earlier = {"episode_type": "AWOL"}
        child.says("police", "MissingEpisodeReported", NOW - 5 * DAY, earlier, recorded_at=NOW - 3 * DAY)
        assert ["AWOL"] == [e["type"] for e in child.view()["missing"]]

    def test_put_right_by_its_own_agency(self) -> None:
        """An agency that puts its own return right contradicts nobody."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 9 * DAY)
        for day, recorded in ((4, 4), (6, 3)):
            child.says("police", "MissingEpisodeEnded", NOW - day * DAY, recorded_at=NOW - recorded * DAY)
        assert [None] == [e["contradiction"] for e in child.view()["missing"]]
        child.says("csc", "MissingEpisodeReported", NOW - 9 * DAY)
        child.says("csc", "MissingEpisodeEnded", NOW - 5 * DAY)
        assert ["different times of return are told"] == [e["contradiction"] for e in child.view()["missing"]]

    def test_which_episode(self) -> None:
        """An interview's offer says after it was held of which episode it was: that holds."""
        child = Child()
        for n in (1, 2):
            child.says("police", "MissingEpisodeReported", NOW - (12 - 3 * n) * DAY, {"episode_id": f"e{n}"})
            child.says("police", "MissingEpisodeEnded", NOW - (11 - 3 * n) * DAY, {"episode_id": f"e{n}"})
        at = NOW - 4 * DAY
        child.says("rhi", "ReturnHomeInterviewCompleted", at, {"episode_ref": "e1"}, recorded_at=NOW - DAY)
        child.says("rhi", "ReturnHomeInterviewOffered", at + HOUR, {"episode_ref": "e2"}, recorded_at=NOW - DAY)
        assert {"e2": 1, "e1": 0} == {e["episode"]: len(e["interviews"]) for e in child.view()["missing"]}

    def test_declined_again(self) -> None:
        """Why an interview was declined, as told last."""
        child = Child()
        child.says("rhi", "ReturnHomeInterviewDeclined", NOW - 4 * DAY, {"reason": "CHILD"}, recorded_at=NOW - 4 * DAY)
        child.says("rhi", "ReturnHomeInterviewDeclined", NOW - 5 * DAY, {"reason": "PARENT"}, recorded_at=NOW - DAY)
        assert ["PARENT"] == [i["reason"] for i in child.view()["interviews_unpaired"]]

    def test_interview(self) -> None:
        """Held earlier than was told at first: in time."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 9 * DAY)
        child.says("police", "MissingEpisodeEnded", NOW - 8 * DAY)
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 4 * DAY, {"episode_ref": "e1"})
        assert ["LATE"] == [e["rhi_clock"]["state"] for e in child.view()["missing"]]
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 6 * DAY, {"episode_ref": "e1"}, recorded_at=NOW - DAY)
        assert ["MET"] == [e["rhi_clock"]["state"] for e in child.view()["missing"]]


class TestConclusions:
    """What follows from what is told again."""

    def test_the_same_plan_again(self) -> None:
        """A plan told again, with another telephone number, is no new reason to meet: nobody is asked twice."""
        child = Child()
        child.says("health", "CpisStatusChanged", NOW - 30 * DAY)
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": "HIGH"})
        assert ["recommended"] == [kind for kind, _ in child.concludes()]
        child.says("health", "CpisStatusChanged", NOW - 30 * DAY, {"la_contact": "0151"}, recorded_at=NOW, accepted_at=NOW)
        assert [] == child.concludes(NOW + HOUR)

    def test_an_outcome_told_as_closed(self) -> None:
        """It is in force no more: a practice that the child comes to later is not told of the level it had."""
        child = Child()
        high = child.says("csc", "CsogOutcome", NOW - DAY, {"level_joint": "HIGH"}, recorded_at=NOW - 9 * HOUR)
        assert in_force(high, select(child.history, NOW), REFERENCE)
        child.says("csc", "CsogOutcome", NOW - 2 * DAY, {"level_joint": "CLOSED"}, recorded_at=NOW - HOUR)
        assert not in_force(high, select(child.history, NOW), REFERENCE)


class TestOneInstant:
    """Systems that know days alone tell of two things at one instant: what was recorded later is the later."""

    @pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
    def test_status(self, ids: tuple[str, str]) -> None:
        """A child in need that is on a plan from the same day on."""
        child = Child()
        for n, status in enumerate(("CIN", "CP")):
            envelope = {"recorded_at": NOW - (9 - n) * DAY, "event_id": ids[n]}
            child.says("csc", "SocialCareStatus", NOW - 9 * DAY, {"status": status}, **envelope)
        assert "CP" == child.view()["status"]["code"]

    @pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
    def test_grade(self, ids: tuple[str, str]) -> None:
        """A grade that was thought over on the same day."""
        child = Child()
        for n, grade in enumerate(("LOW", "HIGH")):
            envelope = {"recorded_at": NOW - (9 - n) * DAY, "event_id": ids[n]}
            child.says("police", "RiskGraded", NOW - 9 * DAY, {"grade": grade}, **envelope)
        assert ["HIGH"] == [g["grade"] for g in child.view()["grades"]]


def test_whatever_came_first() -> None:
    """The order of arrival has no part in it."""
    child = again("CpisStatusChanged", "health", {"end_date": "2026-02-23"}, {"end_date": None})
    one, other = child.history.facts
    child.history = replace(child.history, facts=(replace(one, number=other.number), replace(other, number=one.number)))
    assert [None] == [p["end"] for p in child.view()["cpis"]["status"]]
