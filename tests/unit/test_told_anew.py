"""What an agency tells over again about one thing: what it recorded last holds, also where that happened earlier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.times import DAY_US, HOUR_US
from tests.unit.children import NOW, Child

DAY, HOUR = DAY_US, HOUR_US


def again(record: str, agency: str, first: dict[str, Any], then: dict[str, Any], *, back: int = 5) -> Child:
    """`first` is told two days ago; what is recorded a day later happened `back` days before it, and came before it."""
    child = Child()
    child.says(agency, record, NOW - 2 * DAY, first, recorded_at=NOW - 2 * DAY)
    later = NOW - (2 + back) * DAY
    child.says(agency, record, later, then, recorded_at=NOW - DAY, accepted_at=NOW - 3 * DAY)
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

    def test_interview(self) -> None:
        """Held earlier than was told at first: in time."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 9 * DAY)
        child.says("police", "MissingEpisodeEnded", NOW - 8 * DAY)
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 4 * DAY, {"episode_ref": "e1"})
        assert ["LATE"] == [e["rhi_clock"]["state"] for e in child.view()["missing"]]
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 6 * DAY, {"episode_ref": "e1"}, recorded_at=NOW - DAY)
        assert ["MET"] == [e["rhi_clock"]["state"] for e in child.view()["missing"]]


class TestOneInstant:
    """Systems that know days alone tell of two things at one instant: what was recorded later is the later."""

    @pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
    def test_status(self, ids: tuple[str, str]) -> None:
        """A child in need that is on a plan from the same day on."""
        child = Child()
        for n, status in enumerate(("CIN", "CP")):
            child.says(
                "csc", "SocialCareStatus", NOW - 9 * DAY, {"status": status}, recorded_at=NOW - (9 - n) * DAY, event_id=ids[n]
            )
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
    told = replace(child.history, facts=(replace(one, number=other.number), replace(other, number=one.number)))
    child.history = told
    assert [None] == [p["end"] for p in child.view()["cpis"]["status"]]
