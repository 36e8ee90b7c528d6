"""Who may correct a fact: its own agency, whatever the order of arrival. Decided in memory, by the real rules."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from producers.halton.facts import blank
from projections.entries import ACCEPTED, REFUSED
from projections.outputs import outputs
from tests.fault.memory import Memory

AT = 1_772_000_000_000_000


def fact(record: str, agency: str, **envelope: Any) -> dict[str, Any]:
    """A fact that is acceptable but for what it corrects."""
    value = blank(record)
    subject = {**value["envelope"]["subject"], "local_id": f"{agency}-1", "family_name": "Test", "birth_date": "2012-05-06"}
    more = {"SchoolConcern": {"concern_id": "c", "concerns": ["WEIGHT_LOSS"]}, "Retraction": {"reason": "ENTERED_IN_ERROR"}}
    value |= more.get(
        record, {"concerns": ["BAD_HOUSING"], "submission_id": "v", "seen": "YES", "seen_alone": "YES", "spoken_to": "YES"}
    )
    value["envelope"] |= {
        "event_id": str(uuid4()), "agency": agency, "occurred_at": AT, "recorded_at": AT, "reported_by": "Tester",
        "sensitivity": "ORDINARY", "subject": subject, **envelope,
    }  # fmt: skip
    return value


def id_of(value: dict[str, Any]) -> str:
    """Its event id."""
    return str(value["envelope"]["event_id"])


@pytest.fixture
def memory() -> Memory:
    """Nothing said yet."""
    return Memory(AT)


@pytest.mark.parametrize("field", ["supersedes", "retracts"])
def test_after_its_target(memory: Memory, field: str) -> None:
    """Refused by field and rule, nothing kept of it, and told by dead letter; a second try is refused again."""
    said = fact("SchoolConcern", "education")
    memory.take("facts.education", "SchoolConcern", said)
    record = "Retraction" if field == "retracts" else "VulnerabilitySubmission"
    for _ in range(2):
        entry = memory.take("facts.police", record, fact(record, "police", **{field: id_of(said)}))
        assert (REFUSED, "not-the-owner") == (entry.verdict, entry.reason)
        assert [f"envelope.{field}"] == [p.field for p in entry.problems]
        assert (None, None, []) == (entry.presentation_id, entry.body, entry.conclusions)
        assert ["Outcome", "DeadLetter"] == [name for _, _, name, _ in outputs(entry)]


def test_before_its_target(memory: Memory) -> None:
    """Accepted while nobody can know; told, once, by the entry of the target, with the pointer to its own record."""
    said = fact("SchoolConcern", "education")
    early = memory.take("facts.police", "Retraction", fact("Retraction", "police", retracts=id_of(said)))
    assert ACCEPTED == early.verdict
    entry = memory.take("facts.education", "SchoolConcern", said)
    assert ACCEPTED == entry.verdict
    letters = [(topic, value) for topic, _, name, value in outputs(entry) if name == "DeadLetter"]
    assert [("dead-letters.police", early.event_id, early.source)] == [
        (topic, v["event_id"], (v["source_topic"], v["source_partition"], v["source_offset"])) for topic, v in letters
    ]
    again = memory.take("facts.csc", "SocialCareStatus", status(id_of(said)))
    assert ACCEPTED == again.verdict, "an id is an agency's own: csc may use it too"
    assert [] == [name for _, _, name, _ in outputs(again) if name == "DeadLetter"]
    states = [c["state"] for v in memory.views() for c in v["chronology"] if c["record"] == "SchoolConcern"]
    assert ["CURRENT"] == states


def test_its_own_in_any_order(memory: Memory) -> None:
    """Before or after its target, and also when another agency uses the same id."""
    said = fact("SchoolConcern", "education")
    memory.take("facts.csc", "SocialCareStatus", status(id_of(said)))
    memory.take("facts.education", "SchoolConcern", said)
    late = memory.take("facts.education", "Retraction", fact("Retraction", "education", retracts=id_of(said)))
    other = fact("SchoolConcern", "education")
    early = memory.take("facts.education", "Retraction", fact("Retraction", "education", retracts=id_of(other)))
    found = memory.take("facts.education", "SchoolConcern", other)
    assert [ACCEPTED] * 3 == [e.verdict for e in (late, early, found)]
    assert [] == [kind for _, kind, _ in memory.concluded if kind == "not_the_owner"]
    states = [c["state"] for v in memory.views() for c in v["chronology"] if c["record"] == "SchoolConcern"]
    assert ["RETRACTED"] * 2 == states


def status(event_id: str) -> dict[str, Any]:
    """A status with social care under a given id."""
    value = fact("SchoolConcern", "csc", event_id=event_id)
    return blank("SocialCareStatus") | {"envelope": value["envelope"], "status": "CIN", "from_date": "2026-01-05"}
