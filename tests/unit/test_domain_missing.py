"""Missing episodes, their interviews and the 72-hour clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.missing import INTERVIEW, Episodes
from domain.model import Fact, Json
from domain.selection import select
from domain.sharing import Reader, redact
from domain.times import to_us
from tests.unit.children import DAY, HOUR, NOW, Child


def at(text: str) -> int:
    """An instant from ISO 8601 with an offset."""
    return to_us(datetime.fromisoformat(text))


def absent(child: Child, start: int, end: int | None, episode: str = "e1", agency: str = "police", **body: Any) -> None:
    """One agency tells of an episode."""
    child.says(agency, "MissingEpisodeReported", start, {"episode_id": episode, **body})
    if end is not None:
        child.says(agency, "MissingEpisodeEnded", end, {"episode_id": episode})


def only(child: Child, as_of: int = NOW) -> Json:
    """The one episode."""
    (episode,) = child.view(as_of)["missing"]
    found: Json = episode
    return found


class TestEpisodes:
    """One absence is one episode, however many tell of it."""

    @pytest.mark.parametrize(
        ("apart", "kind", "count"),
        [(0, "M", 1), (12 * HOUR, "M", 1), (12 * HOUR + 1, "M", 2), (HOUR, "A", 2)],
    )
    def test_two_agencies(self, apart: int, kind: str, count: int) -> None:
        """Same type and beginning within 12 hours: one, with both sources."""
        child = Child()
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY)
        absent(child, NOW - 5 * DAY + apart, NOW - 4 * DAY + HOUR, "AW1", "csc", episode_type=kind)
        assert count == len(child.view()["missing"])
        if count == 1:
            assert [["csc", "AW1"], ["police", "e1"]] == sorted(only(child)["sources"])

    def test_one_agency_tells_of_two(self) -> None:
        """An agency's own two episodes are two, however near."""
        child = Child()
        absent(child, NOW - 5 * DAY, NOW - 5 * DAY + HOUR)
        absent(child, NOW - 5 * DAY + 2 * HOUR, NOW - 4 * DAY, "e2")
        assert 2 == len(child.view()["missing"])

    def test_back_before_the_other_began(self) -> None:
        """Home again before the other telling begins: two."""
        child = Child()
        absent(child, NOW - 5 * DAY, NOW - 5 * DAY + HOUR)
        absent(child, NOW - 5 * DAY + 2 * HOUR, NOW - 4 * DAY, "AW1", "csc")
        assert 2 == len(child.view()["missing"])

    def test_the_earliest_end_counts(self) -> None:
        """The strictest clock; that the tellings differ is said."""
        child = Child()
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY)
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY - 3 * HOUR, "AW1", "csc")
        episode = only(child)
        assert (NOW - 4 * DAY - 3 * HOUR, "different times of return are told") == (episode["ended_at"], episode["contradiction"])

    def test_end_told_first(self) -> None:
        """Order of arrival is of no account; without a report the end says when it began."""
        child = Child()
        child.says("police", "MissingEpisodeEnded", NOW - 4 * DAY, {"started_at": NOW - 5 * DAY, "found_with": ["FRIENDS"]})
        episode = only(child)
        assert (NOW - 5 * DAY, None, ["FRIENDS"]) == (episode["started_at"], episode["type"], episode["found_with"])

    def test_returned_before_missing(self) -> None:
        """A contradiction is shown, not mended."""
        child = Child()
        absent(child, NOW - 4 * DAY, NOW - 5 * DAY)
        assert "returned before last seen" == only(child)["contradiction"]

    def test_the_latest_grade(self) -> None:
        """Reviewed continually; the source's own label is kept."""
        child = Child()
        absent(child, NOW - 2 * DAY, None)
        child.says("police", "MissingEpisodeGraded", NOW - 2 * DAY + HOUR, {"grade": "MEDIUM"})
        child.says("police", "MissingEpisodeGraded", NOW - DAY, {"grade": "HIGH", "own_label": "High risk"})
        episode = only(child)
        assert ("HIGH", "High", "High risk", 2, True) == tuple(
            episode[k] for k in ("grade", "grade_label", "own_label", "days", "overnight")
        )

    @pytest.mark.parametrize(
        ("left", "back", "overnight"),
        [
            ("2026-02-20T22:00+00:00", "2026-02-21T03:59+00:00", False),
            ("2026-02-20T22:00+00:00", "2026-02-21T04:00+00:00", True),
            ("2026-03-29T00:30+00:00", "2026-03-29T02:59+00:00", False),
            ("2026-03-29T00:30+00:00", "2026-03-29T03:00+00:00", True),
        ],
    )
    def test_overnight(self, left: str, back: str, *, overnight: bool) -> None:
        """Away at four in the morning, London time, also on the night of the change."""
        child = Child()
        absent(child, at(left), at(back))
        assert overnight is only(child, at(back) + HOUR)["overnight"]


class TestWhoSees:
    """What another agency tells of an episode is its own to share."""

    @staticmethod
    def seen(child: Child, role: str) -> Json:
        """The one episode as a role sees it."""
        (episode,) = redact(child.view(), Reader(role))["missing"]
        found: Json = episode
        return found

    def test_an_earlier_start_told_by_another(self) -> None:
        """Social care reports; only police, as law enforcement, tell when it began: education has the report, and no more."""
        child = Child()
        absent(child, NOW - 5 * DAY, None, "AW1", "csc")
        began = {"episode_id": "P-77", "started_at": NOW - 5 * DAY - 7 * HOUR}
        child.says("police", "MissingEpisodeEnded", NOW - 4 * DAY, began, regime="LED")
        whole, episode = self.seen(child, "icart_social_worker"), self.seen(child, "icart_education")
        assert (began["started_at"], [["police", "P-77"], ["csc", "AW1"]]) == (whole["started_at"], whole["sources"])
        assert ("AW1", NOW - 5 * DAY, NOW - 5 * DAY) == tuple(episode[k] for k in ("episode", "reported_at", "last_seen_at"))
        rest = ("started_at", "sources", "ended_at", "overnight", "days", "contradiction")
        assert [None] * 6 == [episode[k] for k in rest] and {*rest} <= {*episode["withheld_fields"]}
        assert not [x for x in ("P-77", str(began["started_at"])) if x in str(episode)]

    def test_a_later_telling_of_another(self) -> None:
        """Then it began as was reported, which all may see; whose the other telling is they may not."""
        child = Child()
        absent(child, NOW - 5 * DAY, None, "AW1", "csc")
        child.says("police", "MissingEpisodeGraded", NOW - 5 * DAY + HOUR, {"episode_id": "P-77", "grade": "HIGH"}, regime="LED")
        episode = self.seen(child, "icart_education")
        assert (NOW - 5 * DAY, 5, True) == tuple(episode[k] for k in ("started_at", "days", "overnight"))
        assert ["grade", "grade_label", "own_label", "sources"] == episode["withheld_fields"]

    def test_a_grade_before_the_report(self) -> None:
        """While the child is away, how long is told by whoever told of it first."""
        child = Child()
        child.says("police", "MissingEpisodeGraded", NOW - 5 * DAY, {"episode_id": "P-77"}, regime="LED")
        absent(child, NOW - 5 * DAY + HOUR, None, "AW1", "csc")
        episode = self.seen(child, "icart_education")
        assert [None] * 3 == [episode[k] for k in ("started_at", "days", "overnight")]

    @pytest.mark.parametrize(("role", "in_time"), [("icart_social_worker", True), ("icart_education", None)])
    def test_whether_in_time_rests_on_the_return(self, role: str, *, in_time: bool | None) -> None:
        """Who may not see when the child was back cannot work it out from the interview, nor from what is not known."""
        child = Child()
        absent(child, NOW - 5 * DAY, None)
        child.says("police", "MissingEpisodeEnded", NOW - 4 * DAY, regime="LED")
        asked = [u for u in redact(child.view(), Reader(role))["risk"]["unknown"] if "interview was offered" in u["text"]]
        assert (in_time is not None) == bool(asked)
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 3 * DAY)
        assert in_time is self.seen(child, role)["interviews"][0]["in_72h"]
        held = [p for p in redact(child.view(), Reader(role))["risk"]["protective"] if "72 hours" in p["text"]]
        assert (in_time is not None) == bool(held)


class TestInterviews:
    """Offered is not completed, and completed is not completed in 72 hours."""

    @staticmethod
    def returned() -> Child:
        """Back ten days ago."""
        child = Child()
        absent(child, NOW - 11 * DAY, NOW - 10 * DAY)
        return child

    def clock(self, child: Child, as_of: int = NOW) -> str:
        """State of the one clock."""
        return str(only(child, as_of)["rhi_clock"]["state"])

    def test_while_away(self) -> None:
        """The clock begins with the return."""
        child = Child()
        absent(child, NOW - DAY, None)
        assert ("NOT_STARTED", None) == (self.clock(child), only(child)["rhi_clock"]["due_at"])

    def test_running_then_overdue(self) -> None:
        """To the microsecond; an offer does not stop it."""
        child = self.returned()
        child.says("rhi", "ReturnHomeInterviewOffered", NOW - 9 * DAY)
        assert "RUNNING" == self.clock(child, NOW - 7 * DAY - 1)
        assert "OVERDUE" == self.clock(child, NOW - 7 * DAY)

    @pytest.mark.parametrize(("late", "state"), [(0, "MET"), (1, "LATE")])
    def test_held(self, late: int, state: str) -> None:
        """In 72 hours or not."""
        child = self.returned()
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 7 * DAY + late)
        assert (state, not late) == (self.clock(child), only(child)["interviews"][0]["in_72h"])

    @pytest.mark.parametrize(("independent", "state"), [(True, "MET"), (None, "MET"), (False, "OVERDUE")])
    def test_by_whom(self, state: str, *, independent: bool | None) -> None:
        """One by somebody who cares for the child does not meet the duty (R26); where that was not told, it counts."""
        child = self.returned()
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 9 * DAY, {"independent": independent})
        shown, view = only(child)["interviews"][0], child.view()
        assert (state, state == "MET", independent) == (self.clock(child), shown["in_72h"], shown["independent"])
        assert (state == "MET") == any("72 hours" in p["text"] for p in view["risk"]["protective"])
        late = [r["text"] for r in view["risk"]["reasons"] if r["rule"] == "interview-late"]
        assert [state != "MET"] == ["no independent return home interview within 72 hours" in t for t in late or [""]]

    def test_another_that_is_independent(self) -> None:
        """It counts, and the one before it is shown."""
        child = self.returned()
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 9 * DAY, {"independent": False})
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 7 * DAY + 1, {"interview_id": "i2"})
        assert ("LATE", [False, False]) == (self.clock(child), [i["in_72h"] for i in only(child)["interviews"]])

    def test_declined_then_held(self) -> None:
        """A child may change their mind: what was held counts."""
        child = self.returned()
        child.says("rhi", "ReturnHomeInterviewDeclined", NOW - 9 * DAY)
        assert "DECLINED" == self.clock(child)
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 8 * DAY)
        assert ("MET", "COMPLETED") == (self.clock(child), only(child)["interviews"][0]["state"])

    @pytest.mark.parametrize(
        ("back", "due"),
        [("2026-03-27T22:00+00:00", "2026-03-30T23:00+01:00"), ("2026-10-23T22:00+01:00", "2026-10-26T21:00+00:00")],
    )
    def test_across_the_change_of_clocks(self, back: str, due: str) -> None:
        """72 elapsed hours across the last Sundays of March and October."""
        child = Child()
        absent(child, at(back) - HOUR, at(back))
        assert at(due) == only(child, at(back) + HOUR)["rhi_clock"]["due_at"]

    def test_paired_by_reference(self) -> None:
        """The reference goes before the time."""
        child = self.returned()
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY, "e2")
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 3 * DAY, {"episode_ref": "e1"})
        assert [0, 1] == [len(e["interviews"]) for e in child.view()["missing"]]

    def test_paired_by_time(self) -> None:
        """Without a reference: the nearest return before, within 30 days; otherwise to none."""
        child = self.returned()
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY, "e2")
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 3 * DAY)
        assert [1, 0] == [len(e["interviews"]) for e in child.view()["missing"]]
        child.says("rhi", "ReturnHomeInterviewOffered", NOW - 12 * DAY, {"interview_id": "i0"})
        assert ["i0"] == [i["interview_id"] for i in child.view()["interviews_unpaired"]]

    def test_two_that_began_and_ended_together(self) -> None:
        """One told as missing and one as away are two; what names neither belongs to the first."""
        child = Child()
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY, "e1", "csc", episode_type="A")
        absent(child, NOW - 5 * DAY, NOW - 4 * DAY, "e2")
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 3 * DAY)
        told = [(e["episode"], len(e["interviews"])) for e in child.view()["missing"]]
        assert [("e2", 0), ("e1", 1)] == told

    def test_what_the_child_said(self) -> None:
        """The words, push and pull with their labels."""
        child = self.returned()
        said = {"child_words": "They shout at me", "push": ["FAMILY_CONFLICT"], "pull": ["PEERS"]}
        child.says("rhi", "ReturnHomeInterviewCompleted", NOW - 9 * DAY, said)
        interview = only(child)["interviews"][0]
        assert ("They shout at me", ["Family conflict"], ["Peers"]) == tuple(
            interview[k] for k in ("child_words", "push_labels", "pull_labels")
        )


KINDS = ("MissingEpisodeReported", "MissingEpisodeGraded", "MissingEpisodeEnded", *INTERVIEW)


@st.composite
def tellings(draw: st.DrawFn) -> tuple[Child, list[Fact]]:
    """Many tellings of few absences within some days, in the order in which they came."""
    child, told = Child(), list[Fact]()
    hours, names = st.integers(0, 80).map(lambda n: NOW - (100 - n) * HOUR), st.sampled_from(("e1", "e2", "e3"))
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(KINDS))
        body: Json = {"episode_id": draw(names)}
        if kind == "MissingEpisodeReported":
            body["episode_type"] = draw(st.sampled_from("MA"))
        elif kind == "MissingEpisodeEnded":
            body["started_at"] = draw(st.none() | hours)
        elif kind in INTERVIEW:
            body = {"interview_id": draw(st.sampled_from(("i1", "i2", "i3"))), "episode_ref": draw(st.none() | names)}
        told.append(child.says(draw(st.sampled_from(("police", "csc", "rhi"))), kind, draw(hours), body, accepted_at=NOW))
    return child, told


def looked_at(episodes: Episodes) -> Json:
    """All that is found in them, as values that can be compared."""
    unsettled = sorted((e.started_at, e.strands[0].agency, e.strands[0].episode_id) for e in episodes.unsettled)
    held = ("every", "starts", "clocks", "ended", "ends", "loose")
    return {name: getattr(episodes, name) for name in held} | {"unsettled": unsettled}


class TestGoesOn:
    """Episodes that go on with each telling are those of all of them together."""

    @given(tellings(), st.data())
    @settings(max_examples=400, deadline=None)
    def test_the_same_as_anew(self, made: tuple[Child, list[Fact]], data: st.DataObject) -> None:
        """Whatever comes, in any order of time, and whenever it is looked at in between; the first of it may be sealed."""
        child, told = made
        first = data.draw(st.integers(0, len(told)))
        told = [replace(f, sensitivity=data.draw(st.sampled_from(("ORDINARY", "SEALED")))) for f in told[:first]] + told[first:]
        known, as_of = select(replace(child.history, facts=tuple(told[:first])), NOW), NOW
        going_on = Episodes(72)
        going_on.look(known, told=True)
        for n, fact in enumerate(told[first:], first + 1):
            assert known.take(fact)
            if not data.draw(st.booleans()) and n < len(told):
                continue
            as_of += data.draw(st.sampled_from((0, 20 * HOUR, 60 * HOUR)))
            known.as_of = as_of
            if data.draw(st.booleans()):
                going_on.look(known, told=False)
            going_on.look(known, told=True)
            anew = Episodes(72)
            anew.look(select(replace(child.history, facts=tuple(told[:n])), as_of), told=True)
            assert looked_at(anew) == looked_at(going_on)
            assert [(e.started_at, e.clock) for e in going_on.every] == going_on.clocks
