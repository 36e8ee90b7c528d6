"""What the checks read and what they say: the ledger topic on our own terms, the views as shown, and violations.

The ledger topic is read by its headers and the clear part of entries, so that a defect in our reader is a finding.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import fastavro

from schemas.catalogue import spec
from tests.fault.harness import House
from tests.looking import reading

SHOWN: Final = 4
FACT, ACT, ACCEPTED, DUPLICATE, CONFLICT, REFUSED = "FACT", "ACT", "ACCEPTED", "DUPLICATE", "CONFLICT", "REFUSED"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: the invariant's name, and what shows it. Names ids and offsets, never content."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclass(slots=True)
class Ledger:
    """What the ledger topic says: the clear part of each entry in number order, and what was wrong with the topic itself."""

    entries: list[dict[str, Any]]
    violations: list[Violation]
    incarnation: int = 0

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Entries about facts."""
        return [e for e in self.entries if e["kind"] == FACT]


def read_ledger(house: House) -> Ledger:
    """Numbers are gapless, `accepted_at` never decreases, what a superseded relay sent is ignored."""
    raw = spec("LedgerEntry").raw
    entries: list[dict[str, Any]] = []
    bad: list[Violation] = []
    fence = (0, 0)
    for record in house.read("ledger"):
        head = {k: v.decode() for k, v in record.headers}
        holder = (int(head["incarnation"]), int(head["epoch"]))
        if holder < fence:
            continue
        fence = holder
        last = entries[-1]["number"] if entries else 0
        if head["record"] == "Takeover" or int(head["number"]) <= last:
            continue
        entry = fastavro.schemaless_reader(io.BytesIO(record.value), raw, None)
        assert isinstance(entry, dict)
        if entry["number"] != last + 1:
            bad.append(Violation("LEDGER", f"after number {last} comes {entry['number']} at offset {record.offset}"))
        if entries and entry["accepted_at"] < entries[-1]["accepted_at"]:
            bad.append(Violation("LEDGER", f"accepted_at of number {entry['number']} lies before that of {last}"))
        entries.append(entry)
    return Ledger(entries, bad, fence[0])


def accepted(house: House, agency: str) -> set[str]:
    """Ids of the agency's facts that the ledger topic calls accepted."""
    return {e["event_id"] for e in read_ledger(house).facts if e["agency"] == agency and e["verdict"] == ACCEPTED}


def views(house: House) -> dict[str, dict[str, Any]]:
    """What a reader is shown of each living child, by child id, as of when the house last judged it."""
    with reading(house.settings) as shown:
        found = {c: shown.child_view(c, at) for c, at in house.rows("select child_id, as_of from child")}
    return {c: v for c, v in found.items() if v is not None and v["merged_into"] is None}


def unique(topic: str, name: str, ids: Iterable[Any]) -> list[Violation]:
    again = [i for i, c in Counter(ids).items() if c > 1]
    return [Violation("I3", f"{topic}: {len(again)} × the same {name}, such as {again[:SHOWN]}")] if again else []


def same(topic: str, there: set[Any], owed: set[Any]) -> list[Violation]:
    bad = []
    if lost := sorted(owed - there):
        bad.append(Violation("I3", f"{topic} lacks {len(lost)} outputs, such as {lost[:SHOWN]}"))
    if strange := sorted(there - owed):
        bad.append(Violation("I3", f"{topic} holds {len(strange)} outputs that nothing calls for, such as {strange[:SHOWN]}"))
    return bad
