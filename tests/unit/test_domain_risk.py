"""Every rule of the first policy, and the R19 child with its signals removed one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model import Json
from tests.unit.children import DAY, HOUR, NOW, REFERENCE, Child, r19

SCHOOL, POLICE = "SchoolConcern", "VulnerabilitySubmission"


def reasons(child: Child, as_of: int = NOW) -> dict[str, Json]:
    """Reasons by rule."""
    return {r["rule"]: r for r in child.view(as_of)["risk"]["reasons"]}


def said(agency: str, record: str, body: dict[str, Any], days: int = 3, **envelope: Any) -> Child:
    """A child about whom one thing was said some days ago."""
    child = Child()
    child.says(agency, record, NOW - days * DAY, body, **envelope)
    return child


class TestHarmTriggers:
    """Any one recommends at once, whatever the points."""

    @pytest.mark.parametrize(
        ("rule", "agency", "record", "body"),
        [
            ("harm-disclosure", "police", POLICE, {"concerns": ["DISCLOSURE_ABUSE"]}),
            ("harm-disclosure", "education", SCHOOL, {"concerns": ["INJURY_ABUSE"]}),
            ("harm-exploitation-victim", "police", POLICE, {"exploitation": ["CSE_SUSPECTED"]}),
            ("harm-exploitation-victim", "education", SCHOOL, {"exploitation": ["CCE_SUSPECTED"]}),
            ("harm-exploitation-victim", "police", "MissingEpisodeEnded", {"harm": ["CSE"]}),
            ("harm-exploitation-victim", "rhi", "ReturnHomeInterviewCompleted", {"harm": ["TRAFFICKING"]}),
            ("harm-found-with", "police", "MissingEpisodeEnded", {"found_with": ["EXPLOITER"]}),
            ("harm-found-with", "police", "MissingEpisodeEnded", {"found_with": ["WEAPON"]}),
            ("harm-found-with", "police", "MissingEpisodeEnded", {"found_with": ["DRUGS"]}),
            ("harm-self-harm-missing", "police", "MissingEpisodeEnded", {"harm": ["SELF_HARM"]}),
            ("harm-self-harm-missing", "rhi", "ReturnHomeInterviewCompleted", {"harm": ["SELF_HARM"]}),
        ],
    )
    def test_by_code(self, rule: str, agency: str, record: str, body: dict[str, Any]) -> None:
        """The reason names the agency, is a trigger, and gives no points."""
        found = reasons(said(agency, record, body))[rule]
        label = REFERENCE.label("agency", agency)
        assert (True, 0, [agency]) == (found["trigger"], found["points"], found["agencies"])
        assert found["text"].startswith(label)
        assert "harm trigger" in found["text"]

    @pytest.mark.parametrize(("born", "holds"), [("2013-02-23", True), ("2013-02-22", False), ("", False)])
    def test_under_13(self, born: str, *, holds: bool) -> None:
        """By the age on the day it happened; when no birth date is known, that is said."""
        child = Child(birth_date=born)
        child.says("education", SCHOOL, NOW - 3 * DAY, {"exploitation": ["TRAVEL"]})
        risk = child.view()["risk"]
        assert holds is ("harm-under-13" in {r["rule"] for r in risk["reasons"]})
        assert (not born) is any("Date of birth" in u["text"] for u in risk["unknown"])

    @pytest.mark.parametrize(
        ("agency", "record", "body"),
        [
            ("police", POLICE, {"concerns": ["EXPLOITATION"]}),
            ("education", SCHOOL, {"concerns": ["EXPLOITATION"]}),
            ("police", "MissingEpisodeEnded", {"found_with": ["OLDER_ASSOCIATE"]}),
            ("rhi", "ReturnHomeInterviewCompleted", {"pull": ["OLDER_ASSOCIATE"]}),
            ("rhi", "ReturnHomeInterviewCompleted", {"pull": ["EXPLOITER"]}),
            ("rhi", "ReturnHomeInterviewCompleted", {"with_whom": ["EXPLOITER"]}),
        ],
    )
    def test_under_13_by_any_indicator(self, agency: str, record: str, body: dict[str, Any]) -> None:
        """Wherever it is told: by a concern, by whom the child was with or is drawn to; at 14 it is none."""
        for born, holds in (("2014-05-05", True), ("2011-05-05", False)):
            child = Child(birth_date=born)
            child.says(agency, record, NOW - 3 * DAY, body)
            assert holds is ("harm-under-13" in reasons(child))

    def test_under_13_by_the_latest_date_told(self) -> None:
        """Two dates of birth: the younger age protects."""
        child = Child(birth_date="2011-05-05")
        child.shows("police", birth_date="2014-05-05")
        child.says("education", SCHOOL, NOW - 3 * DAY, {"exploitation": ["TRAVEL"]})
        assert "harm-under-13" in reasons(child)

    @pytest.mark.parametrize(
        ("status", "grade", "holds"),
        [("CP", "HIGH", True), ("LAC", "HIGH", True), ("CIN", "HIGH", False), ("CP", "MEDIUM", False)],
    )
    def test_plan_and_high(self, status: str, grade: str, *, holds: bool) -> None:
        """On a plan or looked after, and graded high."""
        child = Child()
        child.says("csc", "SocialCareStatus", NOW - 90 * DAY, {"status": status})
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": grade})
        assert holds is ("harm-plan-missing-high" in reasons(child))

    def test_plan_by_cpis(self) -> None:
        """CP-IS alone says so too, also once the plan has ended; one that had ended before does not."""
        child = said("police", "MissingEpisodeGraded", {"grade": "HIGH"})
        child.says("health", "CpisStatusChanged", NOW - 30 * DAY, {"end_date": "2026-02-26"})
        assert "harm-plan-missing-high" in reasons(child)
        assert "harm-plan-missing-high" in reasons(child, NOW + 3 * DAY)
        child.says("health", "CpisStatusChanged", NOW - HOUR, {"end_date": "2026-02-21"})
        assert "harm-plan-missing-high" not in reasons(child)

    def test_on_a_plan_when_it_was_graded(self) -> None:
        """Told an hour ago of three days ago; since yesterday the child is in need, and no more on a plan."""
        child = Child()
        for status, first in (("CP", "2026-01-05"), ("CIN", "2026-02-24")):
            child.says("csc", "SocialCareStatus", NOW - DAY, {"status": status, "from_date": first})
        child.says("police", "MissingEpisodeGraded", NOW - 3 * DAY, {"grade": "HIGH"}, accepted_at=NOW - HOUR)
        assert "on a child protection plan, 22 February 2026" in reasons(child)["harm-plan-missing-high"]["text"]

    def test_a_status_to_come(self) -> None:
        """Until it begins the plan holds, and is shown; then the other is."""
        child = Child()
        for status, first in (("CP", "2026-01-05"), ("CIN", "2026-03-02")):
            child.says("csc", "SocialCareStatus", NOW - DAY, {"status": status, "from_date": first})
        child.says("police", "MissingEpisodeGraded", NOW - HOUR, {"grade": "HIGH"})
        assert "harm-plan-missing-high" in reasons(child)
        assert ("CP", 2) == (child.view()["status"]["code"], len(child.view()["status_history"]))
        assert "CIN" == child.view(NOW + 9 * DAY)["status"]["code"]

    def test_none_has_begun(self) -> None:
        """No status is shown as present, and the rule finds none."""
        child = said("police", "MissingEpisodeGraded", {"grade": "HIGH"})
        child.says("csc", "SocialCareStatus", NOW - HOUR, {"status": "CP", "from_date": "2026-03-02"})
        assert (None, False) == (child.view()["status"], "harm-plan-missing-high" in reasons(child))

    @pytest.mark.parametrize(("ended", "text"), [(True, None), (False, "looked after, 24 February 2026")])
    def test_looked_after_since(self, *, ended: bool, text: str | None) -> None:
        """Graded high twenty days ago, looked after since yesterday: true of who is still away, and since yesterday alone."""
        child = Child()
        for status, first in (("CIN", "2025-09-01"), ("LAC", "2026-02-24")):
            child.says("csc", "SocialCareStatus", NOW - DAY, {"status": status, "from_date": first})
        child.says("police", "MissingEpisodeReported", NOW - 20 * DAY)
        child.says("police", "MissingEpisodeGraded", NOW - 20 * DAY, {"grade": "HIGH"})
        if ended:
            child.says("police", "MissingEpisodeEnded", NOW - 18 * DAY)
        found = reasons(child).get("harm-plan-missing-high")
        assert (text is None) == (found is None)
        assert found is None or text is None or text in found["text"]

    @pytest.mark.parametrize(("status", "holds"), [("CIN", True), ("CP", False)])
    def test_the_day_of_the_change(self, status: str, *, holds: bool) -> None:
        """The status that ends on the day of the grade held on it; what is told anew from the same day takes its place."""
        child = Child()
        first = {"CP": "2026-01-05", "CIN": "2026-02-24"}[status]
        child.says("csc", "SocialCareStatus", NOW - 9 * DAY, {"status": "CP", "from_date": "2026-01-05"})
        child.says("csc", "SocialCareStatus", NOW - DAY, {"status": "CIN", "from_date": first})
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": "HIGH"})
        assert holds is ("harm-plan-missing-high" in reasons(child))

    def test_window(self) -> None:
        """28 days, to the microsecond."""
        child = said("police", POLICE, {"concerns": ["DISCLOSURE_ABUSE"]}, accepted_at=NOW - 3 * DAY)
        assert "harm-disclosure" in reasons(child, NOW + 25 * DAY - 1)
        assert "harm-disclosure" not in reasons(child, NOW + 25 * DAY)

    @pytest.mark.parametrize("historic", [True, False])
    def test_told_late(self, *, historic: bool) -> None:
        """A live disclosure told two months late still raises; an imported one of then is over."""
        child = said("police", POLICE, {"concerns": ["DISCLOSURE_ABUSE"]}, 60, accepted_at=NOW - DAY, historic=historic)
        assert historic is ("harm-disclosure" not in reasons(child))


class TestPoints:
    """Windowed points."""

    def test_missing(self) -> None:
        """Once 1, twice 3, three times 5 in 28 days; older ones fall out of the window."""
        child = Child()
        found = []
        for n, days in enumerate((40, 20, 12, 4)):
            child.says("police", "MissingEpisodeReported", NOW - days * DAY, {"episode_id": f"e{n}"})
            child.says("police", "MissingEpisodeEnded", NOW - days * DAY + HOUR, {"episode_id": f"e{n}"})
            found.append(reasons(child).get("missing-28", {}).get("points", 0))
        assert [0, 1, 3, 5] == found
        assert 2 == reasons(child)["missing-90"]["points"]
        assert 1 == reasons(child)["missing-repeat"]["points"]
        assert "missing 3 times in 28 days (weak signal, 5 points)" in reasons(child)["missing-28"]["text"]

    def test_overnight(self) -> None:
        """A night away."""
        child = said("police", "MissingEpisodeReported", {}, 2)
        assert 2 == reasons(child)["missing-overnight"]["points"]

    @pytest.mark.parametrize(
        ("record", "after", "rule"),
        [
            ("ReturnHomeInterviewDeclined", 24, "interview-declined"),
            ("ReturnHomeInterviewCompleted", 90, "interview-late"),
            ("ReturnHomeInterviewOffered", 1, "interview-late"),
            ("ReturnHomeInterviewCompleted", 24, None),
        ],
    )
    def test_interview(self, record: str, after: int, rule: str | None) -> None:
        """Declined, late, or only offered: a point. Held in time: none, and shown as protective."""
        child = said("police", "MissingEpisodeEnded", {}, 9)
        child.says("rhi", record, NOW - 9 * DAY + after * HOUR)
        found = [r for r in reasons(child) if r.startswith("interview")]
        assert ([rule] if rule else []) == found
        protective = [p["text"] for p in child.view()["risk"]["protective"]]
        assert (["Return home interview held within 72 hours"] if rule is None else []) == protective

    @pytest.mark.parametrize(
        ("rule", "agency", "record", "body", "points"),
        [
            ("pull-older", "rhi", "ReturnHomeInterviewCompleted", {"pull": ["OLDER_ASSOCIATE"]}, 3),
            ("exploitation-indicators", "police", POLICE, {"exploitation": ["SEVERAL_PHONES"]}, 3),
            ("violence-missing", "police", "MissingEpisodeEnded", {"harm": ["VIOLENCE"]}, 2),
            ("weight-loss", "education", SCHOOL, {"concerns": ["WEIGHT_LOSS"]}, 2),
            ("unsuitable-adults", "education", SCHOOL, {"concerns": ["UNSUITABLE_ADULTS"]}, 2),
            ("bad-housing", "police", POLICE, {"concerns": ["BAD_HOUSING"]}, 2),
            ("crime", "police", POLICE, {"concerns": ["CRIME_VICTIM"]}, 2),
            ("home", "police", POLICE, {"concerns": ["DOMESTIC_ABUSE"]}, 2),
            ("health-concern", "education", SCHOOL, {"concerns": ["SELF_HARM"]}, 2),
        ],
    )
    def test_signals_fade(self, rule: str, agency: str, record: str, body: dict[str, Any], points: int) -> None:
        """Full weight for six months, one point to twelve, then none."""
        child = said(agency, record, body, 0)
        at = [reasons(child, NOW + d * DAY).get(rule, {}).get("points", 0) for d in (1, 181, 183, 364, 366)]
        assert [points, points, 1, 1, 0] == at
        assert "6 to 12 months ago, 1 point" in reasons(child, NOW + 200 * DAY)[rule]["text"]

    @pytest.mark.parametrize(
        ("record", "agency", "rule", "expected"),
        [
            (POLICE, "police", "submissions", [0, 0, 2, 2, 3]),
            (SCHOOL, "education", "school-concerns", [0, 0, 1, 1, 2]),
            ("CpisAttendanceAlert", "health", "cpis-alerts", [1, 2, 3, 3, 3]),
        ],
    )
    def test_counts(self, record: str, agency: str, rule: str, expected: list[int]) -> None:
        """How many in 90 days."""
        child, found = Child(), []
        for n in range(5):
            child.says(agency, record, NOW - (80 - n) * DAY)
            found.append(reasons(child).get(rule, {}).get("points", 0))
        assert expected == found

    @pytest.mark.parametrize(
        ("missed", "possible", "points"), [(3, 40, 0), (4, 40, 2), (19, 40, 2), (20, 40, 3), (2, 2, 0), (0, 0, 0)]
    )
    def test_absence(self, missed: int, possible: int, points: int) -> None:
        """10 % and 50 %; of less than a week no rate is made."""
        child = said("education", "SchoolAbsence", {"sessions_missed": missed, "sessions_possible": possible})
        assert points == reasons(child).get("absence", {}).get("points", 0)

    def test_absence_text(self) -> None:
        """Readable."""
        child = said("education", "SchoolAbsence", {"sessions_missed": 25, "sessions_possible": 40})
        assert "Schools and education: absence 62 % over 4 weeks (weak signal, 3 points)" == reasons(child)["absence"]["text"]

    @pytest.mark.parametrize(("first", "second"), [(32, 24), (24, 32)], ids=["worst first", "worst last"])
    def test_absence_text_of_several(self, first: int, second: int) -> None:
        """The worst is told, whenever it was; the reason rests on each that gives points by itself."""
        child = said("education", "SchoolAbsence", {"sessions_missed": first}, 20)
        child.says("education", "SchoolAbsence", NOW - 9 * DAY, {"sessions_missed": second})
        child.says("education", "SchoolAbsence", NOW - 2 * DAY, {"sessions_missed": 1})
        found = reasons(child)["absence"]
        assert ("Schools and education: absence 80 % over 4 weeks (weak signal, 3 points)", 2) == (
            found["text"], len(found["facts"]),
        )  # fmt: skip

    @pytest.mark.parametrize(("first", "points"), [("2026-02-25", 1), ("2026-02-18", 2), ("2026-02-03", 3)])
    def test_no_education(self, first: str, points: int) -> None:
        """By school days without a place (R13: 1, 6 and 15)."""
        child = said("education", "NoSchoolProvision", {"from_date": first}, 0)
        assert points == reasons(child)["no-education"]["points"]


class TestCorroboration:
    """Two agencies' weak signals (the case-study child)."""

    @pytest.mark.parametrize(("apart", "points"), [(28, 4), (29, 0)])
    def test_within_28_days_of_one_another(self, apart: int, points: int) -> None:
        """Not of today: a match confirmed weeks later still finds them together."""
        child = said("police", POLICE, {"concerns": ["BAD_HOUSING"]}, 30)
        child.says("education", SCHOOL, NOW - (30 + apart) * DAY, {"concerns": ["WEIGHT_LOSS"]})
        assert points == reasons(child).get("corroboration", {}).get("points", 0)

    def test_three_agencies(self) -> None:
        """Six points, and all three are named."""
        child = said("police", POLICE, {"concerns": ["BAD_HOUSING"]}, 5)
        child.says("education", SCHOOL, NOW - 6 * DAY, {"concerns": ["WEIGHT_LOSS"]})
        child.says("health", "CpisAttendanceAlert", NOW - 2 * DAY)
        found = reasons(child)["corroboration"]
        assert (6, ["education", "health", "police"]) == (found["points"], found["agencies"])

    def test_one_episode_told_twice(self) -> None:
        """Two tellings of one absence are not two agencies' signals."""
        child = said("police", "MissingEpisodeReported", {}, 2)
        child.says("csc", "MissingEpisodeReported", NOW - 2 * DAY, {"episode_id": "AW1"})
        assert "corroboration" not in reasons(child)

    def test_an_older_and_worse_absence_hides_none(self) -> None:
        """More absence never gives fewer points, and none come by themselves when the older one fades."""
        child = said("education", "SchoolAbsence", {"sessions_missed": 28}, 5)
        child.says("police", POLICE, NOW - 4 * DAY, {"concerns": ["BAD_HOUSING", "CRIME_SUSPECT", "NEGLECT"]})
        before = child.view()["risk"]["points"]
        child.says("education", "SchoolAbsence", NOW - 80 * DAY, {"sessions_missed": 30}, accepted_at=NOW)
        assert [13, 13, 13] == [before, child.view()["risk"]["points"], child.view(NOW + 11 * DAY)["risk"]["points"]]

    def test_same_agency(self) -> None:
        """Two of one agency do not corroborate."""
        child = said("police", POLICE, {"concerns": ["BAD_HOUSING"]})
        child.says("police", POLICE, NOW - 5 * DAY, {"concerns": ["CRIME_VICTIM"]})
        assert "corroboration" not in reasons(child)


class TestR19:
    """The golden child: school absence, weight loss and unsuitable adults; police bad housing and crime; on an open CIN.

    | kept | points (absence 62 %; 20 %) | recommended |
    |---|---|---|
    | all five | 15; 14 | yes |
    | any four (both agencies among them, as they always are) | 12 or 13; 12 | yes |
    | any three with both agencies | 10 or 11; 10 | no |
    | the school's three alone | 7; 6 | no |
    | two with both agencies | 8 or 9; 8 | no |
    | the police's two alone | 4; 4 | no |
    """

    @pytest.mark.parametrize("missed", [25, 8])
    @pytest.mark.parametrize("kept", [c for n in range(6) for c in combinations(range(5), n)], ids=str)
    def test_signals_removed(self, kept: tuple[int, ...], missed: int) -> None:
        """Recommended exactly when four or five are known."""
        child = r19(missed)
        status, *signals = child.history.facts
        child.history = replace(child.history, facts=(status, *(signals[n] for n in kept)))
        assert ("POINTS" if len(kept) >= 4 else None) == child.view()["risk"]["basis"]

    def test_corroboration_makes_the_difference(self) -> None:
        """Without it, five weak signals do not reach the threshold."""
        risk = r19().view()["risk"]
        points = {r["rule"]: r["points"] for r in risk["reasons"]}
        assert risk["points"] - points["corroboration"] < risk["threshold"] <= risk["points"]
        assert ["education", "police"] == next(r["agencies"] for r in risk["reasons"] if r["rule"] == "corroboration")

    def test_until_the_match_is_confirmed(self) -> None:
        """Police facts on another cluster count for nothing here; from the confirmation on, for all."""
        child = r19()
        pid = next(p.presentation_id for p in child.history.presentations if p.agency == "police")
        links = tuple(replace(x, from_at=NOW - DAY) if x.presentation_id == pid else x for x in child.history.links)
        child.history = replace(child.history, links=links)
        assert child.view(NOW, NOW - 2 * DAY)["risk"]["basis"] is None
        assert "POINTS" == child.view(NOW)["risk"]["basis"]


class TestUnknownIsNotNo:
    """What is not known widens, never lowers."""

    def test_listed(self) -> None:
        """A new child: what was never received is named, agency by agency."""
        risk = said("police", "MissingEpisodeEnded", {"harm": [], "found_with": ["UNKNOWN"]}).view()["risk"]
        texts = " | ".join(u["text"] for u in risk["unknown"])
        assert all(w in texts for w in ("social care", "Education", "GP practice", "no grade", "interview was offered"))
        assert risk["none_received_as_of"]["education"] is None

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(("worker", "interview", "status")), max_size=4))
    def test_protective_never_subtracts(self, more: list[str]) -> None:
        """No protective fact lowers points or removes a trigger."""
        child = r19()
        child.says("police", POLICE, NOW - 2 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        before = child.view()["risk"]
        for kind in more:
            if kind == "worker":
                child.says("csc", "WorkerAllocated", NOW - DAY)
            elif kind == "interview":
                child.says("rhi", "ReturnHomeInterviewCompleted", NOW - DAY)
            else:
                child.says("csc", "SocialCareStatus", NOW - DAY, {"status": "CLOSED"})
        after = child.view()["risk"]
        assert after["points"] >= before["points"]
        assert after["harm"]

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 5))
    def test_withheld_still_counts(self, n: int) -> None:
        """Scope and sensitivity change who reads, not what counts."""
        child = r19()
        facts = list(child.history.facts)
        facts[n] = replace(facts[n], scope="CONFIDENCE", sensitivity="SEALED", regime="LED")
        open_view = child.view()["risk"]
        child.history = replace(child.history, facts=tuple(facts))
        assert open_view["points"] == child.view()["risk"]["points"]
