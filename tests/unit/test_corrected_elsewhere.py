"""A fact corrected under another record than its own, while that was on another child: an undo leaves it corrected (I5)."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.fold import fold
from domain.model import Json
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
    """An agency says something of its Robin Test; `said`: what is otherwise in the envelope, or in its subject."""
    name, usual = SAID[agency]
    value = blank(record or name) | (usual if record is None else {}) | (body or {})
    subject = value["envelope"]["subject"] | NAMED | {"local_id": f"{agency}-1"}
    envelope = {"event_id": str(uuid4()), "agency": agency, "occurred_at": AT, "recorded_at": AT, "reported_by": "Tester"}
    value["envelope"] |= envelope | {"sensitivity": "ORDINARY"} | {k: v for k, v in said.items() if k not in subject}
    value["envelope"]["subject"] = subject | {k: v for k, v in said.items() if k in subject}
    entry = memory.take(f"facts.{agency}", record or name, value)
    assert ACCEPTED == entry.verdict
    return entry


def harm(memory: Memory, event_id: str) -> None:
    """The school tells of an injury."""
    takes(memory, "education", {"concerns": ["INJURY_ABUSE"]}, event_id=event_id)


def corrects(memory: Memory, event_id: str, how: str) -> None:
    """The school withdraws it, or tells it of another of its children."""
    if how == "retracts":
        takes(memory, "education", {"reason": "WRONG_CHILD"}, "Retraction", retracts=event_id, **ELSEWHERE)
    else:
        takes(memory, "education", supersedes=event_id, **ELSEWHERE)


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


@pytest.mark.parametrize("block", range(2))
def test_in_any_order(block: int) -> None:
    """Confirmed, undone, told and corrected elsewhere: each fact is in the state that the oracle gives it, and all is a clean
    fold (I2, I5).
    """
    corrected = 0
    for seed in range(40 * block, 40 * block + 40):
        memory, told, rng = Memory(AT), list[tuple[Told, str]](), Random(seed)
        for agency in SIDES:
            takes(memory, agency)
        waiting = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(3)]
        targets = list(waiting)
        for _ in range(rng.randrange(6, 14)):
            what = rng.random()
            if what < 0.35:
                (match,) = memory.book.matches.values()
                says(memory, "MatchUndone" if match.state == "CONFIRMED" else "MatchConfirmed", match.match_id)
                continue
            env: Json = {"event_id": str(UUID(int=rng.getrandbits(128), version=4)), "supersedes": None, "retracts": None}
            record, body, where = None, None, {}
            if what < 0.6 and waiting:
                env["event_id"] = waiting.pop()
            else:
                env[rng.choice(("supersedes", "retracts"))], where = rng.choice(targets), ELSEWHERE
            if env["retracts"]:
                record, body = "Retraction", {"reason": "WRONG_CHILD"}
            entry = takes(memory, "education", body, record, **env, **where)
            fact = Told(env["event_id"], entry.number, entry.accepted_at, entry.record or "", "education", env, {})
            told.append((fact, where.get("local_id", "education-1")))
        (match,) = memory.book.matches.values()
        if match.state == "CONFIRMED":
            says(memory, "MatchUndone", match.match_id)
        corrections, homes = Corrections(f for f, _ in told), {f.key: home for f, home in told}
        found = {c["event_id"]: c["state"] for v in memory.views() for c in v["chronology"]}
        wanted = {f.key: corrections.state(f, homes.__getitem__) for f, _ in told}
        assert wanted == {k: s for k, s in found.items() if k in wanted}, f"seed {seed}"
        corrected += sum(state != "CURRENT" and homes[k] == "education-1" for k, state in wanted.items())
        for child, view in memory.saved.items():
            clean = fold(memory.book.history(child), memory.reference, view["as_of"])
            assert [] == [k for k in clean if clean[k] != view[k]], f"seed {seed}"
    assert corrected > 0
