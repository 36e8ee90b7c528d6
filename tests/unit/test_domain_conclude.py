"""What should be, compared with what is: conclusions are state-based, so concluding twice adds nothing (I3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from domain.conclude import conclude
from domain.fold import parts
from domain.matching import child_id_of
from domain.model import History, make_id
from tests.unit.children import CHILD, DAY, HOUR, NOW, REFERENCE, WHO, Child, kinds, r19
from tests.unit.test_domain_fold import children

VPAS, SCHOOL = "VulnerabilitySubmission", "SchoolConcern"


def decide(child: Child, kind: str, now: int = NOW, **data: Any) -> None:
    """A person decides on the newest recommendation."""
    rid = child.view(now)["recommendations"][0]["recommendation_id"]
    child.adds(
        [(kind, {**WHO, "recommendation_id": rid, "rationale": "why", "reason": "OTHER_RESPONSE", "meeting_at": None, **data})],
        now,
    )


def declined() -> Child:
    """The R19 child; the manager declined the day before."""
    child = r19()
    child.concludes(NOW - 2 * DAY)
    decide(child, "declined", NOW - DAY)
    assert [] == child.concludes(NOW - DAY)
    return child


class TestIdempotent:
    """Concluding is complete at once."""

    @settings(max_examples=120, deadline=None)
    @given(children())
    def test_twice(self, history: History) -> None:
        """After the conclusions are added there are none left."""
        child = Child()
        child.history, child.number = history, 900
        child.concludes(fired=NOW)
        assert [] == child.concludes(fired=NOW)
        assert [] == child.concludes()

    @settings(max_examples=60, deadline=None)
    @given(children())
    def test_one_open_recommendation(self, history: History) -> None:
        """At most one at a time."""
        child = Child()
        child.history, child.number = history, 900
        child.concludes()
        assert sum(r["open"] for r in child.view()["recommendations"]) <= 1


class TestRaising:
    """R1, R3: also on an open case; never silently dropped."""

    def test_points(self) -> None:
        """One working day; the reasons name both agencies."""
        child = r19()
        found = dict(child.concludes())
        rec = found["recommended"]
        assert ("POINTS", 15, "halton-risk-1") == (rec["basis"], rec["points"], rec["policy"])
        assert NOW + DAY == rec["due_at"]
        assert {"education", "police"} == {a for r in rec["reasons"] for a in r["agencies"]}
        assert all("text" not in r for r in rec["reasons"])

    def test_harm(self) -> None:
        """Four clock hours, whatever the points."""
        child = Child()
        child.says("police", VPAS, NOW - DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        rec = dict(child.concludes())["recommended"]
        assert ("HARM", ["harm-disclosure"], NOW + 4 * HOUR) == (rec["basis"], rec["triggers"], rec["due_at"])

    def test_the_id_is_of_what_it_is_about(self) -> None:
        """Raised again from the same facts, it is the same recommendation."""
        assert r19().concludes()[0][1]["recommendation_id"] == r19().concludes(NOW + HOUR)[0][1]["recommendation_id"]

    def test_nothing_below_the_threshold(self) -> None:
        """Four points are four points."""
        child = Child()
        child.says("police", VPAS, NOW - DAY, {"concerns": ["BAD_HOUSING", "CRIME_VICTIM"]})
        assert [] == child.concludes()

    def test_a_harm_trigger_makes_an_open_one_urgent(self) -> None:
        """The same recommendation, now HARM, due in four hours: a decision on the older version is stale."""
        child = r19()
        first = dict(child.concludes(NOW - HOUR))["recommended"]
        child.says("police", VPAS, NOW - HOUR, {"concerns": ["DISCLOSURE_ABUSE"]})
        again = dict(child.concludes())["recommended"]
        assert (first["recommendation_id"], "HARM", NOW + 4 * HOUR) == (
            again["recommendation_id"],
            again["basis"],
            again["due_at"],
        )
        (rec,) = child.view()["recommendations"]
        assert ("OPEN", "HARM", child.number) == (rec["state"], rec["basis"], rec["version"])

    def test_historic_and_over(self) -> None:
        """An imported year raises nothing that is over."""
        child = Child()
        child.says(
            "police",
            VPAS,
            NOW - 300 * DAY,
            {"concerns": ["DISCLOSURE_ABUSE"], "what_child_said": None},
            accepted_at=NOW,
            historic=True,
        )
        assert [] == child.concludes()

    def test_historic_and_not_over(self) -> None:
        """What is imported and still counts does raise."""
        child = Child()
        child.says("police", VPAS, NOW - 3 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]}, accepted_at=NOW, historic=True)
        assert ["recommended"] == kinds(child.concludes())


class TestAfterADecision:
    """Only a new harm trigger, a new agency or more new points raise again."""

    def test_the_same_facts(self) -> None:
        """No."""
        assert [] == declined().concludes()

    def test_a_few_more_points_of_the_same_agencies(self) -> None:
        """Two points: no. Four: yes."""
        child = declined()
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["NEGLECT"]})
        assert [] == child.concludes()
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["MENTAL_HEALTH"]})
        assert ["recommended"] == kinds(child.concludes())

    def test_a_new_agency(self) -> None:
        """Yes."""
        child = declined()
        child.says("health", "CpisAttendanceAlert", NOW - HOUR)
        assert ["recommended"] == kinds(child.concludes())

    def test_a_new_harm_trigger(self) -> None:
        """Yes, once."""
        child = declined()
        child.says("police", VPAS, NOW - HOUR, {"concerns": ["DISCLOSURE_ABUSE"]})
        assert ["recommended"] == kinds(child.concludes())
        decide(child, "declined")
        assert [] == child.concludes()

    def test_a_corrected_spelling_is_no_news(self) -> None:
        """A trigger told again in a correction was decided on already; one that it adds was not."""
        child = Child()
        old = child.says("police", VPAS, NOW - 3 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        child.concludes(NOW - 2 * DAY)
        decide(child, "declined", NOW - 2 * DAY)
        new = child.says("police", VPAS, NOW - DAY, {"concerns": ["DISCLOSURE_ABUSE"], "narrative": "x"}, supersedes=old.event_id)
        assert [] == child.concludes()
        more = {"concerns": ["DISCLOSURE_ABUSE"], "exploitation": ["CSE_SUSPECTED"]}
        child.says("police", VPAS, NOW - HOUR, more, supersedes=new.event_id)
        assert ["recommended"] == kinds(child.concludes())

    def test_withdrawn_and_told_again(self) -> None:
        """Closed because it was withdrawn; the withdrawal was a mistake: the trigger holds anew, and a decision is owed again."""
        child = Child()
        told = child.says("police", VPAS, NOW - 3 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        child.concludes(NOW - 2 * DAY)
        mistake = child.retracts(told, NOW - 2 * DAY)
        assert ["evidence_changed"] == kinds(child.concludes(NOW - DAY))
        decide(child, "closed", NOW - DAY)
        assert [] == child.concludes(NOW - DAY)
        child.retracts(mistake)
        assert ["recommended"] == kinds(child.concludes())
        assert ["OPEN", "CLOSED"] == [r["state"] for r in child.view()["recommendations"]]
        decide(child, "declined")
        assert [] == child.concludes()

    def test_points_withdrawn_and_told_again(self) -> None:
        """Closed because too little was left; what was withdrawn is back: a decision is owed again, once."""
        child = r19()
        child.concludes(NOW - 2 * DAY)
        mistakes = [child.retracts(f, NOW - 2 * DAY) for f in child.history.facts if f.agency == "police"]
        assert ["evidence_changed"] == kinds(child.concludes(NOW - DAY))
        decide(child, "closed", NOW - DAY)
        assert [] == child.concludes(NOW - DAY)
        for mistake in mistakes:
            child.retracts(mistake)
        assert [("recommended", "POINTS")] == [(k, d["basis"]) for k, d in child.concludes()]
        decide(child, "declined")
        assert [] == child.concludes()

    def test_corrected_away_and_back(self) -> None:
        """A correction said less, and it was closed; the next says it again: nobody decided on that."""
        child = Child()
        told = child.says("police", VPAS, NOW - 3 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        child.concludes(NOW - 2 * DAY)
        less = child.says("police", VPAS, NOW - 2 * DAY, {"concerns": ["NEGLECT"]}, supersedes=told.event_id)
        assert ["evidence_changed"] == kinds(child.concludes(NOW - DAY))
        decide(child, "closed", NOW - DAY)
        assert [] == child.concludes(NOW - DAY)
        child.says("police", VPAS, NOW - HOUR, {"concerns": ["DISCLOSURE_ABUSE"]}, supersedes=less.event_id)
        assert ["recommended"] == kinds(child.concludes())

    def test_withdrawn_and_told_again_after_it_was_declined(self) -> None:
        """Declined while it stood: that it is back is no news."""
        child = Child()
        told = child.says("police", VPAS, NOW - 3 * DAY, {"concerns": ["DISCLOSURE_ABUSE"]})
        child.concludes(NOW - 2 * DAY)
        decide(child, "declined", NOW - 2 * DAY)
        mistake = child.retracts(told, NOW - DAY)
        assert [] == child.concludes(NOW - DAY + HOUR)
        child.retracts(mistake)
        assert [] == child.concludes()

    def test_a_birth_date_makes_it_a_trigger(self) -> None:
        """Points alone were declined; that the child is under 13 was not known then."""
        child = Child(birth_date="")
        child.says("education", SCHOOL, NOW - 9 * DAY, {"concerns": ["WEIGHT_LOSS", "UNSUITABLE_ADULTS"]})
        child.says("police", VPAS, NOW - 8 * DAY, {"concerns": ["BAD_HOUSING"], "exploitation": ["OLDER_ASSOCIATES"]})
        assert [("POINTS", 13)] == [(d["basis"], d["points"]) for _, d in child.concludes(NOW - 2 * DAY)]
        decide(child, "declined", NOW - DAY)
        assert [] == child.concludes(NOW - DAY)
        child.shows("health", NOW - HOUR, birth_date="2014-05-05")
        assert [("HARM", ["harm-under-13"])] == [(d["basis"], d["triggers"]) for _, d in child.concludes()]

    def test_a_plan_begins_that_was_told_before(self) -> None:
        """Points alone were declined before the plan began; it begins while the child is away, and harm is recommended."""
        child = r19()
        child.says("health", "CpisStatusChanged", NOW - 3 * DAY, {"start_date": "2026-02-25"})
        child.says("police", "MissingEpisodeReported", NOW - 3 * DAY)
        child.says("police", "MissingEpisodeGraded", NOW - 3 * DAY, {"grade": "HIGH"})
        assert ["POINTS"] == [d["basis"] for _, d in child.concludes(NOW - 2 * DAY)]
        decide(child, "declined", NOW - 2 * DAY)
        assert [] == child.concludes(NOW - 2 * DAY)
        begins = NOW - 12 * HOUR
        assert [("HARM", ["harm-plan-missing-high"])] == [
            (d["basis"], d["triggers"]) for k, d in child.concludes(begins, fired=begins) if k == "recommended"
        ]

    def test_a_year_later(self) -> None:
        """What was decided on has faded; new facts of the same agencies raise again."""
        child = declined()
        later = NOW + 400 * DAY
        for n, concern in enumerate(("WEIGHT_LOSS", "UNSUITABLE_ADULTS", "NEGLECT")):
            child.says("education", SCHOOL, later - n * DAY - HOUR, {"concerns": [concern]})
            child.says("police", VPAS, later - n * DAY - HOUR, {"concerns": ["BAD_HOUSING", "CRIME_VICTIM"]})
        assert "recommended" in kinds(child.concludes(later))

    def test_convened_waits_for_the_meeting(self) -> None:
        """More points go to the meeting; a new harm trigger does not wait for it."""
        child = r19()
        child.concludes(NOW - 2 * DAY)
        decide(child, "convened", NOW - DAY)
        child.says("health", "CpisAttendanceAlert", NOW - HOUR)
        assert [] == child.concludes()
        child.says("police", VPAS, NOW - HOUR, {"concerns": ["DISCLOSURE_ABUSE"]})
        assert ["recommended"] == kinds(child.concludes())

    def test_retracted_since(self) -> None:
        """Points that were withdrawn after the decision are not weighed against new ones."""
        child = declined()
        gone = [f for f in child.history.facts if f.agency == "police"][-1]
        child.retracts(gone, NOW - HOUR)
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["NEGLECT", "MENTAL_HEALTH"]})
        assert ["recommended"] == kinds(child.concludes())


class TestWhileOpen:
    """What comes while a decision is owed makes the recommendation another: nobody decides on what they never saw."""

    @staticmethod
    def harmed() -> Child:
        """A child with an open recommendation on one harm trigger, and signs of police."""
        child = Child()
        child.says("police", VPAS, NOW - 2 * DAY, {"concerns": ["INJURY_ABUSE"]})
        child.concludes(NOW - 2 * HOUR)
        return child

    def test_a_new_trigger_of_the_same_rule(self) -> None:
        """Already HARM: raised again under the same id, with what is new among the reasons, due no later."""
        child = self.harmed()
        (before,) = child.view(NOW - 2 * HOUR)["recommendations"]
        more = child.says("police", VPAS, NOW - HOUR, {"concerns": ["DISCLOSURE_ABUSE"], "exploitation": ["CSE_SUSPECTED"]})
        (again,) = child.concludes()
        assert ("recommended", before["recommendation_id"], before["due_at"]) == (
            again[0], again[1]["recommendation_id"], again[1]["due_at"],
        )  # fmt: skip
        assert {"harm-disclosure", "harm-exploitation-victim"} == {
            r["rule"] for r in again[1]["reasons"] if more.event_id in r["facts"]
        }
        (rec,) = child.view()["recommendations"]
        assert rec["version"] == child.number > before["version"]
        assert [] == child.concludes()

    def test_a_new_agency(self) -> None:
        """Its points among the reasons."""
        child = r19()
        (_, first), *_ = child.concludes(NOW - 2 * HOUR)
        child.says("health", "CpisAttendanceAlert", NOW - HOUR)
        (again,) = child.concludes()
        assert ("recommended", first["due_at"]) == (again[0], again[1]["due_at"])
        assert "health" in {a for r in again[1]["reasons"] for a in r["agencies"]}
        assert [] == child.concludes()

    def test_a_few_more_points_of_the_same_agencies(self) -> None:
        """Two points: the same recommendation. As many as would raise again after a decision: another."""
        child = r19()
        child.concludes(NOW - 2 * HOUR)
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["NEGLECT"]})
        assert [] == child.concludes()
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["MENTAL_HEALTH"]})
        assert ["recommended"] == kinds(child.concludes())

    def test_the_same_trigger_told_again_in_a_correction(self) -> None:
        """Is no news."""
        child = self.harmed()
        old = child.history.facts[-1]
        child.says("police", VPAS, NOW - DAY, dict(old.body) | {"narrative": "x"}, supersedes=old.event_id, accepted_at=NOW)
        assert [] == child.concludes()

    def test_withdrawn_and_told_again(self) -> None:
        """It holds anew, and whoever decides is told so: it is no more to be closed as withdrawn."""
        child = self.harmed()
        mistake = child.retracts(child.history.facts[-1], NOW - 2 * HOUR)
        assert ["evidence_changed"] == kinds(child.concludes(NOW - HOUR))
        child.retracts(mistake)
        assert ["recommended"] == kinds(child.concludes())
        assert [("OPEN", False)] == [(r["state"], r["evidence_changed"]) for r in child.view()["recommendations"]]
        assert [] == child.concludes()

    def test_a_correction_that_says_less_and_still_harm(self) -> None:
        """What it now rests on is listed, so that a decision on that is the last word."""
        child = Child()
        told = child.says("police", VPAS, NOW - 2 * DAY, {"concerns": ["INJURY_ABUSE", "NEGLECT"]})
        child.concludes(NOW - 2 * HOUR)
        less = child.says("police", VPAS, NOW - HOUR, {"concerns": ["INJURY_ABUSE"]}, supersedes=told.event_id)
        (again,) = child.concludes()
        assert ("recommended", [[less.event_id]]) == (again[0], [r["facts"] for r in again[1]["reasons"]])
        assert [] == child.concludes()
        decide(child, "declined")
        assert [] == child.concludes()

    def test_what_came_between_raising_and_deciding_is_not_answered(self) -> None:
        """The decision was about what the recommendation listed: two points before and two after it are four."""
        child = r19()
        child.concludes(NOW - 2 * DAY)
        child.says("education", SCHOOL, NOW - DAY - HOUR, {"concerns": ["NEGLECT"]})
        assert [] == child.concludes(NOW - DAY)
        decide(child, "declined", NOW - DAY)
        assert [] == child.concludes(NOW - DAY)
        child.says("education", SCHOOL, NOW - HOUR, {"concerns": ["MENTAL_HEALTH"]})
        assert ["recommended"] == kinds(child.concludes())

    @pytest.mark.parametrize(("held_at", "raised"), [(NOW - 3 * HOUR, True), (NOW - HOUR, False)])
    def test_what_came_after_the_meeting_and_before_it_was_recorded(self, held_at: int, *, raised: bool) -> None:
        """A discussion answers what was known when it was held, not what was known when it was written down."""
        child = r19()
        child.concludes(NOW - 2 * DAY)
        decide(child, "convened", NOW - DAY)
        child.says("health", "CpisAttendanceAlert", NOW - 3 * HOUR)
        assert [] == child.concludes(NOW - 2 * HOUR)
        decide(child, "held", NOW, held_at=held_at, attended=[], outcome="NFA", outcome_text=None)
        assert raised is ("recommended" in kinds(child.concludes()))

    def test_moved_away_before_the_decision(self) -> None:
        """A fact that its agency had filed under another record by then was no part of what was decided on."""
        child = r19()
        gone = next(f for f in child.history.facts if f.agency == "police")
        moved = {"child_id": child_id_of(gone.presentation_id), "event_id": gone.event_id, "by_event_id": "x"}
        child.adds([("replaced", moved)], NOW - 3 * DAY)
        child.concludes(NOW - 2 * DAY)
        decide(child, "declined", NOW - DAY)
        child.says("police", VPAS, NOW - 3 * HOUR, {"concerns": ["CRIME_VICTIM"]})
        child.says("police", VPAS, NOW - 2 * HOUR, {"concerns": ["BAD_HOUSING"]})
        assert ["recommended"] == kinds(child.concludes())


class TestEvidence:
    """Retracting the evidence of an open recommendation marks it; a person closes it."""

    def test_retracted(self) -> None:
        """Named once; state and flag say so; its version rises."""
        child = r19()
        child.concludes(NOW - HOUR)
        gone = child.history.facts[-1]
        child.retracts(gone)
        found = dict(child.concludes())
        assert [gone.event_id] == found["evidence_changed"]["facts"]
        (rec,) = child.view()["recommendations"]
        assert ("EVIDENCE_CHANGED", True, True, child.number) == (
            rec["state"],
            rec["evidence_changed"],
            rec["open"],
            rec["version"],
        )
        assert [] == child.concludes()

    def test_a_correction_that_says_the_same(self) -> None:
        """Is no change."""
        child = r19()
        child.concludes(NOW - HOUR)
        old = child.history.facts[-1]
        child.says(
            "education", SCHOOL, old.occurred_at, dict(old.body) | {"narrative": "x"}, supersedes=old.event_id, accepted_at=NOW
        )
        assert [] == child.concludes()

    def test_a_correction_that_takes_it_back(self) -> None:
        """Is one."""
        child = r19()
        child.concludes(NOW - HOUR)
        old = child.history.facts[-1]
        child.says("education", SCHOOL, old.occurred_at, {"concerns": ["ONLINE"]}, supersedes=old.event_id, accepted_at=NOW)
        assert ["evidence_changed"] == kinds(child.concludes())

    def test_moved_to_another_child(self) -> None:
        """An undone match takes the evidence away, and what the moved facts said is told on this child no more (I5)."""
        child = r19()
        child.concludes(NOW - HOUR)
        child.moves(next(p.presentation_id for p in child.history.presentations if p.agency == "police"), "other", NOW)
        assert ["evidence_changed"] == kinds(child.concludes())
        (rec,) = child.view()["recommendations"]
        assert not any("Cheshire Constabulary" in r["text"] for r in rec["reasons"])
        assert any(r["text"].startswith("Schools and education") for r in rec["reasons"])
        assert any("no longer on this child" in r["text"] for r in rec["reasons"])

    def test_faded_is_not_changed(self) -> None:
        """Time alone takes no evidence away."""
        child = r19()
        child.concludes()
        assert [] == child.concludes(NOW + 300 * DAY)


class TestDue:
    """Overdue only when the clock has fired for the due instant."""

    def test_overdue(self) -> None:
        """What people did in time is never called overdue, so a fact alone concludes nothing."""
        child = r19()
        due = dict(child.concludes())["recommended"]["due_at"]
        assert due == child.view()["due_at"]
        late = due + HOUR
        assert [] == child.concludes(late)
        assert [] == child.concludes(late, fired=due - 1)
        found = child.concludes(late, fired=due, behind=["facts.police"])
        assert [("recommendation_overdue", ["facts.police"])] == [(k, d["behind"]) for k, d in found]
        (rec,) = child.view(late)["recommendations"]
        assert ("OVERDUE", True) == (rec["state"], rec["open"])
        anybody = [("icart_manager", "iCART manager", []), ("edt", "Emergency duty team", [])]
        assert anybody == [(t["role"], t["role_label"], t["other_than"]) for t in rec["passed_on"]["to"]]
        assert ("DECISION", late, due) == tuple(rec["passed_on"][k] for k in ("what", "at", "due_at"))
        assert [] == child.concludes(late + HOUR, fired=due), "once"
        assert rec["version"] < child.number
        assert child.view(late)["due_at"] is None

    @pytest.mark.parametrize(
        ("holder", "manager", "edt"),
        [
            (("m1", "icart_manager"), ["m1"], []),
            (("d1", "edt"), [], ["d1"]),
            (("s1", "icart_social_worker"), [], []),
            (None, [], []),
        ],
    )
    def test_never_to_the_one_who_is_late(self, holder: tuple[str, str] | None, manager: list[str], edt: list[str]) -> None:
        """A manager and the duty team, but not the person who took the case (R2)."""
        child = r19()
        due = dict(child.concludes())["recommended"]["due_at"]
        if holder is not None:
            child.adds([("case_taken", {"child_id": CHILD, "by": holder[0], "by_role": holder[1], "taken": True})])
        (found,) = child.concludes(due, fired=due)
        assert {"icart_manager": manager, "edt": edt} == {t["role"]: t["other_than"] for t in found[1]["passed_to"]}

    @pytest.mark.parametrize(
        ("concern", "hours"), [("DISCLOSURE_ABUSE", 4), ("NOT_OF_POLICE", 24)], ids=["made urgent", "another agency"]
    )
    def test_more_after_it_was_overdue(self, concern: str, hours: int) -> None:
        """It stays with those to whom it was passed, has a new due time, and is passed on again when that is over too."""
        child = r19()
        due = dict(child.concludes())["recommended"]["due_at"]
        child.concludes(due, fired=due)
        if hours == 4:
            child.says("police", VPAS, due, {"concerns": [concern]})
        else:
            child.says("health", "CpisAttendanceAlert", due)
        now = due + HOUR
        (again,) = child.concludes(now)
        assert ("recommended", now + hours * HOUR) == (again[0], again[1]["due_at"])
        (rec,) = child.view(now)["recommendations"]
        assert ("OVERDUE", due) == (rec["state"], rec["passed_on"]["due_at"])
        assert ["Recommended", "Recommended again: more has come"] == [
            h["label"] for h in rec["history"] if h["kind"] == "recommended"
        ]
        later = now + hours * HOUR
        assert later == child.view(now)["due_at"]
        assert [] == child.concludes(later, fired=later - 1)
        assert [("recommendation_overdue", later)] == [(k, d["due_at"]) for k, d in child.concludes(later, fired=later)]
        assert [] == child.concludes(later, fired=later)
        assert None is child.view(later)["due_at"]

    def test_more_when_it_was_due_and_nobody_had_fired(self) -> None:
        """What is due already stays due: what came last must not put the escalation off."""
        child = r19()
        due = dict(child.concludes())["recommended"]["due_at"]
        child.says("police", VPAS, due, {"concerns": ["DISCLOSURE_ABUSE"]})
        (again,) = child.concludes(due + HOUR)
        assert due == again[1]["due_at"] == child.view(due + HOUR)["due_at"]
        assert ["recommendation_overdue"] == kinds(child.concludes(due + HOUR, fired=due))

    @pytest.mark.parametrize("plan", ["CPPI", "LACI"])
    def test_a_plan_that_begins_tomorrow(self, plan: str) -> None:
        """Away and graded high, on a plan from tomorrow: the clock looks when it begins, and it is recommended then."""
        child = Child()
        child.says("health", "CpisStatusChanged", NOW - HOUR, {"plan_type": plan, "start_date": "2026-02-26"})
        child.says("police", "MissingEpisodeReported", NOW - 3 * HOUR)
        child.says("police", "MissingEpisodeGraded", NOW - 2 * HOUR, {"grade": "HIGH"})
        assert [] == child.concludes()
        tomorrow = NOW + 12 * HOUR
        assert tomorrow == child.view()["due_at"]
        assert ["recommended"] == kinds(child.concludes(tomorrow, fired=tomorrow))

    @pytest.mark.parametrize("back", [True, False])
    def test_a_status_that_begins_tomorrow(self, *, back: bool) -> None:
        """The same of social care's status; of a child who is back by then it would not be true."""
        child = Child()
        child.says("csc", "SocialCareStatus", NOW - HOUR, {"status": "LAC", "from_date": "2026-02-26"})
        child.says("police", "MissingEpisodeReported", NOW - 3 * HOUR)
        child.says("police", "MissingEpisodeGraded", NOW - 2 * HOUR, {"grade": "HIGH"})
        if back:
            child.says("police", "MissingEpisodeEnded", NOW - HOUR)
        tomorrow = NOW + 12 * HOUR
        assert ([], tomorrow, tomorrow) == (child.concludes(), *(child.view()[k] for k in ("due_at", "changes_at")))
        found = kinds(child.concludes(tomorrow, fired=tomorrow))
        assert ([] if back else ["recommended"]) == found

    def test_72_hours_gone(self) -> None:
        """The clock is due when an interview is: what rises by itself is concluded then."""
        child = Child()
        child.says("police", "MissingEpisodeReported", NOW - 6 * HOUR)
        child.says("police", "MissingEpisodeEnded", NOW - HOUR)
        assert NOW + 71 * HOUR == child.view()["due_at"]

    @pytest.mark.parametrize(("first", "due"), [("2026-02-20", True), ("2025-10-01", False)])
    def test_days_without_education(self, first: str, *, due: bool) -> None:
        """The clock looks daily until the highest tier, and then no more."""
        child = Child()
        child.says("education", "NoSchoolProvision", NOW - DAY, {"from_date": first})
        assert due is (child.view()["due_at"] == NOW + 12 * HOUR)


class TestVoice:
    """R18."""

    @pytest.mark.parametrize(("voice", "why", "defects"), [(None, None, 1), (" ", "", 1), ("Help", None, 0), (None, "Asleep", 0)])
    def test_missing(self, voice: str | None, why: str | None, defects: int) -> None:
        """Accepted, and told to the supervisor once."""
        child = Child()
        child.says("police", VPAS, NOW - DAY, {"what_child_said": voice, "why_not": why})
        assert ["quality_defect"] * defects == kinds(child.concludes())
        assert bool(defects) is child.view()["vpas"][0]["voice_missing"]
        assert defects == len(child.view()["defects"])


class TestShape:
    """What every conclusion says."""

    def test_each_names_the_child(self) -> None:
        """So that it can be found again."""
        child = r19()
        child.says("police", VPAS, NOW - DAY, {"what_child_said": None})
        child.says("csc", "CsogOutcome", NOW - DAY)
        found = conclude(parts(child.history, REFERENCE, NOW), REFERENCE, NOW)
        assert {"recommended", "gp_message", "gp_exception", "quality_defect"} == set(kinds(found))
        assert {CHILD} == {d["child_id"] for kind, d in found if kind != "quality_defect"}
        assert make_id("child", "test") == CHILD
        police = next(p.presentation_id for p in child.history.presentations if p.agency == "police")
        assert [child_id_of(police)] == [d["child_id"] for kind, d in found if kind == "quality_defect"]
