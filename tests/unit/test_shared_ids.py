"""Many children under one local id: what is asked of people stays answerable, and an entry stays small."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
import pytest

from domain.identifiers import is_placeholder
from domain.matching import PROPOSED_MAX
from domain.problems import InvalidFact
from domain.times import DAY_US
from producers.facts import prepare
from producers.halton.facts import blank
from tests.fault.memory import Memory

NOW = 1_794_312_000_000_000
"""10 November 2026, noon."""


def concern(local_id: str, given: str | None, family: str | None = "Sample") -> dict[str, Any]:
    """A school's concern about a child on this record."""
    value = blank("SchoolConcern")
    value["envelope"] |= {
        "event_id": str(uuid4()), "agency": "education", "occurred_at": NOW - DAY_US, "recorded_at": NOW - DAY_US,
        "reported_by": "Lead", "sensitivity": "ORDINARY",
        "subject": {**value["envelope"]["subject"], "local_id": local_id, "given_name": given, "family_name": family},
    }  # fmt: skip
    return value | {"concern_id": "SC-1", "concerns": ["WEIGHT_LOSS"], "narrative": "x", "exploitation": []}


def told(house: Memory, value: dict[str, Any]) -> list[tuple[str, Any]]:
    """What was concluded from it."""
    entry = house.take("facts.education", "SchoolConcern", value)
    assert "ACCEPTED" == entry.verdict
    return entry.conclusions


def test_a_real_id_shared_by_many() -> None:
    """A few possible matches each, and the last says that there would be more."""
    house = Memory(NOW)
    entries = [told(house, concern("P-1", f"Child{i:03}")) for i in range(60)]
    matches = [[d for kind, d in found if kind == "possible_match"] for found in entries]
    assert [min(i, PROPOSED_MAX) for i in range(60)] == [len(m) for m in matches]
    assert not any("not listed" in e for m in matches[: PROPOSED_MAX + 1] for d in m for e in d["evidence"])
    assert all("not listed" in m[-1]["evidence"][-1] for m in matches[PROPOSED_MAX + 1 :])
    assert len(orjson.dumps(entries[-1])) < 16_384


@pytest.mark.parametrize("local_id", ["UNKNOWN", "n/a", "Not Known", "0", "000000", "-", "XXXX", "99999", "None", "TBC"])
def test_a_placeholder_is_no_id(local_id: str) -> None:
    """Strangers under it are strangers: not joined, not proposed."""
    assert is_placeholder(local_id)
    house = Memory(NOW)
    for i in range(5):
        assert ["linked"] == [kind for kind, _ in told(house, concern(local_id, f"Child{i}"))]
    assert ["linked"] == [kind for kind, _ in told(house, concern(local_id, None, "Sample"))]
    assert 6 == len([m for m in house.book.members.values() if m])


@pytest.mark.parametrize("local_id", ["P-1", "9", "10", "N1", "X1", "NA-12", "100000", "Unknown-3"])
def test_what_is_an_id(local_id: str) -> None:
    """A short number is a number."""
    assert not is_placeholder(local_id)


def test_a_placeholder_alone_names_nobody() -> None:
    """Such a fact would be filed on whoever came last under it: refused, with field and rule."""
    with pytest.raises(InvalidFact) as error:
        prepare("education", b"0123456789abcdef", "SchoolConcern", concern("unknown", None, None), NOW)
    assert [("envelope.subject.local_id", "placeholder")] == [(p.field, p.rule) for p in error.value.problems]
