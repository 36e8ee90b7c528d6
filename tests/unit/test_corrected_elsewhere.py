"""A fact corrected under another record than its own, while that was on another child: an undo leaves it corrected (I5). What
withdraws it may be withdrawn in turn, under whichever record: then it is in force again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise, permutations, product
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.fold import fold
from domain.model import Json
from domain.selection import select
from producers.halton.facts import blank
from projections.entries import ACCEPTED, Entry
from tests.fault.memory import Memory
from tests.fault.oracle import Corrections, Told
from tests.unit.test_one_decision import question
from tests.unit.test_questions import AT, NAMED, SAID, says

ELSEWHERE = {"local_id": "education-9", "given_name": "Ann", "birth_date": "2014-01-02"}
"""Another child of the same school."""

SIDES = ("police", "education")


def takes(memory: Memory, agency: str, body: Json | None = None, record: str | None = None, **said: Any) -> Entry:
    """An agency says something (`value_of`), and it is accepted."""
    entry = memory.take(f"facts.{agency}", *value_of(agency, body, record, **said))
    assert ACCEPTED == entry.verdict
    return entry


def value_of(agency: str, body: Json | None = None, record: str | None = None, **said: Any) -> tuple[str, Json]:
    """What an agency says of its Robin Test; `said`: what is otherwise in the envelope, or in its subject."""
    name, usual = SAID[agency]
    value = blank(record or name) | (usual if record is None else {}) | (body or {})
    subject = value["envelope"]["subject"] | NAMED | {"local_id": f"{agency}-1"}
    envelope = {"event_id": str(uuid4()), "agency": agency, "occurred_at": AT, "recorded_at": AT, "reported_by": "Tester"}
    value["envelope"] |= envelope | {"sensitivity": "ORDINARY"} | {k: v for k, v in said.items() if k not in subject}
    value["envelope"]["subject"] = subject | {k: v for k, v in said.items() if k in subject}
    return record or name, value


def harm(memory: Memory, event_id: str) -> None:
    """The school tells of an injury."""
    takes(memory, "education", {"concerns": ["INJURY_ABUSE"]}, event_id=event_id)


def corrects(memory: Memory, event_id: str, how: str) -> None:
    """The school withdraws it, or tells it of another of its children."""
    if how == "retracts":
        takes(memory, "education", {"reason": "WRONG_CHILD"}, "Retraction", retracts=event_id, **ELSEWHERE)
    else:
        takes(memory, "education", supersedes=event_id, **ELSEWHERE)


def withdraws(memory: Memory, event_id: str, target: str, *, at_home: bool = False) -> None:
    """The school withdraws something, under the child's own record or under another's."""
    where = {} if at_home else ELSEWHERE
    takes(memory, "education", {"reason": "WRONG_CHILD"}, "Retraction", event_id=event_id, retracts=target, **where)


def states(memory: Memory) -> dict[str, str]:
    """The state of every fact, by id."""
    return {c["event_id"]: c["state"] for v in memory.views() for c in v["chronology"]}


def seen(memory: Memory) -> list[tuple[list[tuple[str, str]], bool]]:
    """Of each child: what is said in which state, and whether it is harm."""
    return [(sorted((c["record"], c["state"]) for c in v["chronology"]), v["risk"]["harm"]) for v in memory.views()]


class TestUndone:
    """Police and school tell of one Robin; a manager takes them for one child, and undoes it."""

    @pytest.mark.parametrize("how", ["retracts", "supersedes"])
    @pytest.mark.parametrize("first", ["fact", "correction"])
    def test_as_if_they_had_never_been_one(self, how: str, first: str) -> None:
        """What was corrected meanwhile stays so, also where the correction came before it."""
        found = []
        for merged in (False, True):
            memory, event_id = Memory(AT), str(uuid4())
            for agency in SIDES:
                takes(memory, agency)
            if merged:
                says(memory, "MatchConfirmed", question(memory))
            if first == "fact":
                harm(memory, event_id)
            corrects(memory, event_id, how)
            if first == "correction":
                harm(memory, event_id)
            if merged:
                says(memory, "MatchUndone", question(memory))
            found.append(seen(memory))
        alone, together = found
        assert alone == together
        assert [False, False] == [harmed for _, harmed in alone[:2]]

    def test_a_submission_is_told_back_once(self) -> None:
        """Without the child's voice, told while the two were one: the officer's supervisor hears of it once (R18)."""
        memory = Memory(AT)
        takes(memory, "education")
        takes(memory, "police", {"why_not": "Asleep"})
        says(memory, "MatchConfirmed", question(memory))
        takes(memory, "police")
        says(memory, "MatchUndone", question(memory))
        takes(memory, "police", {"why_not": "Asleep"})
        assert 1 == sum(kind == "quality_defect" for _, kind, _ in memory.concluded)
        assert [0, 1] == [len(v["defects"]) for v in memory.views()]


class TestWithdrawnInTurn:
    """The school withdraws a retraction, or even that withdrawal: harm is in force again exactly where it was told (R1)."""

    @pytest.mark.parametrize("order", sorted(permutations(range(3))), ids=str)
    @pytest.mark.parametrize("at", sorted(product((True, False), repeat=2)), ids=str)
    def test_harm_is_back(self, at: tuple[bool, bool], order: tuple[int, ...]) -> None:
        """The harm, what withdraws it and what withdraws that, in any order, each of the two at home or elsewhere."""
        memory, ids = Memory(AT), [str(uuid4()) for _ in range(3)]
        for agency in SIDES:
            takes(memory, agency)
        for n in order:
            if n == 0:
                harm(memory, ids[0])
            else:
                withdraws(memory, ids[n], ids[n - 1], at_home=at[n - 1])
        assert "CURRENT" == states(memory)[ids[0]]
        assert [False, True] == [harmed for _, harmed in seen(memory)[:2]]
        (raised,) = {data["recommendation_id"] for _, data in memory.raised()}
        assert raised in {r["recommendation_id"] for v in memory.views() for r in v["recommendations"]}

    def test_raised_when_it_is_back(self) -> None:
        """Withdrawn elsewhere, and that withdrawn there: people are told of it as of new harm; each thing is said once (I3)."""
        memory, ids = Memory(AT), [str(uuid4()) for _ in range(4)]
        harm(memory, ids[0])
        withdraws(memory, ids[1], ids[0])
        assert 1 == len(memory.raised())
        withdraws(memory, ids[2], ids[1])
        assert 2 == len(memory.raised())
        withdraws(memory, ids[3], ids[2])
        assert ["replaced", "reinstated", "replaced"] == [k for _, k, data in memory.concluded if data.get("event_id") == ids[0]]
        assert "SUPERSEDED" == states(memory)[ids[0]]

    def test_superseded_for_good(self) -> None:
        """What a newer fact replaced stays so, whatever becomes of that one."""
        memory, ids = Memory(AT), [str(uuid4()) for _ in range(3)]
        harm(memory, ids[0])
        takes(memory, "education", event_id=ids[1], supersedes=ids[0], **ELSEWHERE)
        withdraws(memory, ids[2], ids[1], at_home=True)
        assert ["SUPERSEDED", "SUPERSEDED"] == [states(memory)[i] for i in ids[:2]]

    @pytest.mark.parametrize("at_home", [True, False])
    def test_of_a_day_before(self, *, at_home: bool) -> None:
        """What was true before is told as it is known now, wherever the corrections were filed."""
        memory, ids = Memory(AT), [str(uuid4()) for _ in range(3)]
        harm(memory, ids[0])
        before = memory.clock
        for n, expected in ((1, False), (2, True)):
            withdraws(memory, ids[n], ids[n - 1], at_home=at_home)
            child = memory.book.child_of[memory.book.stands["education", ids[0]].presentation_id]
            assert expected is fold(memory.book.history(child), memory.reference, before)["risk"]["harm"]


def test_of_two_agencies_one_id() -> None:
    """Both gave one id, and are one child: the school withdraws its own elsewhere, and not the harm that police told."""
    memory, event_id = Memory(AT), str(uuid4())
    takes(memory, "police", {"concerns": ["DISCLOSURE_ABUSE"]}, event_id=event_id)
    takes(memory, "education", event_id=event_id)
    says(memory, "MatchConfirmed", question(memory))
    withdraws(memory, str(uuid4()), event_id)
    (view,) = [v for v in memory.views() if v["risk"]["harm"]]
    assert {"police": "CURRENT", "education": "SUPERSEDED"} == {c["agency"]: c["state"] for c in view["chronology"]}


PLACES = ("education-1", "education-2", ELSEWHERE["local_id"])
"""Robin's record, another that may be his, and another child's."""


def said_of(rng: Random) -> list[tuple[str, Json]]:
    """Three facts, and what the school corrects of them and of its retractions: (local id, of the envelope), in any order."""
    ids = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(12)]
    out: list[tuple[str, Json]] = [(PLACES[0], {"event_id": i}) for i in ids[:3]]
    for n, event_id in enumerate(ids[3 : rng.randrange(5, 12)], 3):
        how = "retracts" if rng.random() < 0.8 else "supersedes"
        # mostly of the last, so that there are chains; of one still to come now and then, so that some go round in a ring
        target = ids[n - 1] if rng.random() < 0.5 else rng.choice([*ids[:n], *ids[n + 1 : n + 2]])
        out.append((rng.choice(PLACES[:: rng.choice((1, 2))]), {"event_id": event_id, how: target}))
    rng.shuffle(out)
    return out


@pytest.mark.parametrize("other", ["police-1", "education-2"])
@pytest.mark.parametrize("block", range(2))
def test_in_any_order(block: int, other: str) -> None:
    """Confirmed, undone, told and corrected at home and elsewhere, retractions withdrawn in turn: after every entry each fact is
    in the state that the oracle gives it, and all is a clean fold (I2, I3, I5).
    """
    counted: Counter[str] = Counter()
    for seed in range(40 * block, 40 * block + 40):
        memory, told, rng = Memory(AT), list[tuple[Told, str]](), Random(seed)
        for local_id in (other, PLACES[0]):
            takes(memory, local_id.partition("-")[0], local_id=local_id)
        for place, said in said_of(rng):
            if rng.random() < 0.4:
                (match,) = memory.book.matches.values()
                says(memory, "MatchUndone" if match.state == "CONFIRMED" else "MatchConfirmed", match.match_id)
                check(memory, told, f"seed {seed}")
            told.append(tell(memory, place if place == other else place.replace("-2", "-1"), said))
            check(memory, told, f"seed {seed}")
        (match,) = memory.book.matches.values()
        if match.state == "CONFIRMED":
            says(memory, "MatchUndone", match.match_id)
        check(memory, told, f"seed {seed}", exactly=other == "police-1")
        counted.update(kind for _, kind, _ in memory.concluded)
        pairs = defaultdict[tuple[str, str], list[str]](list)
        for _, kind, data in memory.concluded:
            if kind in ("replaced", "reinstated"):
                pairs[data["event_id"], data["by_event_id"]].append(kind)
        assert all(a != b for kinds in pairs.values() for a, b in pairwise(kinds)), f"seed {seed}"
        counted.update("again" for kinds in pairs.values() if len(kinds) > 1)
    assert min(counted[k] for k in ("replaced", "reinstated", "again")) > 0, counted


def tell(memory: Memory, local_id: str, said: Json) -> tuple[Told, str]:
    """The school tells it, under this record; the fact, and where."""
    env, record, body, where = told_under(local_id, said)
    entry = takes(memory, "education", body, record, **env, **where)
    return Told(env["event_id"], entry.number, entry.accepted_at, entry.record or "", "education", env, {}), local_id


def told_under(local_id: str, said: Json) -> tuple[Json, str | None, Json | None, Json]:
    """Envelope, record and body of what the school tells, and whom it names."""
    env: Json = {"supersedes": None, "retracts": None, **said}
    record, body = ("Retraction", {"reason": "WRONG_CHILD"}) if env["retracts"] else (None, None)
    return env, record, body, ELSEWHERE if local_id == ELSEWHERE["local_id"] else {"local_id": local_id}


def check(memory: Memory, told: list[tuple[Told, str]], note: str, *, exactly: bool = False) -> None:
    """What is in force is what the oracle says; `exactly`: also how the rest came out of force. What is saved and what is
    remembered is a clean fold.
    """
    corrections, homes = Corrections(f for f, _ in told), {f.key: home for f, home in told}
    found = states(memory)
    for fact, _ in told:
        wanted = corrections.state(fact, homes.__getitem__)
        assert (wanted == "CURRENT") == (found[fact.key] == "CURRENT"), note
        assert not exactly or wanted == found[fact.key], note
    for child, view in memory.saved.items():
        clean = fold(memory.book.history(child), memory.reference, view["as_of"])
        assert [] == [k for k in clean if clean[k] != view[k]], note
        if memory.book.members[child]:
            remembered = memory.book.folded(child, memory.reference, memory.clock).known
            assert select(memory.book.history(child), memory.clock).states == remembered.states, note
