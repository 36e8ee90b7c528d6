"""Two children found to be one owe one decision; taken apart again, each has what it had (I3, I5)."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import uuid4

import pytest

from domain.conclude import make_recommendation_id
from domain.fold import fold, parts
from domain.model import Json
from domain.times import DAY_US, HOUR_US
from producers.halton.facts import blank
from projections.entries import ACCEPTED, Entry
from projections.outputs import outputs
from tests.fault.memory import Memory
from tests.unit.children import CHILD, NOW, REFERENCE, Child, r19
from tests.unit.test_domain_fold import parts_of
from tests.unit.test_questions import AT, envelope, says

HARM = {
    "police": ("VulnerabilitySubmission", {
        "submission_id": "v", "concerns": ["DISCLOSURE_ABUSE"], "seen": "YES", "seen_alone": "YES", "spoken_to": "YES"}),
    "education": ("SchoolConcern", {"concern_id": "c", "concerns": ["INJURY_ABUSE"]}),
    "rhi": ("ReturnHomeInterviewCompleted", {
        "interview_id": "i", "completed_at": AT, "independent": True, "alone": True, "harm": ["CSE"]}),
}  # fmt: skip
QUIET = {"police": {"concerns": ["BAD_HOUSING"]}, "education": {"concerns": ["WEIGHT_LOSS"]}, "rhi": {"harm": []}}


def tells(memory: Memory, agency: str, *, harm: bool = True, retracts: str | None = None) -> str:
    """An agency tells of harm to its Robin Test, of whom it knows name and birth date; the event's id."""
    record, body = HARM[agency] if retracts is None else ("Retraction", {"reason": "ENTERED_IN_ERROR"})
    value = blank(record) | body | ({} if harm else QUIET[agency])
    named = {"given_name": "Robin", "family_name": "Test", "birth_date": "2012-05-06", "local_id": f"{agency}-1"}
    value["envelope"] |= {
        "event_id": (event_id := str(uuid4())), "agency": agency, "occurred_at": AT, "recorded_at": AT, "reported_by": "Tester",
        "sensitivity": "ORDINARY", "retracts": retracts, "subject": {**value["envelope"]["subject"], **named},
    }  # fmt: skip
    assert ACCEPTED == memory.take(f"facts.{agency}", record, value).verdict
    return event_id


def decides(memory: Memory, rec: Json, decision: str = "DECLINE", acted_at: int | None = None) -> Entry:
    """A manager decides on a recommendation as they see it."""
    act = envelope(memory, based_on=rec["version"], acted_at=memory.clock if acted_at is None else acted_at)
    value = {"act": act, "recommendation_id": rec["recommendation_id"], "decision": decision, "meeting_at": None}
    return memory.take("decisions", "RecommendationDecided", value | {"reason": "OTHER_RESPONSE", "rationale": "Seen today"})


def holds(memory: Memory, rec: Json) -> Entry:
    """A manager records that a discussion was held."""
    value = {
        "act": envelope(memory, based_on=rec["version"]),
        "recommendation_id": rec["recommendation_id"],
        "held_at": memory.clock,
    }
    said = {"attended": ["csc", "police", "health"], "outcome": "S47_JOINT", "outcome_text": "Joint enquiry"}
    return memory.take("decisions", "StrategyMeetingHeld", value | said)


def closes(memory: Memory, rec: Json) -> Entry:
    """A manager closes a recommendation because its evidence changed."""
    value = {
        "act": envelope(memory, based_on=rec["version"]),
        "recommendation_id": rec["recommendation_id"],
        "rationale": "Withdrawn",
    }
    return memory.take("decisions", "RecommendationClosed", value)


def clock(memory: Memory, child_id: str, due_at: int) -> Entry:
    """The clock fires for a child."""
    act = envelope(memory, actor_id="clock", actor_role="clock", child_id=child_id)
    return memory.take("clock", "ClockFired", {"act": act, "due_at": due_at, "behind": []})


def listed(memory: Memory) -> dict[str, list[Json]]:
    """The recommendations of each child, oldest first, by the agency that showed the child first."""
    return {v["identity"][0]["agency"]: v["recommendations"][::-1] for v in memory.views()}


def states(memory: Memory) -> dict[str, list[str]]:
    """Their states."""
    return {k: [r["state"] for r in recs] for k, recs in listed(memory).items()}


def concluded(entry: Entry) -> list[tuple[str, str]]:
    """What an entry says of recommendations: kind, and which."""
    return [(kind, d["recommendation_id"]) for kind, d in entry.conclusions if "recommendation_id" in d]


def question(memory: Memory) -> str:
    """The only question."""
    (match,) = memory.book.matches
    return match


@pytest.fixture
def two() -> Memory:
    """Police tell of harm to one child, the school an hour later to another; each is to be decided on."""
    memory = Memory(AT)
    tells(memory, "police")
    memory.clock += HOUR_US
    tells(memory, "education")
    assert {"police": ["OPEN"], "education": ["OPEN"]} == states(memory)
    return memory


class TestFoundToBeOne:
    """A match is confirmed."""

    def test_the_older_goes_on(self, two: Memory) -> None:
        """It is raised anew on what both agencies told, due as it was; the other is joined into it, and both are told of."""
        (older,), (newer,) = (listed(two)[a] for a in ("police", "education"))
        entry = says(two, "MatchConfirmed", question(two))
        first, second = listed(two)["police"]
        assert [("recommended", older["recommendation_id"]), ("joined", newer["recommendation_id"])] == concluded(entry)
        assert (True, "OPEN", older["due_at"]) == (first["open"], first["state"], first["due_at"])
        assert {"police", "education"} == {a for r in first["reasons"] for a in r["agencies"]}
        assert (False, "JOINED", None) == (second["open"], second["state"], second["passed_on"])
        assert older["recommendation_id"] == second["history"][-1]["into"]
        told = [(v["recommendation_id"], v["state"]) for _, _, record, v in outputs(entry) if record == "RecommendationNotice"]
        assert [(older["recommendation_id"], "OPEN"), (newer["recommendation_id"], "JOINED")] == told

    def test_who_had_either_open_before_them(self, two: Memory) -> None:
        """Decides on nothing they never saw, and is told that the other one is decided on."""
        before = [r for recs in listed(two).values() for r in recs]
        says(two, "MatchConfirmed", question(two))
        assert ["stale-decision"] * 2 == [decides(two, r).reason for r in before]
        assert "decided-with-another" == decides(two, listed(two)["police"][1]).reason
        assert ACCEPTED == decides(two, listed(two)["police"][0]).verdict
        assert {"police": ["DECLINED", "JOINED"]} == states(two)

    def test_one_clock(self, two: Memory) -> None:
        """When the time is over one is overdue: nobody is called twice."""
        says(two, "MatchConfirmed", question(two))
        (view,) = two.views()
        two.clock += 5 * HOUR_US
        entry = clock(two, view["child_id"], two.clock)
        assert [("recommendation_overdue", view["recommendations"][1]["recommendation_id"])] == concluded(entry)
        assert {"police": ["OVERDUE", "JOINED"]} == states(two)

    def test_with_all_evidence_withdrawn(self) -> None:
        """Still one decision, that there is nothing to discuss any more; and not by who saw one of them only."""
        memory = Memory(AT)
        facts = {a: tells(memory, a) for a in ("police", "education")}
        for agency, fact in facts.items():
            tells(memory, agency, retracts=fact)
        (before,) = listed(memory)["police"]
        says(memory, "MatchConfirmed", question(memory))
        assert {"police": ["EVIDENCE_CHANGED", "JOINED"]} == states(memory)
        assert "stale-decision" == decides(memory, before).reason
        assert "evidence-stands" != closes(memory, listed(memory)["police"][0]).reason

    def test_with_the_evidence_of_one_withdrawn(self) -> None:
        """What was recommended anew rests on the other's: it is not closed for what is gone of the first."""
        memory = Memory(AT)
        fact = tells(memory, "police")
        tells(memory, "education")
        tells(memory, "police", retracts=fact)
        assert {"police": ["EVIDENCE_CHANGED"], "education": ["OPEN"]} == states(memory)
        says(memory, "MatchConfirmed", question(memory))
        assert {"police": ["OPEN", "JOINED"]} == states(memory)
        assert "evidence-stands" == closes(memory, listed(memory)["police"][0]).reason

    def test_what_comes_after_a_decision(self, two: Memory) -> None:
        """Is measured by what was decided on: the same is no news, another disclosure is."""
        says(two, "MatchConfirmed", question(two))
        decides(two, listed(two)["police"][0])
        tells(two, "education", harm=False)
        assert {"police": ["DECLINED", "JOINED"]} == states(two)
        tells(two, "education")
        assert {"police": ["DECLINED", "JOINED", "OPEN"]} == states(two)

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ((3, False), (2, False), 2),  # the earlier of two
            ((2, False), (3, False), 2),
            ((-1, True), (2, False), 2),  # the older was passed on for its own time: the younger one's time goes on
            ((2, False), (-1, True), -1),  # overdue stays overdue
            ((-2, True), (-1, True), 4),  # both are with others already: a new time
        ],
    )
    def test_due(self, first: tuple[int, bool], second: tuple[int, bool], expected: int) -> None:
        """No later than any of them was, in hours from now."""
        child = Child()
        facts = [child.says(a, HARM[a][0], NOW - DAY_US, HARM[a][1]) for a in ("police", "education")]
        for n, (fact, (hours, passed)) in enumerate(zip(facts, (first, second), strict=True)):
            about = {"recommendation_id": f"r{n}", "child_id": (CHILD, "other")[n], "due_at": NOW + hours * HOUR_US}
            why = {"rule": "harm-disclosure", "points": 0, "facts": [fact.event_id], "agencies": [fact.agency]}
            what = {"basis": "HARM", "points": 0, "triggers": ["harm-disclosure"], "reasons": [why]}
            rest = {"policy": REFERENCE.policy.id, "presentation_id": fact.presentation_id}
            child.adds([("recommended", {**about, **what, **rest})], NOW - DAY_US + n)
            if passed:
                child.adds([("recommendation_overdue", about | {"behind": [], "passed_to": []})], NOW - HOUR_US)
        found = dict(child.concludes())
        anew = found["recommended"]
        assert ("r0", CHILD, NOW + expected * HOUR_US) == (anew["recommendation_id"], anew["child_id"], anew["due_at"])
        assert {"recommendation_id": "r1", "child_id": "other", "into": "r0"} == found["joined"]
        assert ("JOINED", None) == tuple(child.view()["recommendations"][0][k] for k in ("state", "passed_on"))

    def test_id(self) -> None:
        """It counts what was raised on the child itself, which never leaves it: so it never comes twice."""
        child = r19()
        ((_, data),) = child.concludes()
        second = make_recommendation_id(parts(child.history, REFERENCE, NOW))
        assert data["recommendation_id"] != second
        child.adds([("recommended", data | {"recommendation_id": "r", "child_id": "other"})])
        assert second == make_recommendation_id(parts(child.history, REFERENCE, NOW))


class TestTakenApart:
    """The match is undone: each child has its own again, with all that was said of it."""

    def test_nothing_decided(self, two: Memory) -> None:
        """Both are open on their own evidence, and due as they were; the one that was joined is told of as open."""
        before = listed(two)
        says(two, "MatchConfirmed", question(two))
        entry = says(two, "MatchUndone", question(two))
        (older,), (newer,) = (listed(two)[a] for a in ("police", "education"))
        assert {"police": ["EVIDENCE_CHANGED"], "education": ["OPEN"]} == states(two)
        assert [r["due_at"] for recs in before.values() for r in recs] == [older["due_at"], newer["due_at"]]
        assert {"education"} == {a for r in newer["reasons"] for a in r["agencies"]}
        assert ("recommended", newer["recommendation_id"]) in concluded(entry)
        assert [ACCEPTED] * 2 == [decides(two, r).verdict for r in (older, newer)]
        assert {"police": ["DECLINED"], "education": ["DECLINED"]} == states(two)

    def test_that_of_the_older_child_was_joined(self) -> None:
        """It is told of as open where it is; once."""
        memory = Memory(AT)
        tells(memory, "police", harm=False)
        tells(memory, "education")
        tells(memory, "police")
        (mine,) = listed(memory)["police"]
        says(memory, "MatchConfirmed", question(memory))
        assert {"police": ["OPEN", "JOINED"]} == states(memory)
        entry = says(memory, "MatchUndone", question(memory))
        assert {"police": ["OPEN"], "education": ["OPEN"]} == states(memory)
        assert ("parted", mine["recommendation_id"]) in concluded(entry)
        told = [(v["recommendation_id"], v["state"]) for _, _, record, v in outputs(entry) if record == "RecommendationNotice"]
        assert (mine["recommendation_id"], "OPEN") in told
        version = listed(memory)["police"][0]["version"]
        assert entry.number == version
        tells(memory, "police", harm=False)
        assert version == listed(memory)["police"][0]["version"]

    def test_decided_meanwhile(self, two: Memory) -> None:
        """What was decided stays with the child it was recommended for; the other is owed one, in a time that can be kept."""
        says(two, "MatchConfirmed", question(two))
        decides(two, listed(two)["police"][0])
        two.clock += 6 * HOUR_US
        says(two, "MatchUndone", question(two))
        assert {"police": ["DECLINED"], "education": ["OPEN"]} == states(two)
        (newer,) = listed(two)["education"]
        assert two.clock + 4 * HOUR_US == newer["due_at"]

    def test_overdue_again(self, two: Memory) -> None:
        """The new time goes by, more comes: it is raised anew with a time of its own, after which it is passed on again."""
        says(two, "MatchConfirmed", question(two))
        decides(two, listed(two)["police"][0])
        two.clock += 6 * HOUR_US
        says(two, "MatchUndone", question(two))
        child = two.views()[1]["child_id"]
        for _ in range(2):
            two.clock = listed(two)["education"][0]["due_at"] + HOUR_US
            clock(two, child, two.clock)
            assert {"police": ["DECLINED"], "education": ["OVERDUE"]} == states(two)
            tells(two, "education")
            (newer,) = listed(two)["education"]
            assert two.clock + 4 * HOUR_US == newer["due_at"]

    def test_convened_meanwhile(self, two: Memory) -> None:
        """It can be recorded as held on the child it is of."""
        says(two, "MatchConfirmed", question(two))
        decides(two, listed(two)["police"][0], "CONVENE")
        says(two, "MatchUndone", question(two))
        assert {"police": ["CONVENED"], "education": ["OPEN"]} == states(two)
        (rec,) = listed(two)["police"]
        assert ACCEPTED == holds(two, rec).verdict
        assert {"police": ["HELD"], "education": ["OPEN"]} == states(two)

    def test_and_found_to_be_one_again(self, two: Memory) -> None:
        """One decision again; one taken in between counts."""
        says(two, "MatchConfirmed", question(two))
        says(two, "MatchUndone", question(two))
        says(two, "MatchConfirmed", question(two))
        assert {"police": ["OPEN", "JOINED"]} == states(two)
        says(two, "MatchUndone", question(two))
        decides(two, listed(two)["police"][0])
        says(two, "MatchConfirmed", question(two))
        assert {"police": ["DECLINED", "OPEN"]} == states(two)

    def test_with_nothing_left_to_discuss(self) -> None:
        """It is open again, told of, and due in a time that can be kept; joined again only by an entry that says so."""
        memory = Memory(AT)
        tells(memory, "police")
        fact = tells(memory, "education")
        says(memory, "MatchConfirmed", question(memory))
        tells(memory, "education", retracts=fact)
        decides(memory, listed(memory)["police"][0])
        memory.clock += 6 * HOUR_US
        entry = says(memory, "MatchUndone", question(memory))
        assert {"police": ["DECLINED"], "education": ["EVIDENCE_CHANGED"]} == states(memory)
        (newer,) = listed(memory)["education"]
        assert ("parted", newer["recommendation_id"]) in concluded(entry)
        assert memory.clock + 4 * HOUR_US == newer["due_at"]
        says(memory, "MatchConfirmed", question(memory))
        assert {"police": ["DECLINED", "EVIDENCE_CHANGED"]} == states(memory)

    def test_what_was_known_meanwhile(self, two: Memory) -> None:
        """A view of the past shows what was there: one child with both, before and after it two with one each (ADR 9)."""
        at = [two.clock]
        says(two, "MatchConfirmed", question(two))
        decides(two, listed(two)["police"][0])
        at.append(two.clock)
        says(two, "MatchUndone", question(two))
        at.append(two.clock)
        children = [v["child_id"] for v in two.views()]
        past = [[_of(two, child, when) for child in children] for when in at]
        assert [[["OPEN"], ["OPEN"]], [["DECLINED", "JOINED"], []], [["DECLINED"], ["OPEN"]]] == past

    def test_its_history(self, two: Memory) -> None:
        """Names no recommendation of another child (I5)."""
        says(two, "MatchConfirmed", question(two))
        says(two, "MatchUndone", question(two))
        (newer,) = listed(two)["education"]
        assert ["recommended", "joined", "parted"] == [h["kind"] for h in newer["history"]][:3]
        assert not any("into" in h for h in newer["history"])

    def test_raised_for_the_one_child_only(self) -> None:
        """What was recommended for the younger child goes with it: the older keeps nothing that is not its own (I5)."""
        memory = Memory(AT)
        tells(memory, "police", harm=False)
        tells(memory, "education")
        says(memory, "MatchConfirmed", question(memory))
        tells(memory, "police", harm=False)
        assert {"police": ["OPEN"]} == states(memory)
        says(memory, "MatchUndone", question(memory))
        assert {"police": [], "education": ["OPEN"]} == states(memory)


@pytest.mark.parametrize("block", range(4))
def test_any_order(block: int) -> None:
    """Three records of one name, told of, withdrawn, joined, taken apart and decided on in any order: never two to decide on for
    one child, each recommendation on one child with all that was said of it, and what was saved is a clean fold.
    """
    seen = set[str]()
    for seed in range(12 * block, 12 * block + 12):
        memory, rng = Memory(AT), Random(seed)
        facts: dict[str, list[str]] = {a: [tells(memory, a)] for a in rng.sample(sorted(HARM), 3)}
        for _ in range(40):
            memory.clock += rng.choice((0, HOUR_US, 5 * HOUR_US))
            _somebody(memory, rng, facts)
            seen |= _stands(memory, seed)
        steps = [(n, kind, d) for n, kind, d in memory.concluded if "recommendation_id" in d]
        said = [(d["recommendation_id"], d["child_id"]) for _, _, d in steps]
        assert len(set(said)) == len({rec for rec, _ in said}), f"seed {seed}"
        ends = [(n, d["recommendation_id"]) for n, kind, d in steps if kind == "joined"]
        assert [1] * len(ends) == [sum((n, d["recommendation_id"]) == e for n, _, d in steps) for e in ends], f"seed {seed}"
    assert {"OPEN", "OVERDUE", "EVIDENCE_CHANGED", "JOINED", "CONVENED", "DECLINED", "HELD", "CLOSED"} == seen


def _stands(memory: Memory, seed: int) -> set[str]:
    """What must hold at any time; the states that are there."""
    views = memory.views()
    for view in views:
        here = {r["recommendation_id"]: r for r in view["recommendations"]}
        assert sum(r["open"] for r in here.values()) <= 1, f"seed {seed}"
        assert all(_into(r) in here for r in here.values() if r["state"] == "JOINED"), f"seed {seed}"
        assert here or not view["risk"]["harm"], f"seed {seed}"
    listed = [r for v in views for r in v["recommendations"]]
    assert len(listed) == len({r["recommendation_id"] for r in listed}), f"seed {seed}"
    for view in views:
        history = memory.book.history(view["child_id"])
        went_on = memory.book.folded(view["child_id"], memory.reference, memory.clock)
        assert parts_of(parts(history, memory.reference, memory.clock)) == parts_of(went_on), f"seed {seed}"
    for child, view in memory.saved.items():
        assert view == fold(memory.book.history(child), memory.reference, view["as_of"]), f"seed {seed}"
    return {r["state"] for r in listed}


def _into(rec: Json) -> str:
    return str(next(h["into"] for h in rec["history"] if "into" in h))


def _of(memory: Memory, child: str, at: int) -> list[str]:
    """The states of a child's recommendations as they were known then."""
    return [r["state"] for r in fold(memory.book.history(child), memory.reference, at, at)["recommendations"][::-1]]


def _somebody(memory: Memory, rng: Random, facts: dict[str, list[str]]) -> None:
    """Somebody tells, withdraws, answers a question, decides; or the clock fires."""
    matches = memory.book.matches.values()
    listed: list[tuple[str, Any]] = [(v["child_id"], r) for v in memory.views() for r in v["recommendations"]]
    owed = [(child, rec) for child, rec in listed if rec["open"]]
    agency = rng.choice(sorted(facts))
    match rng.choice(("tell", "withdraw", "confirm", "confirm", "undo", "undo", "decide", "settle", "clock")):
        case "tell":
            facts[agency].append(tells(memory, agency, harm=rng.random() < 0.7))
        case "withdraw" if facts[agency]:
            tells(memory, agency, retracts=facts[agency].pop())
        case "confirm" if some := sorted(m.match_id for m in matches if m.state != "CONFIRMED"):
            says(memory, "MatchConfirmed", rng.choice(some))
        case "undo" if some := sorted(m.match_id for m in matches if m.state == "CONFIRMED"):
            says(memory, "MatchUndone", rng.choice(some))
        case "decide" if owed:
            rec = rng.choice(owed)[1]
            acted_at = min(memory.clock, rec["due_at"]) if rng.random() < 0.5 else None
            assert ACCEPTED == decides(memory, rec, rng.choice(("CONVENE", "DECLINE")), acted_at).verdict
        case "settle":
            _settle(memory, [rec for _, rec in listed])
        case "clock" if owed:
            child, rec = rng.choice(owed)
            memory.clock = max(memory.clock, rec["due_at"])
            clock(memory, child, rec["due_at"])


def _settle(memory: Memory, listed: list[Json]) -> None:
    """Record as held what was convened; close what has lost evidence."""
    for rec in listed:
        if rec["state"] == "CONVENED":
            assert ACCEPTED == holds(memory, rec).verdict
        elif rec["open"] and rec["evidence_changed"]:
            assert ACCEPTED == closes(memory, rec).verdict
