"""The child view is a pure function of a set: order, repetition and late corrections cannot change it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from domain.conclude import conclude
from domain.fold import WORKED_OUT, Fold, Folded, bare, fold, parts
from domain.matching import child_id_of
from domain.model import Conclusion, Fact, History, Json, Link, Presentation, make_id
from domain.selection import select
from domain.sharing import Reader, redact
from domain.standing import standing, standing_of
from tests.unit.children import BLANKS, CHILD, DAY, HOUR, NOW, REFERENCE, Child, r19

MENU: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("police", "VulnerabilitySubmission", {"concerns": ["BAD_HOUSING"], "exploitation": ["TRAVEL"]}),
    ("police", "VulnerabilitySubmission", {"concerns": ["DISCLOSURE_ABUSE"], "what_child_said": None}),
    ("education", "SchoolConcern", {"concerns": ["WEIGHT_LOSS", "SELF_HARM"]}),
    ("education", "SchoolAbsence", {}),
    ("education", "NoSchoolProvision", {}),
    ("education", "NoSchoolProvision", {"reason": "ENDED", "to_date": "2026-02-20"}),
    ("csc", "SocialCareStatus", {"status": "LAC"}),
    ("csc", "SocialCareStatus", {"status": "CIN"}),
    ("csc", "MissingEpisodeReported", {"episode_id": "AW-1"}),
    ("police", "MissingEpisodeReported", {"episode_id": "e1"}),
    ("police", "MissingEpisodeReported", {"episode_id": "e2"}),
    ("police", "MissingEpisodeGraded", {"episode_id": "e1", "grade": "HIGH"}),
    ("police", "MissingEpisodeEnded", {"episode_id": "e1", "found_with": ["WEAPON"], "harm": ["SUBSTANCE"]}),
    ("police", "MissingEpisodeEnded", {"episode_id": "e2"}),
    ("rhi", "ReturnHomeInterviewOffered", {"interview_id": "i1"}),
    ("rhi", "ReturnHomeInterviewCompleted", {"interview_id": "i1", "pull": ["OLDER_ASSOCIATE"]}),
    ("rhi", "ReturnHomeInterviewDeclined", {"interview_id": "i2", "episode_ref": "e1"}),
    ("health", "CpisAttendanceAlert", {}),
    ("health", "CpisStatusChanged", {"end_date": "2026-02-20"}),
    ("health", "CpisStatusChanged", {}),
    ("health", "GpRegistration", {"registered_from": "2026-02-10", "practice_ods": "N81002"}),
    ("csc", "CsogOutcome", {}),
    ("yjs", "RiskGraded", {"grade": "HIGH"}),
    ("police", "RiskGraded", {"grade": "LOW"}),
    ("health", "InvolvementRecorded", {"from_date": "2026-02-24", "to_date": "2026-02-27"}),
    ("csc", "WorkerAllocated", {"to_date": "2026-02-25"}),
)


@st.composite
def children(draw: st.DrawFn) -> History:
    """A history of up to 14 facts over 70 days, some corrected or withdrawn, with what was concluded on the way."""
    child = Child()
    for agency in ("police", "csc", "education", "health", "rhi", "yjs"):
        child.shows(agency, NOW - 100 * DAY)
    facts: list[Fact] = []
    for n in range(draw(st.integers(1, 14))):
        agency, record, body = draw(st.sampled_from(MENU))
        at = NOW - draw(st.integers(0, 70 * 24)) * HOUR
        mine = [f for f in facts if f.agency == agency and f.record == record]
        old = draw(st.sampled_from(mine)).event_id if mine and draw(st.integers(0, 3)) == 0 else None
        told = at + draw(st.sampled_from((1, 30, 400))) * HOUR
        recorded = at + draw(st.sampled_from((0, 0, 9 * 24, 50 * 24))) * HOUR
        envelope = {"supersedes": old, "accepted_at": told, "recorded_at": recorded, "sensitivity": draw(SENSITIVITY)}
        facts.append(child.says(agency, record, at, body, **envelope))
        if draw(st.integers(0, 5)) == 0:
            facts.append(child.retracts(draw(st.sampled_from(facts)), at + DAY))
        if n % 5 == 4:
            child.concludes(NOW)
    return child.history


LONGS = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from((-(1 << 63), (1 << 63) - 1, 0, NOW * 1000)))
DAYS = st.one_of(st.dates().map(lambda d: d.isoformat()), st.sampled_from(("0001-01-01", "9999-12-31", "2026-02-25")))
ODD: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(
    ("last_seen_at", "started_at", "ended_at", "offered_at", "declined_at", "completed_at", "accessed_at"), LONGS
) | dict.fromkeys(
    ("from_date", "to_date", "start_date", "end_date", "registered_from", "csog_date", "review_date", "gp_action_due"), DAYS
)
SENSITIVITY = st.sampled_from(("ORDINARY", "ORDINARY", "ORDINARY", "SEALED"))


def broken(*_: object) -> None:
    """A rule with a defect."""
    raise KeyError("a defect of ours")


def text(view: Json) -> str:
    """The bytes of a view, its own key order kept. No rule of ours may fail while it is made."""
    assert view["evaluated_at"] is not None
    return json.dumps(view, ensure_ascii=False)


class TestSet:
    """I2: byte for byte."""

    @settings(max_examples=150, deadline=None)
    @given(children(), st.randoms(use_true_random=False))
    def test_any_order_and_twice(self, history: History, rng: random.Random) -> None:
        """Facts, links, presentations and conclusions shuffled, and each told again, give the same bytes."""

        def mixed(items: tuple[Any, ...]) -> tuple[Any, ...]:
            doubled = [*items, *rng.choices(items, k=3)] if items else []
            rng.shuffle(doubled)
            return tuple(doubled)

        h = history
        other = replace(
            h,
            facts=mixed(h.facts),
            links=mixed(h.links),
            presentations=mixed(h.presentations),
            conclusions=mixed(h.conclusions),
        )
        assert text(fold(history, REFERENCE, NOW)) == text(fold(other, REFERENCE, NOW))

    @settings(max_examples=100, deadline=None)
    @given(children(), st.integers(0, 90 * 24))
    def test_what_comes_later_is_not_known_before(self, history: History, hours: int) -> None:
        """A view as known at T is the view of what had been accepted by T, whatever comes after."""
        limit = NOW - 80 * DAY + hours * HOUR
        then = replace(
            history,
            facts=tuple(f for f in history.facts if f.accepted_at <= limit),
            conclusions=tuple(c for c in history.conclusions if c.accepted_at <= limit),
        )
        assert text(fold(then, REFERENCE, NOW, limit)) == text(fold(history, REFERENCE, NOW, limit))

    @settings(max_examples=100, deadline=None)
    @given(children(), st.integers(1, 99), st.integers(0, 60 * 24))
    def test_nothing_changes_before_it_says_so(self, history: History, part: int, back: int) -> None:
        """Between `as_of` and `changes_at` the view is the same but for its own date."""
        as_of = NOW - back * HOUR
        view = fold(history, REFERENCE, as_of)
        until = view["changes_at"] or as_of + 900 * DAY
        raised = [c.accepted_at for c in history.conclusions if c.accepted_at > as_of]
        later = as_of + (min([until, *raised]) - 1 - as_of) * part // 100
        assert later >= as_of
        again = fold(history, REFERENCE, later)
        assert text(view | {"as_of": 0, "evaluated_at": 0}) == text(again | {"as_of": 0, "evaluated_at": 0})

    def test_an_episode_whose_end_is_sealed(self) -> None:
        """To whom that is hidden it goes on, and so do its days."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 9 * DAY + HOUR)
        child.says("police", "MissingEpisodeEnded", NOW - 2 * DAY, sensitivity="SEALED")
        view, later = child.view(), child.view(NOW + 2 * HOUR)
        assert [8, 9] == [v["openly"]["missing"][0]["days"] for v in (view, later)]
        assert NOW + HOUR == view["changes_at"]

    @settings(max_examples=100, deadline=None)
    @given(children(), st.integers(1, 99), st.integers(0, 60 * 24))
    def test_where_it_stands_changes_when_it_is_due(self, history: History, part: int, back: int) -> None:
        """Until the clock is to look at a child again its row says the same but for its own date: nobody need fold it before."""
        as_of = NOW - back * HOUR
        stands = standing(history, REFERENCE, as_of)
        until = as_of + 900 * DAY if stands.due_at is None else stands.due_at
        raised = [c.accepted_at for c in history.conclusions if c.accepted_at > as_of]
        later = as_of + (min([until, *raised]) - 1 - as_of) * part // 100
        if later >= as_of:
            assert stands == replace(standing(history, REFERENCE, later), as_of=as_of)

    @settings(max_examples=50, deadline=None)
    @given(children())
    def test_where_it_stands_is_what_the_fold_says(self, history: History) -> None:
        """Worked out by itself, as a rebuild does, or out of a fold."""
        assert standing_of(parts(history, REFERENCE, NOW)) == standing(history, REFERENCE, NOW)

    def test_what_the_board_can_count(self) -> None:
        """Episodes of the year before the last one: whenever the board is looked at, it counts none of before."""
        child = Child()
        for n, days in enumerate((800, 400, 300, 1)):
            child.says("police", "MissingEpisodeReported", NOW - days * DAY, {"episode_id": f"e{n}"})
        begun = [at for at, _ in standing(child.history, REFERENCE, NOW).counts["episodes"]]
        assert [NOW - 300 * DAY, NOW - DAY] == begun

    def test_what_the_board_can_count_by_a_clock_that_is_ahead(self) -> None:
        """An episode that is told to begin within the hour puts none out of the year of a board that is looked at now."""
        child, ahead = Child(), 55 * HOUR // 60
        for name, at in (("a", NOW - 365 * DAY), ("b", NOW + ahead)):
            child.says("police", "MissingEpisodeReported", at, {"episode_id": name, "last_seen_at": at}, accepted_at=NOW)
        begun = [at for at, _ in standing(child.history, REFERENCE, NOW).counts["episodes"]]
        assert [NOW - 365 * DAY, NOW + ahead] == begun


def parts_of(folded: Folded) -> Json:
    """All that conclusions and tables are drawn from, as values that can be compared."""
    known, s, found = folded.known, folded.situation, folded.risk
    return {
        "shown": known.presentations, "links": known.links, "facts": known.facts,
        "current": {k: v for k, v in known.current.items() if v}, "states": known.states,
        "in_force": known.in_force, "everything": known.everything, "version": known.version, "next": known.next_fact_at,
        "conclusions": known.conclusions, "outcomes": known.outcomes, "episodes": s.missing.every, "loose": s.missing.loose,
        "ended": s.missing.ended, "ends": s.missing.ends, "starts": s.missing.starts, "clocks": s.missing.clocks,
        "unsettled": sorted(s.missing.unsettled, key=lambda e: (e.started_at, e.strands[0].agency, e.strands[0].episode_id)),
        "hits": [(h.rule.id, h.facts, h.points, h.agencies) for h in found.hits],
        "risk": (found.points, found.harm, found.basis, found.changes_at), "raised": folded.recommendations,
        "messages": folded.messages, "standing": standing_of(folded),
    }  # fmt: skip


class TestGoesOn:
    """A fold that goes on with each thing that is told is the fold of all of it."""

    @given(children(), st.data())
    @settings(max_examples=300, deadline=None)
    def test_the_same_as_anew(self, history: History, data: st.DataObject) -> None:
        """Facts in the order in which they were accepted, what follows from each, and what people decide in between."""
        told, concluded, at, went_on = list[Fact](), list[Conclusion](), 0, 0
        fold: Fold | None = None
        at_once = data.draw(st.booleans())
        shown = {p.presentation_id: p for p in history.presentations}
        history = replace(history, presentations=(), links=())
        for n, fact in enumerate(sorted(history.facts, key=lambda f: (f.accepted_at, f.event_id))):
            step = 0 if at_once else data.draw(st.sampled_from((0, 0, HOUR, DAY, 30 * DAY, 100 * DAY)))
            at = NOW if at_once else max(at, fact.accepted_at) + step
            number = 1_000 + 2 * n
            fact = replace(fact, number=number, accepted_at=at)  # noqa: PLW2901  as `unify` takes it: time never goes back
            told.append(fact)
            if (first := shown.pop(fact.presentation_id, None)) is not None:
                history = shows(history, replace(first, number=number, accepted_at=at), data)
                fold = fold if fold is not None and fold.meet(history.presentations[-1], history.links[-1]) else None
            fold = fold if fold is not None and fold.take(fact) else None
            went_on += fold is not None
            now = replace(history, facts=tuple(told), conclusions=tuple(concluded))
            fold = fold or Fold(select(now, at), REFERENCE)
            anew, going_on = parts(now, REFERENCE, at), fold.at(at)
            assert parts_of(anew) == parts_of(going_on)
            found = conclude(going_on, REFERENCE, at)
            assert found == conclude(anew, REFERENCE, at)
            fired = conclude(parts(now, REFERENCE, at), REFERENCE, at, fired=at)
            assert fired == conclude(going_on, REFERENCE, at, fired=at)
            said = [(number, x) for x in (*found, *doubts(first))] + [
                (number + 1, x) for x in (*people(going_on, at, data), *practice(going_on, data))
            ]
            for by, (kind, what) in said:
                concluded.append(Conclusion(by, at, kind, what))
                fold = fold if fold is not None and fold.learn(concluded[-1]) else None
            if fold is not None:
                now = replace(now, conclusions=tuple(concluded))
                assert parts_of(parts(now, REFERENCE, at)) == parts_of(fold.at(at))
                at += 0 if at_once else data.draw(st.sampled_from((0, 0, HOUR, DAY, 30 * DAY)))  # and nothing is told meanwhile
                anew, going_on = parts(now, REFERENCE, at), fold.at(at)
                assert parts_of(anew) == parts_of(going_on)
                assert conclude(anew, REFERENCE, at) == conclude(going_on, REFERENCE, at)
        event("went on" if went_on else "never went on")

    @staticmethod
    def told(child: Child) -> Fold:
        """The fold of a child of whom a CSOG outcome was told, with what is concluded from it; nothing more is missing."""
        fold = Fold(select(child.history, NOW), REFERENCE)
        for kind, data in conclude(fold.at(NOW), REFERENCE, NOW):
            assert fold.learn(Conclusion(child.number + 1, NOW, kind, data))
        assert [] == conclude(fold.at(NOW), REFERENCE, NOW)
        return fold

    def test_a_message_that_nobody_reads(self) -> None:
        """That nothing was missing before does not keep the clock from saying that it is unread."""
        child = Child()
        child.says("health", "GpRegistration", NOW - 300 * DAY)
        child.says("csc", "CsogOutcome", NOW - DAY)
        fold = self.told(child)
        (message,) = fold.at(NOW).messages.live
        due = message.raised.data["due_at"]
        found = conclude(fold.at(due), REFERENCE, due, fired=due)
        assert [("gp_exception", "UNREAD")] == [(kind, data["why"]) for kind, data in found if kind.startswith("gp")]

    def test_a_number_that_is_traced_later(self) -> None:
        """What a message lacked was the number, and now is the practice: whoever mends it is told of that."""
        child = Child(nhs_number=None)
        child.says("csc", "CsogOutcome", NOW - DAY)
        fold = self.told(child)
        child.number += 10
        child.shows("yjs", NOW, nhs_number="9990000018", nhs_number_status="01")
        assert fold.meet(child.history.presentations[-1], child.history.links[-1])
        found = conclude(fold.at(NOW), REFERENCE, NOW)
        assert ["gp_withdrawn", "gp_message", "gp_exception"] == [kind for kind, _ in found]
        assert "NO_PRACTICE" == found[2][1]["why"]

    def test_a_status_from_tomorrow_on(self) -> None:
        """Who is away at a high grade is looked at again on each day, also when nothing new is told."""
        child = Child()
        for record, body in (("MissingEpisodeReported", {}), ("MissingEpisodeGraded", {"grade": "HIGH"})):
            child.says("police", record, NOW - 3 * HOUR, body)
        child.says("csc", "SocialCareStatus", NOW - 2 * HOUR, {"status": "CP", "from_date": "2026-02-26"})
        fold = Fold(select(child.history, NOW), REFERENCE)
        assert not fold.at(NOW).risk.harm
        assert fold.at(NOW + DAY).risk.harm

    def test_a_span_without_school_that_ends_today(self) -> None:
        """Tomorrow another that is shorter takes its place, also when nothing new is told."""
        child = Child()
        child.says("education", "NoSchoolProvision", NOW - 40 * DAY, {"from_date": "2026-01-05", "to_date": "2026-02-25"})
        child.says("education", "NoSchoolProvision", NOW - DAY, {"from_date": "2026-02-24", "to_date": None})
        fold = Fold(select(child.history, NOW), REFERENCE)
        points = [next(h.points for h in fold.at(at).risk.hits if h.rule.kind == "no_provision") for at in (NOW, NOW + DAY)]
        assert [3, 1] == points

    def test_a_practice_from_tomorrow_on(self) -> None:
        """Whatever is asked on the next day first, not only the clock, finds that the message goes to the wrong practice."""
        child = Child()
        child.says("health", "GpRegistration", NOW - 300 * DAY)
        child.says("health", "GpRegistration", NOW - DAY, {"practice_ods": "N81002", "registered_from": "2026-02-26"})
        child.says("csc", "CsogOutcome", NOW - DAY)
        fold, later = self.told(child), NOW + DAY
        found = conclude(fold.at(later), REFERENCE, later)
        assert [("gp_withdrawn", "N81001"), ("gp_message", "N81002")] == [(kind, data["practice_ods"]) for kind, data in found]

    def test_what_an_older_release_does_not_understand(self) -> None:
        """A conclusion of a newer one is a failure of this child's fold, time and again, and never of whoever passes it on."""
        child = r19()
        child.concludes()
        fold = Fold(select(child.history, NOW), REFERENCE)
        (rec,) = fold.at(NOW).recommendations
        about = {"child_id": CHILD, "recommendation_id": rec.recommendation_id}
        assert fold.learn(Conclusion(child.number + 1, NOW, "of a newer release", about))
        for _ in range(2):
            with pytest.raises(KeyError):
                fold.at(NOW)


def shows(history: History, first: Presentation, data: st.DataObject) -> History:
    """A record joins in, with the birth date that the others have or another one."""
    born = data.draw(st.sampled_from((first.fields["birth_date"],) * 3 + ("2008-02-01", "2013-09-09", None)))
    first = replace(first, fields={**first.fields, "birth_date": born})
    link = Link(first.presentation_id, CHILD, first.number, first.accepted_at, None, None, "NHS_NUMBER", (), None)
    return replace(history, presentations=(*history.presentations, first), links=(*history.links, link))


def doubts(first: Presentation | None) -> list[tuple[str, Json]]:
    """A question about a record that came, whether it is another child's as well."""
    if first is None or first.agency not in {"police", "yjs"}:
        return []
    sides = {"presentation_id": first.presentation_id, "anchor": make_id("presentation", "elsewhere", 1)}
    return [("possible_match", {"child_id": CHILD, "match_id": f"m{first.agency}", "evidence": [], **sides})]


def practice(folded: Folded, data: st.DataObject) -> list[tuple[str, Json]]:
    """What a practice may have said of a message."""
    if not folded.messages.live or not data.draw(st.booleans()):
        return []
    about = {"message_id": data.draw(st.sampled_from(folded.messages.live)).message_id, "child_id": CHILD}
    return [
        ("gp_receipt", about | {"state": data.draw(st.sampled_from(("ACCEPTED", "READ", "CODED", "REJECTED"))), "reason": None})
    ]


def people(folded: Folded, at: int, data: st.DataObject) -> list[tuple[str, Json]]:
    """What people may have decided about the last recommendation."""
    if not folded.recommendations or not data.draw(st.booleans()):
        return []
    rec = folded.recommendations[-1]
    about = {"recommendation_id": rec.recommendation_id, "child_id": CHILD, "by": "a", "by_role": "icart_manager"}
    if rec.open:
        kind = data.draw(st.sampled_from(("convened", "declined")))
        return [(kind, about | {"rationale": "", "reason": "NO", "meeting_at": None, "held_due_at": at + DAY})]
    if rec.decision == "CONVENED":
        held_at = at + data.draw(st.sampled_from((-DAY, 0, DAY)))
        return [("held", about | {"held_at": held_at, "attended": [], "outcome": "S47", "outcome_text": ""})]
    return []


class TestCorrections:
    """Corrections are facts too, by the owning agency only, in any order of arrival."""

    @staticmethod
    def states(child: Child) -> list[str]:
        """States, oldest fact first."""
        return [c["state"] for c in reversed(child.view()["chronology"])]

    def test_chain(self) -> None:
        """Each newer telling replaces the one before; all stay readable."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        b = child.says("police", "VulnerabilitySubmission", NOW - 8 * DAY, supersedes=a.event_id)
        child.says("police", "VulnerabilitySubmission", NOW - 7 * DAY, supersedes=b.event_id)
        assert ["SUPERSEDED", "SUPERSEDED", "CURRENT"] == self.states(child)
        assert 1 == len(child.view()["vpas"])

    def test_withdrawing_the_newest_does_not_bring_back_the_old(self) -> None:
        """What an agency replaced and then withdrew is gone as a whole."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        b = child.says("police", "VulnerabilitySubmission", NOW - 8 * DAY, supersedes=a.event_id)
        child.retracts(b, NOW - DAY)
        assert ["SUPERSEDED", "RETRACTED", "CURRENT"] == self.states(child)
        assert [] == child.view()["vpas"]

    def test_a_withdrawn_retraction(self) -> None:
        """Then the fact stands again."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        r = child.retracts(a, NOW - 2 * DAY)
        assert "RETRACTED" == self.states(child)[0]
        child.retracts(r, NOW - DAY)
        assert "CURRENT" == self.states(child)[0]

    def test_a_ring_of_retractions(self) -> None:
        """Two retractions of each other harm no other fact, and the fold ends."""
        child = Child()
        child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        child.says("police", "Retraction", NOW - 2 * DAY, retracts="r2", event_id="r1")
        child.says("police", "Retraction", NOW - DAY, retracts="r1", event_id="r2")
        assert "CURRENT" == self.states(child)[0]

    def test_only_its_own_agency(self) -> None:
        """Another agency's correction changes nothing."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        child.says("education", "SchoolConcern", NOW - 8 * DAY, supersedes=a.event_id)
        child.says("csc", "Retraction", NOW - 7 * DAY, retracts=a.event_id)
        assert 1 == len(child.view()["vpas"])

    def test_before_its_target(self) -> None:
        """A retraction that arrives first acts when its target arrives."""
        child = Child()
        child.says("police", "Retraction", NOW - 9 * DAY, retracts="late")
        child.says("police", "VulnerabilitySubmission", NOW - 8 * DAY, event_id="late")
        assert [] == child.view()["vpas"]

    def test_moved_to_another_record(self) -> None:
        """A correction filed under another presentation reaches this child as a conclusion."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        child.adds([("replaced", {"child_id": child_id_of(a.presentation_id), "event_id": a.event_id, "by_event_id": "x"})])
        assert ["SUPERSEDED"] == self.states(child)

    def test_a_correction_says_what_was_true(self) -> None:
        """A view of the past as known now uses the correction; as known then, it does not."""
        child = Child()
        a = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY, {"concerns": ["NEGLECT"]})
        child.says(
            "police", "VulnerabilitySubmission", NOW - 9 * DAY, {"concerns": ["ONLINE"]},
            supersedes=a.event_id, accepted_at=NOW - DAY,
        )  # fmt: skip
        assert [["ONLINE"]] == [v["concerns"] for v in child.view(NOW - 5 * DAY)["vpas"]]
        assert [["NEGLECT"]] == [v["concerns"] for v in child.view(NOW - 5 * DAY, NOW - 2 * DAY)["vpas"]]


class TestTime:
    """What was true, and what we knew."""

    def test_known_from_the_later_of_fact_and_link(self) -> None:
        """A fact on a presentation linked later is known from the link on; never by the agency's own time."""
        child = Child()
        fact = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        link = child.history.links[0]
        child.history = replace(child.history, links=(replace(link, from_at=NOW - 3 * DAY, from_number=9),))
        assert [] == child.view(NOW, NOW - 4 * DAY)["chronology"]
        assert [fact.event_id] == [c["event_id"] for c in child.view(NOW, NOW - 3 * DAY)["chronology"]]

    def test_moved_away(self) -> None:
        """After an un-merge the fact is not shown here (I5), and was in the past."""
        child = Child()
        child.says("health", "CpisAttendanceAlert", NOW - 20 * DAY)
        fact = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        child.moves(fact.presentation_id, "other", NOW - DAY)
        assert [] == child.view()["vpas"]
        assert ["health"] == [i["agency"] for i in child.view()["identity"]]
        assert 1 == len(child.view(NOW, NOW - 2 * DAY)["vpas"])

    def test_merged_away(self) -> None:
        """A child whose every presentation has moved says where to."""
        child = Child()
        fact = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        assert child.view()["merged_into"] is None
        child.moves(fact.presentation_id, "other", NOW - DAY)
        assert "other" == child.view()["merged_into"]
        assert {"given": None, "family": None} == child.view()["name"]

    def test_a_sender_with_a_fast_clock(self) -> None:
        """What has been said has happened: an instant ahead of our acceptance counts at once."""
        child = Child()
        child.says("police", "VulnerabilitySubmission", NOW + HOUR // 2, accepted_at=NOW)
        assert 1 == len(child.view()["vpas"])

    def test_version(self) -> None:
        """The highest entry the view rests on."""
        child = r19()
        before = child.view()["version"]
        number = child.adds([("case_taken", {"child_id": CHILD, "by": "a", "by_role": "icart_manager", "taken": True})])
        assert (number, number - 1) == (child.view()["version"], before)

    def test_version_of_a_child_that_was_merged_away(self) -> None:
        """Its open page is told that something changed: the version never falls."""
        child = Child()
        fact = child.says("police", "VulnerabilitySubmission", NOW - 9 * DAY)
        before = child.view()["version"]
        child.moves(fact.presentation_id, "other", NOW - DAY)
        assert child.number == child.view()["version"] > before
        assert before == child.view(NOW, NOW - 2 * DAY)["version"]

    def test_version_says_nothing_of_what_is_hidden(self) -> None:
        """A sealed fact, its record and what is concluded of it alone leave the version that every reader is shown."""
        child = r19()
        before = child.view()["version"]
        pid = child.shows("probation", NOW - HOUR)
        sealed = child.says("probation", "RiskGraded", NOW - HOUR, sensitivity="SEALED", presentation_id=pid)
        vpa = child.says("police", "VulnerabilitySubmission", NOW - HOUR, {"what_child_said": None}, sensitivity="SEALED")
        child.adds([("quality_defect", {"child_id": CHILD, "event_id": vpa.event_id, "defect": "VOICE_MISSING"})])
        child.adds([("not_evaluated", {"child_id": CHILD, "event_id": sealed.event_id, "where": "KeyError"})])
        about = {"match_id": "m1", "presentation_id": "elsewhere", "anchor": pid, "child_id": CHILD}
        child.adds([("possible_match", about | {"evidence": ["same full name"]})])
        assert before == child.view()["version"]
        shown = child.says("probation", "RiskGraded", NOW - HOUR, presentation_id=pid)
        assert shown.number == child.view()["version"]

    @settings(max_examples=60, deadline=None)
    @given(children(), st.integers(0, 90 * 24))
    def test_version_never_falls(self, history: History, hours: int) -> None:
        """What was known earlier never has a higher version."""
        limit = NOW - 80 * DAY + hours * HOUR
        assert fold(history, REFERENCE, NOW, limit)["version"] <= fold(history, REFERENCE, NOW)["version"]


class TestIdentity:
    """Who says what."""

    def test_best_source(self) -> None:
        """A traced number goes before a mere name; who says the same is listed."""
        child = Child()
        child.shows("police", given_name="Rob", family_name="Tset")
        child.shows("health")
        child.shows("education")
        view = child.view()
        assert {"given": "Robin", "family": "Test"} == view["name"]
        assert ["education", "health"] == view["said_by"]["family_name"]

    def test_identifiers(self) -> None:
        """A mistyped number is kept, marked, and trusted by nobody."""
        child = Child(nhs_number="9990000019")
        child.shows("health")
        assert [(False, False)] == [(i["valid"], i["trusted"]) for i in child.view()["identity"][0]["identifiers"]]

    def test_possible_matches(self) -> None:
        """Open ones show the other presentation; decided ones say who and why."""
        child, other = Child(), Child()
        here = child.shows("health")
        other.number = 50
        there = other.shows("police")
        shown = other.history.presentations[0]
        about = {"match_id": "m1", "presentation_id": there, "anchor": here, "child_id": CHILD}
        child.adds([("possible_match", about | {"evidence": ["same full name"]})], NOW - DAY)
        child.history = replace(child.history, others={"m1": shown})
        item = child.view()["possible_matches"][0]
        assert (there, "police", "OPEN", ["same full name"]) == (
            item["presentation_id"], item["agency"], item["state"], item["evidence"],
        )  # fmt: skip
        assert ["OWNER"] == [x["scope"] for x in item["sharing_any"]]  # its facts are not to hand: for its owner alone
        child.adds([("match_rejected", about | {"by": "a", "by_role": "icart_manager", "rationale": "twins"})])
        assert [] == child.view()["possible_matches"]
        assert ["twins"] == [m["rationale"] for m in child.view()["rejected_matches"]]


class TestParts:
    """Involvement, status, practice, grades, education, CP-IS."""

    def test_currency_names_who_never_sent(self) -> None:
        """Quiet is not safe: every agency is listed, with null for never."""
        child = r19()
        current = {c["agency"]: c for c in child.view()["currency"]}
        assert 7 == len(current)
        assert (None, 0) == (current["health"]["last_received"], current["health"]["facts"])
        assert NOW - 4 * DAY + HOUR == current["education"]["last_received"]

    def test_status_and_practice(self) -> None:
        """The newest status; the registration that has begun."""
        child = Child()
        child.says("csc", "SocialCareStatus", NOW - 9 * DAY, {"status": "CIN"})
        child.says("csc", "SocialCareStatus", NOW - 2 * DAY, {"status": "CP", "cp_category": "NEGLECT"})
        child.says("health", "GpRegistration", NOW - 9 * DAY)
        child.says("health", "GpRegistration", NOW - DAY, {"practice_ods": "N81002", "registered_from": "2026-03-01"})
        view = child.view()
        assert ("CP", "Neglect", 2) == (view["status"]["code"], view["status"]["cp_category_label"], len(view["status_history"]))
        assert "N81001" == view["practice"]["ods"]
        assert "N81002" == child.view(NOW + 9 * DAY)["practice"]["ods"]

    def test_grades_differ(self) -> None:
        """R6: each agency's own grade, and by how many levels they differ."""
        child = Child()
        child.says("police", "RiskGraded", NOW - 9 * DAY, {"grade": "LOW"})
        child.says("csc", "RiskGraded", NOW - 8 * DAY, {"grade": "HIGH"})
        child.says("csc", "RiskGraded", NOW - 8 * DAY, {"grade": "LOW", "scale": "OVERALL"})
        view = child.view()
        assert 3 == len(view["grades"])
        assert [(["csc", "police"], "EXPLOITATION", 2)] == [
            (d["agencies"], d["scale"], d["levels"]) for d in view["grade_differences"]
        ]

    def test_school_days_without_education(self) -> None:
        """Counted on the school calendar; a telling that it ended closes the span."""
        child = Child()
        child.says("education", "NoSchoolProvision", NOW - 20 * DAY, {"from_date": "2026-02-09"})
        assert 13 == child.view()["education"]["no_provision"][0]["school_days"]
        ended = {"from_date": "2026-02-09", "to_date": "2026-02-13", "reason": "ENDED"}
        child.says("education", "NoSchoolProvision", NOW - 2 * DAY, ended)
        assert [("2026-02-13", 5)] == [(g["to"], g["school_days"]) for g in child.view()["education"]["no_provision"]]

    @pytest.mark.parametrize(("role", "withheld"), [("icart_education", True), ("icart_manager", False)])
    def test_an_end_that_another_fact_told(self, role: str, *, withheld: bool) -> None:
        """The span is everybody's, its end and length only theirs who may see the telling that closed it."""
        child = Child()
        child.says("csc", "NoSchoolProvision", NOW - 20 * DAY, {"from_date": "2026-02-09"})
        ended = {"from_date": "2026-02-09", "to_date": "2026-02-13", "reason": "ENDED"}
        child.says("csc", "NoSchoolProvision", NOW - 2 * DAY, ended, scope="OWNER")
        (gap,) = redact(child.view(), Reader(role))["education"]["no_provision"]
        told = (None, None, ["school_days", "to"]) if withheld else ("2026-02-13", 5, [])
        assert ("2026-02-09", *told) == (gap["from"], gap["to"], gap["school_days"], gap.get("withheld_fields", []))
        assert withheld is ("2026-02-13" not in str(gap))

    @pytest.mark.parametrize(("own", "ended", "parts"), [("2026-02-12", "2026-02-13", 0), ("2026-02-20", "2026-02-13", 1)])
    def test_the_first_of_two_ends(self, own: str, ended: str, parts: int) -> None:
        """The span's own end is no part of another fact's."""
        child = Child()
        child.says("education", "NoSchoolProvision", NOW - 20 * DAY, {"from_date": "2026-02-09", "to_date": own})
        over = {"from_date": "2026-02-09", "to_date": ended, "reason": "ENDED"}
        child.says("education", "NoSchoolProvision", NOW - 2 * DAY, over)
        (gap,) = child.view()["education"]["no_provision"]
        assert (min(own, ended), parts) == (gap["to"], len(gap.get("parts", ())))

    def test_cpis(self) -> None:
        """Plans and attendance alerts."""
        child = Child()
        child.says("health", "CpisStatusChanged", NOW - 9 * DAY)
        child.says("health", "CpisAttendanceAlert", NOW - 2 * DAY)
        cpis = child.view()["cpis"]
        assert ("Child protection plan", "Emergency department clinician") == (
            cpis["status"][0]["label"], cpis["alerts"][0]["role_label"],
        )  # fmt: skip

    def test_own_failure_is_said(self) -> None:
        """A fact that our rules failed on is named."""
        child = r19()
        child.adds([("not_evaluated", {"child_id": CHILD, "event_id": "e", "where": "KeyError"})])
        assert ["e"] == child.view()["not_evaluated"]

    @pytest.mark.parametrize("where", ["risk.evaluate", "missing.Episodes.look", "risk.shown", "vpas", "cpis"])
    def test_facts_are_shown_when_a_rule_of_ours_fails(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        """Chronology, identity and recommendations stay; what had to be worked out is null, not empty; the same every time."""
        child = r19()
        child.concludes()
        good = child.view()
        module, _, name = where.rpartition(".")
        monkeypatch.setattr(f"domain.fold.{module}.{name}" if module else f"domain.fold.{name}", broken)
        child.says("police", "VulnerabilitySubmission", NOW - DAY)
        shown = child.view()
        assert good.keys() == shown.keys()
        assert shown["evaluated_at"] is None
        assert {k: None for k in WORKED_OUT if k != "due_at"} == {k: shown[k] for k in WORKED_OUT if k != "due_at"}
        assert len(good["chronology"]) + 1 == len(shown["chronology"])
        assert good["recommendations"] == shown["recommendations"]
        assert shown["recommendations"][0]["due_at"] == shown["due_at"]
        assert shown == child.view()

    @pytest.mark.parametrize(
        ("record", "end"), [("WorkerAllocated", "to_date"), ("InvolvementRecorded", "to_date"), ("CpisStatusChanged", "end_date")]
    )
    def test_the_last_day_there_is(self, record: str, end: str) -> None:
        """What systems write for `no end` is no defect: the child is evaluated, and a running clock stays."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 6 * HOUR)
        child.says("police", "MissingEpisodeEnded", NOW - HOUR)
        child.says("csc", record, NOW - 2 * HOUR, {end: "9999-12-31"})
        view = child.view()
        assert (NOW, NOW + 71 * HOUR) == (view["evaluated_at"], view["due_at"])

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_whatever_the_facts_hold(self, data: st.DataObject) -> None:
        """Any instant that a long can hold and any day that a calendar has: the child is evaluated, columns hold the answer."""
        child = Child()
        for record, body in BLANKS.items():
            if record != "Retraction":
                odd = {k: data.draw(ODD[k]) for k in body if k in ODD}
                child.says(data.draw(st.sampled_from(("police", "csc"))), record, NOW - DAY, odd)
        view = child.view()
        assert view["evaluated_at"] == NOW
        for key in ("due_at", "changes_at"):
            assert view[key] is None or abs(view[key]) < 1 << 62
        json.dumps(bare(child.history, REFERENCE, NOW))
        child.concludes()
        assert len(BLANKS) - 1 == len(view["chronology"])

    def test_ids_are_stable(self) -> None:
        """The id of what an id is about never changes (I3)."""
        assert make_id("a", 1) == make_id("a", 1) != make_id("a1")
        assert Conclusion(1, 1, "x", {}).number == 1
