"""Acts: accepted with their conclusions, or refused with a reason to act on."""

from __future__ import annotations

from typing import Any

import pytest

from domain.acts import Refused, judge
from domain.model import Json
from domain.times import to_datetime
from tests.unit.children import CHILD, DAY, HOUR, NOW, REFERENCE, Child, csog, r19

VALUES: dict[str, dict[str, Any]] = {
    "RecommendationDecided": {"decision": "CONVENE", "reason": None, "rationale": None, "meeting_at": "2026-02-26T10:00:00Z"},
    "StrategyMeetingHeld": {"held_at": NOW, "attended": ["police", "csc"], "outcome": "S47_JOINT", "outcome_text": None},
    "RecommendationDisagreed": {"agency": "police", "ground": "He is not safe there"},
    "RecommendationClosed": {"rationale": "The fact was another child's"},
    "CaseTaken": {"taken": True},
    "GpExceptionResolved": {"resolution": "Rang the practice"},
    "GpExceptionTaken": {"taken": True},
    "GpReceipt": {"practice_ods": "N81001", "state": "ACCEPTED", "reason": None},
    "ClockFired": {"due_at": NOW, "behind": []},
}
ACTORS = {
    "GpReceipt": ("N81001", "gp_practice"),
    "ClockFired": ("clock", "clock"),
    "RecommendationDisagreed": ("p1", "icart_police"),
}


def act(child: Child, record: str, now: int = NOW, **value: Any) -> Refused | list[tuple[str, Json]]:
    """Somebody does something about the newest recommendation or message; what is accepted is added to the history."""
    view = child.view(now)
    by, role = ACTORS.get(record, ("m1", "icart_manager"))
    rec = view["recommendations"][0] if view["recommendations"] else {"recommendation_id": "none", "version": 0}
    if record == "GpExceptionResolved" and view["messages"] and view["messages"][0]["exception"]:
        rec = rec | {"version": view["messages"][0]["exception"]["version"]}
    envelope = {
        "actor_id": value.pop("by", by),
        "actor_role": value.pop("role", role),
        "based_on": value.pop("based_on", rec["version"]),
        "child_id": CHILD,
        "acted_at": value.pop("acted_at", now),
    }
    about = {
        "act": envelope,
        "recommendation_id": rec["recommendation_id"],
        "message_id": view["messages"][0]["message_id"] if view["messages"] else "none",
    }
    found = judge(record, about | VALUES[record] | value, child.history, REFERENCE, now)
    if not isinstance(found, Refused):
        child.adds(found, now)
    return found


def refusal(found: Refused | list[tuple[str, Json]]) -> str:
    """The reason of a refusal."""
    assert isinstance(found, Refused)
    return found.reason


def raised() -> Child:
    """The R19 child with its recommendation."""
    child = r19()
    child.concludes(NOW - HOUR)
    return child


class TestDecided:
    """R1: convened, or declined with reason and rationale, by a manager or EDT."""

    def test_convene_then_held(self) -> None:
        """Convened is not held."""
        child = raised()
        assert "not-convened" == refusal(act(child, "StrategyMeetingHeld"))
        act(child, "RecommendationDecided")
        assert ("CONVENED", False) == tuple(child.view()["recommendations"][0][k] for k in ("state", "open"))
        act(child, "StrategyMeetingHeld", NOW + DAY)
        (rec,) = child.view(NOW + DAY)["recommendations"]
        assert ("HELD", ["Recommended", "Convened", "Held"]) == (rec["state"], [h["label"] for h in rec["history"]])
        assert "Section 47 enquiry, joint" == rec["history"][-1]["outcome_label"]

    def test_decline(self) -> None:
        """Visible with reason and rationale; then anyone may disagree."""
        child = raised()
        act(child, "RecommendationDecided", decision="DECLINE", reason="OTHER_RESPONSE", rationale="CIN continues")
        (rec,) = child.view()["recommendations"]
        assert ("DECLINED", "CIN continues", "Another response is better") == (
            rec["state"], rec["history"][-1]["text"], rec["history"][-1]["reason_label"],
        )  # fmt: skip
        act(child, "RecommendationDisagreed")
        assert ["He is not safe there"] == [d["ground"] for d in child.view()["recommendations"][0]["disagreements"]]

    @pytest.mark.parametrize("lacks", ["reason", "rationale"])
    def test_decline_needs_why(self, lacks: str) -> None:
        """The field to mend is named."""
        value: dict[str, Any] = {"decision": "DECLINE", "reason": "OTHER_RESPONSE", "rationale": "x", lacks: None}
        found = act(raised(), "RecommendationDecided", **value)
        assert isinstance(found, Refused)
        assert ("required-to-decline", [lacks]) == (found.reason, [p.field for p in found.problems])

    def test_two_managers_at_once(self) -> None:
        """One winner; the other based it on an older version."""
        child = raised()
        seen = child.view()["recommendations"][0]["version"]
        assert [] != act(child, "RecommendationDecided", based_on=seen)
        assert "stale-decision" == refusal(act(child, "RecommendationDecided", based_on=seen, by="m2"))

    def test_what_settles_names_the_version_seen(self) -> None:
        """A discussion held, or a recommendation closed, on no version or an older one is refused."""
        child = raised()
        seen = child.view()["recommendations"][0]["version"]
        child.retracts(child.history.facts[-1])
        child.concludes()
        for based_on in (None, seen):
            assert "stale-decision" == refusal(act(child, "RecommendationClosed", based_on=based_on))
        act(child, "RecommendationDecided")
        for based_on in (None, seen):
            assert "stale-decision" == refusal(act(child, "StrategyMeetingHeld", based_on=based_on))

    def test_twice(self) -> None:
        """Decided is decided."""
        child = raised()
        act(child, "RecommendationDecided")
        assert "already-decided" == refusal(act(child, "RecommendationDecided"))

    def test_going_overdue_makes_nobody_stale(self) -> None:
        """A form opened before is still good."""
        child = raised()
        seen, due = (child.view()["recommendations"][0][k] for k in ("version", "due_at"))
        child.concludes(due, fired=due)
        assert [] != act(child, "RecommendationDecided", due, based_on=seen, role="edt")
        assert "CONVENED" == child.view(due)["recommendations"][0]["state"]

    def test_changed_evidence_makes_stale(self) -> None:
        """There is something else to decide on now."""
        child = raised()
        seen = child.view()["recommendations"][0]["version"]
        child.retracts(child.history.facts[-1])
        child.concludes()
        assert "stale-decision" == refusal(act(child, "RecommendationDecided", based_on=seen))

    @pytest.mark.parametrize(
        "role",
        [
            "icart_social_worker",
            "icart_police",
            "icart_health",
            "icart_education",
            "board_analyst",
            "admin",
            "gp_practice",
            "clock",
        ],
    )
    def test_others_may_not(self, role: str) -> None:
        """Only a manager or EDT decides and closes."""
        assert "not-permitted" == refusal(act(raised(), "RecommendationDecided", role=role))
        assert "not-permitted" == refusal(act(raised(), "RecommendationClosed", role=role))

    def test_unknown(self) -> None:
        """No such recommendation."""
        child = raised()
        for record in ("RecommendationDecided", "StrategyMeetingHeld", "RecommendationDisagreed", "RecommendationClosed"):
            assert "no-such-thing" == refusal(act(child, record, recommendation_id="x"))
        assert "no-such-thing" == refusal(
            act(child, "Nothing") if "Nothing" in VALUES else judge("Nothing", {}, child.history, REFERENCE, NOW)
        )


class TestDisagreed:
    """R5: any agency in iCART, for itself, on any decision."""

    @pytest.mark.parametrize(
        ("role", "agency", "reason"),
        [
            ("icart_police", "police", None),
            ("icart_health", "health", None),
            ("icart_education", "education", None),
            ("icart_social_worker", "csc", None),
            ("edt", "edt", None),
            ("icart_police", "health", "wrong-agency"),
            ("board_analyst", "police", "not-permitted"),
        ],
    )
    def test_fits(self, role: str, agency: str, reason: str | None) -> None:
        """The agency fits the role."""
        found = act(raised(), "RecommendationDisagreed", role=role, agency=agency)
        assert reason == (found.reason if isinstance(found, Refused) else None)


class TestClosed:
    """A person closes what lost its evidence."""

    def test_only_when_evidence_changed(self) -> None:
        """Otherwise it is decided, not closed."""
        child = raised()
        assert "evidence-stands" == refusal(act(child, "RecommendationClosed"))
        child.retracts(child.history.facts[-1])
        child.concludes()
        act(child, "RecommendationClosed")
        assert ("CLOSED", False) == tuple(child.view()["recommendations"][0][k] for k in ("state", "open"))
        assert "already-decided" == refusal(act(child, "RecommendationClosed"))


class TestOverdue:
    """§7: what is overdue goes to somebody else, and what was done in time is never left called overdue."""

    def fired(self, child: Child, at: int) -> list[str]:
        """The clock fires for what is due at `at`; the kinds of its conclusions."""
        found = act(child, "ClockFired", at, due_at=at)
        assert isinstance(found, list)
        return [kind for kind, _ in found]

    def test_convened_and_never_held(self) -> None:
        """24 hours after the time it was convened for: passed to a manager other than who convened it, and to EDT; once."""
        child = raised()
        child.adds([("case_taken", {"child_id": CHILD, "by": "m2", "by_role": "icart_manager", "taken": True})])
        meeting = NOW + 6 * HOUR
        act(child, "RecommendationDecided", meeting_at=to_datetime(meeting).isoformat())
        (rec,) = child.view()["recommendations"]
        due = meeting + 24 * HOUR
        assert (due, None) == (rec["held_due_at"], rec["passed_on"])
        assert due == child.view()["due_at"]
        assert [] == child.concludes(due + HOUR), "a fact alone concludes nothing: it may have been held and not been read"
        assert [] == self.fired(child, due - 1)
        assert ["meeting_overdue"] == self.fired(child, due)
        assert [] == self.fired(child, due + HOUR)
        (rec,) = child.view(due)["recommendations"]
        assert ("CONVENED", False, "MEETING", due) == (
            rec["state"],
            rec["open"],
            rec["passed_on"]["what"],
            rec["passed_on"]["due_at"],
        )
        assert {"icart_manager": ["m1", "m2"], "edt": []} == {t["role"]: t["other_than"] for t in rec["passed_on"]["to"]}
        assert None is child.view(due)["due_at"]
        act(child, "StrategyMeetingHeld", due + 2 * HOUR)
        (rec,) = child.view(due + 2 * HOUR)["recommendations"]
        assert ("HELD", None) == (rec["state"], rec["passed_on"])
        wanted = ["recommended", "convened", "meeting_overdue", "held"]
        assert wanted == [h["kind"] for h in rec["history"]]

    @pytest.mark.parametrize("meeting_at", [None, "2020-01-01T10:00:00Z"])
    def test_convened_for_no_time_to_come(self, meeting_at: str | None) -> None:
        """The deadline runs from the decision."""
        child = raised()
        act(child, "RecommendationDecided", meeting_at=meeting_at)
        assert NOW + 24 * HOUR == child.view()["recommendations"][0]["held_due_at"]

    @pytest.mark.parametrize(("before_us", "kinds"), [(0, ["overdue_withdrawn"]), (-1, [])])
    @pytest.mark.parametrize("decision", ["CONVENE", "DECLINE"])
    def test_acted_in_time_and_read_late(self, before_us: int, kinds: list[str], decision: str) -> None:
        """An outage of ours longer than the due time: what was decided before it is not late, whatever we read first."""
        child = raised()
        due = child.view()["recommendations"][0]["due_at"]
        assert ["recommendation_overdue"] == self.fired(child, due)
        said = {"decision": decision, "reason": "OTHER_RESPONSE", "rationale": "Seen"}
        found = act(child, "RecommendationDecided", due + DAY, acted_at=due - before_us, **said)
        assert isinstance(found, list)
        assert kinds == [k for k, _ in found if k == "overdue_withdrawn"]
        (rec,) = child.view(due + DAY)["recommendations"]
        assert None is rec["passed_on"]
        assert kinds == [h["kind"] for h in rec["history"] if h["kind"] == "overdue_withdrawn"]

    def test_held_in_time_and_read_late(self) -> None:
        """The same for a discussion."""
        child = raised()
        act(child, "RecommendationDecided", meeting_at=None)
        due = NOW + 24 * HOUR
        self.fired(child, due)
        found = act(child, "StrategyMeetingHeld", due + DAY, acted_at=due - HOUR, held_at=due - 2 * HOUR)
        assert isinstance(found, list)
        assert ["overdue_withdrawn", "held"] == [k for k, _ in found]

    def test_the_other_person_takes_the_case_over(self) -> None:
        """Before it is overdue nobody may; then a manager or EDT, but no other social worker."""
        child = raised()
        act(child, "CaseTaken", by="m1")
        due = child.view()["recommendations"][0]["due_at"]
        assert "already-taken" == refusal(act(child, "CaseTaken", by="m2"))
        self.fired(child, due)
        assert "already-taken" == refusal(act(child, "CaseTaken", due, by="w1", role="icart_social_worker"))
        assert [] != act(child, "CaseTaken", due, by="d1", role="edt")
        assert "d1" == child.view(due)["case"]["by"]


class TestCase:
    """One worker holds a case."""

    def test_taken_and_given_back(self) -> None:
        """Another is refused; a manager may give it back for them."""
        child = raised()
        assert [] != act(child, "CaseTaken", by="w1", role="icart_social_worker")
        assert [] == act(child, "CaseTaken", by="w1", role="icart_social_worker")
        assert "w1" == child.view()["case"]["by"]
        assert "already-taken" == refusal(act(child, "CaseTaken", by="w2", role="icart_social_worker"))
        assert "not-yours" == refusal(act(child, "CaseTaken", by="w2", role="icart_social_worker", taken=False))
        assert [] != act(child, "CaseTaken", taken=False)
        assert child.view()["case"] is None
        assert [] == act(child, "CaseTaken", taken=False)

    def test_not_for_those_who_see_no_children(self) -> None:
        """The board counts, it takes no cases."""
        assert "not-permitted" == refusal(act(raised(), "CaseTaken", role="board_analyst"))


class TestReceipt:
    """A practice answers for its own messages, forward only."""

    @staticmethod
    def sent() -> Child:
        """A message waits at N81001."""
        child = csog()
        child.concludes(NOW - HOUR)
        return child

    def test_forward(self) -> None:
        """Accepted, read, coded; repeated or late ones change nothing."""
        child = self.sent()
        for state in ("ACCEPTED", "CODED", "READ", "CODED", "ACCEPTED"):
            act(child, "GpReceipt", state=state)
        message = child.view()["messages"][0]
        assert ("CODED", ["ACCEPTED", "CODED"]) == (message["state"], [r["state"] for r in message["receipts"]])

    @pytest.mark.parametrize(
        "value",
        [{"practice_ods": "N81009", "by": "N81009"}, {"by": "N81009"}, {"role": "icart_manager"}, {"message_id": "x"}],
    )
    def test_not_your_message(self, value: dict[str, Any]) -> None:
        """Another's message looks as if it did not exist."""
        assert "not-your-message" == refusal(act(self.sent(), "GpReceipt", **value))

    def test_rejected_is_final(self) -> None:
        """Said twice is once; otherwise it is re-routed."""
        child = self.sent()
        assert [] != act(child, "GpReceipt", state="REJECTED", reason="NOT_OUR_PATIENT")
        assert [] == act(child, "GpReceipt", state="REJECTED", reason="NOT_OUR_PATIENT")
        assert "already-rejected" == refusal(act(child, "GpReceipt", state="READ"))

    def test_coded_cannot_be_rejected(self) -> None:
        """It was their patient."""
        child = self.sent()
        act(child, "GpReceipt", state="CODED")
        assert "already-coded" == refusal(act(child, "GpReceipt", state="REJECTED", reason="NOT_OUR_PATIENT"))

    def test_withdrawn(self) -> None:
        """A message that was taken back is not to be coded."""
        child = self.sent()
        child.retracts(child.history.facts[-1])
        child.concludes()
        assert "withdrawn" == refusal(act(child, "GpReceipt", state="CODED"))


class TestException:
    """The named person says what was done."""

    def test_resolved(self) -> None:
        """Once."""
        child = csog(None)
        child.concludes(NOW - HOUR)
        assert "not-permitted" == refusal(act(child, "GpExceptionResolved", role="icart_police"))
        act(child, "GpExceptionResolved", role="icart_health")
        assert "Rang the practice" == child.view()["messages"][0]["exception"]["resolution"]
        assert [] == act(child, "GpExceptionResolved")
        assert [] == child.concludes()

    def test_another_has_come_in_its_place(self) -> None:
        """What was done about a message nobody had read is no answer to a practice that says it is not theirs."""
        child = TestReceipt.sent()
        due = child.view()["messages"][0]["due_at"]
        child.concludes(due, fired=due)
        unread = child.view(due)["messages"][0]["exception"]
        act(child, "GpReceipt", due, state="REJECTED", reason="NOT_OUR_PATIENT")
        child.concludes(due)
        rejected = child.view(due)["messages"][0]["exception"]
        assert ("UNREAD", "REJECTED") == (unread["why"], rejected["why"])
        assert "stale-decision" == refusal(act(child, "GpExceptionResolved", due, based_on=unread["version"]))
        assert "stale-decision" == refusal(act(child, "GpExceptionResolved", due, based_on=None))
        assert [] != act(child, "GpExceptionResolved", due, based_on=rejected["version"])

    def test_taken(self) -> None:
        """It becomes one person's; another takes it over only once it was passed on to them."""
        child = csog(None)
        child.concludes(NOW - HOUR)
        assert "not-permitted" == refusal(act(child, "GpExceptionTaken", role="icart_social_worker"))
        act(child, "GpExceptionTaken", by="h1", role="icart_health")
        assert "h1" == child.view()["messages"][0]["exception"]["taken"]["by"]
        assert [] == act(child, "GpExceptionTaken", by="h1", role="icart_health")
        assert "already-taken" == refusal(act(child, "GpExceptionTaken", by="h2", role="icart_health"))
        assert "not-yours" == refusal(act(child, "GpExceptionTaken", by="h2", role="icart_health", taken=False))
        due = child.view()["messages"][0]["exception"]["due_at"]
        child.concludes(due, fired=due)
        assert [] != act(child, "GpExceptionTaken", due, by="m1", role="icart_manager")
        assert "m1" == child.view(due)["messages"][0]["exception"]["taken"]["by"]
        act(child, "GpExceptionResolved", due)
        assert "no-exception" == refusal(act(child, "GpExceptionTaken", due, by="m2", taken=False))

    def test_none(self) -> None:
        """A message that arrived has no exception; a message that is not has neither."""
        child = TestReceipt.sent()
        assert "no-exception" == refusal(act(child, "GpExceptionResolved"))
        assert "no-such-thing" == refusal(act(child, "GpExceptionResolved", message_id="x"))


class TestClock:
    """The clock concludes what fell due, and only the clock may."""

    def test_overdue(self) -> None:
        """Its sources that were behind are named."""
        child = raised()
        due = child.view()["due_at"]
        found = act(child, "ClockFired", due + HOUR, due_at=due, behind=["facts.police"])
        assert isinstance(found, list)
        assert [("recommendation_overdue", ["facts.police"])] == [(k, d["behind"]) for k, d in found]
        assert [] == act(child, "ClockFired", due + HOUR, due_at=due)

    def test_nobody_else(self) -> None:
        """No person makes others late."""
        assert "not-permitted" == refusal(act(raised(), "ClockFired", role="icart_manager"))
