"""Several possible matches between the same two children are one question: one answer holds for all of them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from domain.fold import fold
from domain.model import Json
from producers.halton.facts import blank
from projections.entries import ACCEPTED, Entry
from tests.fault.memory import Memory

AT = 1_772_000_000_000_000
NAMED = {"given_name": "Robin", "family_name": "Test", "birth_date": "2012-05-06"}
NHS = {"nhs_number": "9990000018", "nhs_number_status": "01"}
UPN = {"upn": "R876252705460"}


SAID = {
    "police": ("VulnerabilitySubmission", {
        "concerns": ["BAD_HOUSING"], "submission_id": "v", "seen": "YES", "seen_alone": "YES", "spoken_to": "YES"}),
    "health": ("GpRegistration", {"practice_ods": "Y90001", "registered_from": "2020-01-05"}),
    "education": ("SchoolConcern", {"concern_id": "c", "concerns": ["WEIGHT_LOSS"]}),
    "csc": ("SocialCareStatus", {"status": "CIN", "from_date": "2026-01-05"}),
}  # fmt: skip


def told(memory: Memory, agency: str, numbers: dict[str, str]) -> None:
    """An agency says something about its record of Robin Test."""
    record, body = SAID[agency]
    value = blank(record) | body
    value["envelope"] |= {
        "event_id": str(uuid4()), "agency": agency, "occurred_at": AT, "recorded_at": AT, "reported_by": "Tester",
        "sensitivity": "ORDINARY", "subject": {**value["envelope"]["subject"], "local_id": f"{agency}-1", **NAMED, **numbers},
    }  # fmt: skip
    assert ACCEPTED == memory.take(f"facts.{agency}", record, value).verdict


def envelope(memory: Memory, **said: Any) -> Json:
    """The envelope of an act; a manager's, of now, unless `said` says otherwise."""
    return {
        "event_id": str(uuid4()), "actor_id": "m", "actor_role": "icart_manager", "child_id": None, "acted_at": memory.clock,
        "based_on": None, "correlation_id": None, **said,
    }  # fmt: skip


def says(memory: Memory, record: str, match_id: str, based_on: int | None = None) -> Entry:
    """A manager decides a match, as it is or as it was at version `based_on`."""
    act = envelope(memory, based_on=memory.book.match_version(match_id) if based_on is None else based_on)
    return memory.take("decisions", record, {"act": act, "match_id": match_id, "rationale": "I know both"})


def states(memory: Memory) -> list[str]:
    """The states of all matches."""
    return sorted(m.state for m in memory.book.matches.values())


def listed(memory: Memory, key: str) -> list[list[Json]]:
    """A list of matches in the view of each child."""
    return [v[key] for v in memory.views()]


@pytest.fixture
def two() -> Memory:
    """Police ask about health and about school, before social care shows that those two are one child."""
    memory = Memory(AT)
    for agency, numbers in (("police", {}), ("health", NHS), ("education", UPN), ("csc", NHS | UPN)):
        told(memory, agency, numbers)
    between = {frozenset((memory.book.child_of[m.presentation_id], memory.book.child_of[m.anchor])) for m in questions(memory)}
    assert (2, 1) == (len(questions(memory)), len(between))
    return memory


def questions(memory: Memory) -> list[Any]:
    """Open matches whose sides are not one child yet."""
    of = memory.book.child_of
    return [m for m in memory.book.matches.values() if m.state == "OPEN" and of[m.presentation_id] != of[m.anchor]]


def test_another_child_under_the_same_local_id() -> None:
    """What fitted one child is nobody's when it may be another's: parted, asked about, and all is a clean fold (I2, I5)."""
    memory = Memory(AT)
    told(memory, "police", {"given_name": None, "birth_date": None})
    told(memory, "police", {})
    assert 1 == len(memory.views())
    told(memory, "police", {"given_name": "Ann", "birth_date": "2014-01-02"})
    views = memory.views()
    assert [1, 1, 1] == [len(v["chronology"]) for v in views]
    assert 3 == len(questions(memory))
    assert [2, 2, 2] == [len(v["possible_matches"]) for v in views]
    for child, view in memory.saved.items():
        assert view == fold(memory.book.history(child), memory.reference, view["as_of"])


def test_one_record_is_asked_about_once(two: Memory) -> None:
    """Health's and education's questions about the one police record are one on their child's view: the first that was raised."""
    (theirs,) = (v for v in two.views() if {"police"} != {p["agency"] for p in v["identity"]})
    first = min(questions(two), key=lambda m: two.book.said[m.match_id][0].number)
    assert [("police", first.match_id)] == [(m["agency"], m["match_id"]) for m in theirs["possible_matches"]]


def test_not_the_same_answers_all(two: Memory) -> None:
    """No second question about the same two, and both entries say who said so."""
    entry = says(two, "MatchRejected", questions(two)[0].match_id)
    rejected = [data for kind, data in entry.conclusions if kind == "match_rejected"]
    assert [("m", "I know both")] * 2 == [(d["by"], d["rationale"]) for d in rejected]
    assert (["OPEN", "REJECTED", "REJECTED"], []) == (states(two), questions(two))
    assert [[], []] == listed(two, "possible_matches")


def test_undone_is_not_asked_again(two: Memory) -> None:
    """What was confirmed and undone stays apart, whichever of its records somebody might ask about."""
    first = questions(two)[0].match_id
    says(two, "MatchConfirmed", first)
    assert [] == questions(two)
    says(two, "MatchUndone", first)
    assert (["OPEN", "REJECTED", "UNDONE"], []) == (states(two), questions(two))
    assert 2 == len(two.views())


def test_confirmed_after_all(two: Memory) -> None:
    """An answer can be mended: any of the rejected ones can be confirmed."""
    first, second = (m.match_id for m in questions(two))
    says(two, "MatchRejected", first)
    assert ACCEPTED == says(two, "MatchConfirmed", second).verdict
    assert 1 == len(two.views())


def pnc_id(year: int, serial: int) -> str:
    """A PNC id with its check letter."""
    return f"20{year}/{serial:07}{'ZABCDEFGHJKLMNPQRTUVWXY'[int(f'{year}{serial:07}') % 23]}"


class TestTwoManagers:
    """One winner and one clear conflict: who decides must have seen what was decided."""

    def test_rejected_and_confirmed_at_once(self, two: Memory) -> None:
        """The older page's confirmation is refused, and joins nobody."""
        first = questions(two)[0].match_id
        seen = two.book.match_version(first)
        assert ACCEPTED == says(two, "MatchRejected", first, seen).verdict
        late = says(two, "MatchConfirmed", first, seen)
        assert ("REFUSED", "stale-decision", 2) == (late.verdict, late.reason, len(two.views()))
        assert ACCEPTED == says(two, "MatchConfirmed", first).verdict

    def test_confirmed_after_it_was_undone_elsewhere(self, two: Memory) -> None:
        """The same for who never saw the undo."""
        first = questions(two)[0].match_id
        seen = two.book.match_version(first)
        says(two, "MatchConfirmed", first)
        says(two, "MatchUndone", first)
        assert "stale-decision" == says(two, "MatchConfirmed", first, seen).reason
        assert 2 == len(two.views())

    def test_answered_by_the_answer_to_another(self, two: Memory) -> None:
        """Rejecting one of two questions about the same children is seen on the page of the other."""
        first, second = (m.match_id for m in questions(two))
        seen = two.book.match_version(second)
        says(two, "MatchRejected", first)
        assert "stale-decision" == says(two, "MatchConfirmed", second, seen).reason


class TestBothSides:
    """A possible match is of two children: each view lists it, and the past lists it as it was."""

    @staticmethod
    def asked() -> Memory:
        """Police first, education second: one question."""
        memory = Memory(AT)
        told(memory, "police", {})
        told(memory, "education", {})
        return memory

    def test_open_on_both(self) -> None:
        """Nobody is told that no other record waits."""
        memory = self.asked()
        assert [[("education", "OPEN")], [("police", "OPEN")]] == [
            [(m["agency"], m["state"]) for m in x] for x in listed(memory, "possible_matches")
        ]

    def test_rejected_on_both(self) -> None:
        """With whose record it is."""
        memory = self.asked()
        says(memory, "MatchRejected", questions(memory)[0].match_id)
        assert [["education"], ["police"]] == [[m["agency"] for m in x] for x in listed(memory, "rejected_matches")]
        for child, view in memory.saved.items():
            assert view == fold(memory.book.history(child), memory.reference, view["as_of"])

    @pytest.mark.parametrize("act", ["MatchRejected", "MatchConfirmed"])
    def test_the_past_lists_what_was_open_then(self, act: str) -> None:
        """As known before it was decided, it waits on both children."""
        memory = self.asked()
        then = memory.clock
        children = list(memory.book.members)
        says(memory, act, questions(memory)[0].match_id)
        past = [fold(memory.book.history(c), memory.reference, then, then) for c in children]
        assert [(1, 0), (1, 0)] == [(len(v["possible_matches"]), len(v["rejected_matches"])) for v in past]

    def test_undone_and_held_by_another_link(self) -> None:
        """The entry names what makes the two one child all the same, and no view calls them apart."""
        memory = Memory(AT)
        pnc = {"pnc": pnc_id(12, 1)}
        told(memory, "csc", pnc)
        told(memory, "police", {})
        match_id = questions(memory)[0].match_id
        says(memory, "MatchConfirmed", match_id)
        told(memory, "police", pnc)
        assert 1 == len(memory.views())
        entry = says(memory, "MatchUndone", match_id)
        (undone,) = [data for kind, data in entry.conclusions if kind == "match_undone"]
        assert [{"csc", "police"}, {"police"}] == sorted((set(x["agencies"]) for x in undone["held_by"]), key=len, reverse=True)
        assert any("PNC id" in x["why"] for x in undone["held_by"])
        (view,) = memory.views()
        assert [] == view["undone_matches"] == view["possible_matches"]

    def test_undone_and_apart(self, two: Memory) -> None:
        """Nothing holds."""
        first = questions(two)[0].match_id
        says(two, "MatchConfirmed", first)
        entry = says(two, "MatchUndone", first)
        assert [[]] == [data["held_by"] for kind, data in entry.conclusions if kind == "match_undone"]
