"""What is sent to GP practices, held back, withdrawn and passed on (R11): the conclusions about messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.children import CHILD, DAY, HOUR, NOW, WHO, Child, csog, kinds


def answer(child: Child, state: str, now: int = NOW, reason: str | None = None) -> None:
    """The newest live message's practice answers."""
    m = next(m for m in child.view(now)["messages"] if m["state"] != "WITHDRAWN")
    data = {"child_id": CHILD, "message_id": m["message_id"], "practice_ods": m["practice_ods"], "state": state, "reason": reason}
    child.adds([("gp_receipt", data)], now)


def states(child: Child, now: int = NOW) -> list[tuple[str | None, str]]:
    """(practice, state) of every message, oldest first."""
    return [(m["practice_ods"], m["state"]) for m in reversed(child.view(now)["messages"])]


class TestHeld:
    """What a practice may not be told goes to a person, not to the practice."""

    @pytest.mark.parametrize(
        "label", [{"regime": "LED"}, {"sensitivity": "RESTRICTED"}, {"scope": "CONFIDENCE"}, {"scope": "OWNER"},
                  {"sensitivity": "SEALED"}, {"scope": "NEW"}],
    )  # fmt: skip
    def test_by_the_sharing_table(self, label: dict[str, str]) -> None:
        """A practice is registered and the number traced, and yet nothing is sent; the manager, who may see it, is told."""
        child = csog(**label)
        assert ["gp_message", "gp_exception"] == kinds(child.concludes())
        (message,) = child.view()["messages"]
        found = message["exception"]
        assert (None, "WITHHELD", "icart_manager") == (message["practice_ods"], found["why"], found["for_role"])
        assert [] == child.concludes()

    @pytest.mark.parametrize(
        "words",
        [
            "Seen with brother Liam at 4 Elm Road", "Moved to WA7 2AB", "Now lives at 12 mill lane",
            "Tell Mrs Marsh of any visit",
            "His friends are Kai and others", "Liam Wood was there too", "Her sister, Ava, is worried",
        ],
    )  # fmt: skip
    def test_words_that_tell_of_others(self, words: str) -> None:
        """An address, a sibling, a third party (domain.md 3c): held, for health to have it corrected."""
        for field in ("what_changed", "gp_action"):
            child = Child(nhs_number="9990000018", given_name="Aria", family_name="Wood", address_line="12 Mill Lane, Runcorn")
            child.says("health", "GpRegistration", NOW - 300 * DAY)
            child.says("csc", "CsogOutcome", NOW - DAY, {field: words})
            assert [("gp_message", None), ("gp_exception", "FREE_TEXT")] == [(k, d.get("why")) for k, d in child.concludes()]

    @pytest.mark.parametrize(
        "words",
        ["Add the codes by 3 March", "Aria Wood is seen with older young people in town", "Ring the duty team on 0151 496 0000",
         "Her mother knows", "2 late returns to Runcorn"],
    )  # fmt: skip
    def test_words_that_do_not(self, words: str) -> None:
        """The child's own name, numbers, days and people without a name are no reason to hold."""
        child = Child(nhs_number="9990000018", given_name="Aria", family_name="Wood", address_line="12 Mill Lane, Runcorn")
        child.says("health", "GpRegistration", NOW - 300 * DAY)
        child.says("csc", "CsogOutcome", NOW - DAY, {"what_changed": words, "gp_action": words})
        assert ["gp_message"] == kinds(child.concludes())

    def test_a_corrected_outcome_is_sent(self) -> None:
        """Social care corrects the words: the held message ends with its exception, and the new one goes out."""
        child = csog(body={"what_changed": "Seen with brother Liam"})
        child.concludes(NOW - HOUR)
        old = child.history.facts[-1].event_id
        child.says("csc", "CsogOutcome", NOW - DAY, {"what_changed": "Seen with a sibling"}, supersedes=old, accepted_at=NOW)
        assert ["gp_withdrawn", "gp_message"] == kinds(child.concludes())
        assert ["N81001", None] == [m["practice_ods"] for m in child.view()["messages"]]
        assert child.view()["messages"][1]["exception"]["resolved_at"] is not None

    def test_no_change_of_practice_sends_it(self) -> None:
        """Held is held, whoever the practice is."""
        child = csog(scope="CONFIDENCE")
        child.concludes(NOW - HOUR)
        child.says("health", "GpRegistration", NOW - HOUR, {"practice_ods": "N81002", "registered_from": "2026-02-24"})
        assert [] == child.concludes()


class TestExceptions:
    """A named person's, by a due time, and passed on when nobody resolved it."""

    def test_passed_on_when_due(self) -> None:
        """To a manager other than the one who took it; once."""
        child = csog(None)
        child.concludes()
        (message,) = child.view()["messages"]
        due = message["exception"]["due_at"]
        assert NOW + DAY == due == child.view()["due_at"]
        taken = {"message_id": message["message_id"], "child_id": CHILD, "by": "m1", "by_role": "icart_manager", "taken": True}
        child.adds([("gp_exception_taken", taken)])
        assert "m1" == child.view()["messages"][0]["exception"]["taken"]["by"]
        assert [] == child.concludes(due - 1, fired=due - 1)
        assert ["gp_exception_overdue"] == kinds(child.concludes(due, fired=due))
        assert [{"role": "icart_manager", "other_than": ["m1"]}] == child.view(due)["messages"][0]["exception"]["passed_on"]["to"]
        assert [] == child.concludes(due, fired=due)
        assert child.view(due)["due_at"] != due

    def test_resolved_in_time(self) -> None:
        """Then nobody is told."""
        child = csog(None)
        child.concludes()
        message = child.view()["messages"][0]
        done = {**WHO, "message_id": message["message_id"], "resolution": "Rang the practice."}
        child.adds([("gp_exception_resolved", done)])
        late = message["exception"]["due_at"]
        assert [] == child.concludes(late, fired=late)


class TestMessages:
    """R11: by registered practice, and nobody has to forward anything."""

    def test_one_an_outcome(self) -> None:
        """To the practice, with the traced number."""
        child = csog()
        found = dict(child.concludes())["gp_message"]
        assert ("N81001", "9990000018", NOW + 72 * HOUR) == (found["practice_ods"], found["nhs_number"], found["due_at"])
        assert [("N81001", "WAITING")] == states(child)

    @pytest.mark.parametrize(("practice", "nhs", "why"), [(None, "9990000018", "NO_PRACTICE"), ("N81001", None, "NO_NHS_NUMBER")])
    def test_nobody_to_send_to(self, practice: str | None, nhs: str | None, why: str) -> None:
        """At once a named person's exception; sent when it can be."""
        child = csog(practice, nhs)
        assert ["gp_message", "gp_exception"] == kinds(child.concludes())
        message = child.view()["messages"][0]
        assert ("NO_PRACTICE", why, "icart_health") == (
            message["state"],
            message["exception"]["why"],
            message["exception"]["for_role"],
        )
        if nhs is None:
            child.shows("health", NOW, nhs_number="9990000018", nhs_number_status="01")
        else:
            child.says("health", "GpRegistration", NOW - HOUR)
        assert ["gp_withdrawn", "gp_message"] == kinds(child.concludes())
        assert [(None, "WITHDRAWN"), ("N81001", "WAITING")] == states(child)
        assert child.view()["messages"][1]["exception"]["resolved_at"] == NOW

    @pytest.mark.parametrize("seen", ["WAITING", "ACCEPTED", "REJECTED"])
    def test_change_of_practice(self, seen: str) -> None:
        """Not read by the old: withdrawn there, raised at the new."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        if seen != "WAITING":
            answer(child, seen, NOW - 2 * HOUR, "NOT_OUR_PATIENT")
            child.concludes(NOW - 2 * HOUR)
        child.says("health", "GpRegistration", NOW - HOUR, {"practice_ods": "N81002", "registered_from": "2026-02-24"})
        found = child.concludes()
        assert [("gp_withdrawn", "REROUTED"), ("gp_message", None)] == [(k, d.get("why")) for k, d in found]
        assert [("N81001", "WITHDRAWN"), ("N81002", "WAITING")] == states(child)

    @pytest.mark.parametrize("seen", ["READ", "CODED"])
    def test_change_after_it_was_read(self, seen: str) -> None:
        """The old keeps it; the new is told as well."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        answer(child, seen, NOW - 2 * HOUR)
        child.says("health", "GpRegistration", NOW - HOUR, {"practice_ods": "N81002", "registered_from": "2026-02-24"})
        assert ["gp_message"] == kinds(child.concludes())
        assert [("N81001", seen), ("N81002", "WAITING")] == states(child)

    def test_there_and_back(self) -> None:
        """Each way is a message of its own."""
        child = csog()
        child.concludes(NOW - 9 * HOUR)
        for n, ods in enumerate(("N81002", "N81001", "N81002")):
            body = {"practice_ods": ods, "registered_from": f"2026-02-2{n + 2}"}
            child.says("health", "GpRegistration", NOW - 8 * HOUR + n, body)
            child.concludes(NOW - (5 - n) * HOUR)
        assert [("N81001", "WITHDRAWN"), ("N81002", "WITHDRAWN"), ("N81001", "WITHDRAWN"), ("N81002", "WAITING")] == states(child)

    def test_retracted(self) -> None:
        """Withdrawn even when coded."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        answer(child, "CODED", NOW - HOUR)
        child.retracts(child.history.facts[-1])
        assert [("gp_withdrawn", "RETRACTED")] == [(k, d["why"]) for k, d in child.concludes()]

    def test_corrected(self) -> None:
        """The correction is a new message."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        child.says(
            "csc", "CsogOutcome", NOW - DAY, {"gp_action": "x"}, supersedes=child.history.facts[-1].event_id, accepted_at=NOW
        )
        assert ["gp_withdrawn", "gp_message"] == kinds(child.concludes())

    def test_moved_to_another_child(self) -> None:
        """An undone match withdraws what was sent on its strength (design)."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        child.moves(child.history.facts[-1].presentation_id, "other", NOW)
        assert [("gp_withdrawn", "UNLINKED")] == [(k, d["why"]) for k, d in child.concludes()]

    def test_sent_on_a_number_that_was_not_this_childs(self) -> None:
        """The presentation with the number went elsewhere: withdrawn even when read, and an exception."""
        child = csog()
        child.concludes(NOW - 2 * HOUR)
        answer(child, "READ", NOW - HOUR)
        child.shows("csc", nhs_number=None, nhs_number_status=None)
        pid = next(p.presentation_id for p in child.history.presentations if p.agency == "csc" and p.fields["nhs_number"])
        health = next(p.presentation_id for p in child.history.presentations if p.agency == "health")
        child.history = replace(
            child.history,
            facts=tuple(replace(f, presentation_id=child.history.presentations[-1].presentation_id) for f in child.history.facts),
        )
        child.moves(health, "other", NOW)
        child.moves(pid, "other", NOW)
        found = child.concludes()
        assert [("gp_withdrawn", "UNLINKED"), ("gp_message", None), ("gp_exception", "NO_NHS_NUMBER")] == [
            (k, d.get("why")) for k, d in found
        ]

    def test_unread(self) -> None:
        """After 72 hours somebody is named, when the clock says so; reading it resolves that."""
        child = csog()
        child.concludes()
        due = NOW + 72 * HOUR
        assert due == child.view()["due_at"]
        answer(child, "ACCEPTED", NOW + HOUR)
        assert [] == child.concludes(due)
        assert [("gp_exception", "UNREAD")] == [(k, d["why"]) for k, d in child.concludes(due, fired=due)]
        assert [] == child.concludes(due, fired=due)
        answer(child, "READ", due + HOUR)
        assert due + HOUR == child.view(due + HOUR)["messages"][0]["exception"]["resolved_at"]

    def test_rejected(self) -> None:
        """A named person's exception."""
        child = csog()
        child.concludes(NOW - HOUR)
        answer(child, "REJECTED", reason="NOT_OUR_PATIENT")
        assert [("gp_exception", "REJECTED")] == [(k, d["why"]) for k, d in child.concludes()]
        assert [] == child.concludes()

    @pytest.mark.parametrize(
        ("body", "sent"),
        [
            ({}, True),
            ({"level_joint": "CLOSED"}, False),
            ({"review_date": "2026-02-24"}, False),
            ({"review_date": "2026-02-25"}, True),
        ],
    )
    def test_imported(self, body: dict[str, Any], *, sent: bool) -> None:
        """Only what is in force; a live one is always sent, its end too."""
        assert sent is bool(csog(body=body, historic=True).concludes())
        assert csog(body=body).concludes()

    def test_imported_and_replaced_by_a_later_meeting(self) -> None:
        """Of imported outcomes only the newest."""
        child = csog(historic=True)
        child.says("csc", "CsogOutcome", NOW - 60 * DAY, {"csog_date": "2025-12-20"}, historic=True)
        assert ["gp_message"] == kinds(child.concludes())
