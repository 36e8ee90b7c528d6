"""Every known fact about the child, newest first, and how current each agency is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from domain.labelling import label_of
from domain.model import Fact, Json
from domain.policy import Line, Reference
from domain.selection import Known
from domain.times import local

SHOWN_MAX = 64
"""Longest list of codes in one line; a fact's own limit is 40 (schemas)."""


def chronology(known: Known, reference: Reference) -> list[Json]:
    """All facts, whatever their state, newest first."""
    return [_entry(fact, known, reference) for fact in reversed(known.facts)]


def currency(known: Known, reference: Reference) -> list[Json]:
    """One item an agency, also those that never sent (nulls). Sealed facts are not counted: they are not shown to exist."""
    seen: dict[str, list[int]] = {}
    for fact in known.facts:
        if fact.sensitivity == "SEALED":
            continue
        found = seen.get(fact.agency)
        if found is None:
            seen[fact.agency] = [fact.accepted_at, fact.occurred_at, 1]
        else:
            found[0] = max(found[0], fact.accepted_at)
            found[1] = max(found[1], fact.occurred_at)
            found[2] += 1
    out = []
    labels = reference.labels["agency"]
    for agency in reference.agencies:
        received, occurred, count = seen.get(agency, (None, None, 0))
        out.append(
            {"agency": agency, "label": labels[agency], "last_received": received, "last_occurred": occurred, "facts": count}
        )
    return out


def _entry(fact: Fact, known: Known, reference: Reference) -> Json:
    """A fact as it is listed: its own object each time, of parts that are made once (nobody changes them)."""
    kept: tuple[Reference, Json] | None = fact.memo.get("chronology")
    if kept is None or kept[0] is not reference:
        kept = fact.memo["chronology"] = (reference, _written(fact, reference))
    return kept[1] | {"state": known.state(fact)}


def _written(fact: Fact, reference: Reference) -> Json:
    shown = reference.records.get(fact.record)
    return {
        "event_id": fact.event_id, "agency": fact.agency, "agency_label": reference.label("agency", fact.agency),
        "record": fact.record, "title": shown.title if shown else fact.record, "occurred_at": fact.occurred_at,
        "recorded_at": fact.recorded_at, "accepted_at": fact.accepted_at, "reported_by": fact.reported_by,
        "historic": fact.historic, "state": None, "body": fact.body,
        "lines": lines(fact.body, shown.lines if shown else (), reference), "sharing": label_of(fact), "facts": [fact.event_id],
    }  # fmt: skip


def lines(body: Mapping[str, Any], shown: tuple[Line, ...], reference: Reference) -> list[list[str]]:
    """[label, text] for each field that says something, in the record's own order."""
    out = []
    for line in shown:
        value = body.get(line.key)
        if value is None and "." in line.key:
            value = _nested(body, line.key)
        if value is not None and value != []:
            out.append([line.label, _text(value, line, reference)])
    return out


def _nested(body: Mapping[str, Any], path: str) -> Any:
    node: Any = body
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _text(value: Any, line: Line, reference: Reference) -> str:
    if isinstance(value, str):
        return reference.label(line.codes, value) if line.codes else value
    if isinstance(value, list):
        return ", ".join(reference.label(line.codes, v) if line.codes else str(v) for v in value[:SHOWN_MAX])
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return moment(value) if line.instant else str(value)


@lru_cache(maxsize=16384)
def moment(us: int) -> str:
    """An instant for people: London time, `3 March 2026, 21:40`."""
    when = local(us)
    return f"{when.day} {MONTHS[when.month]} {when.year}, {when.hour:02}:{when.minute:02}"


@lru_cache(maxsize=16384)
def day(us: int) -> str:
    """An instant's London day for people: `3 March 2026`."""
    when = local(us)
    return f"{when.day} {MONTHS[when.month]} {when.year}"


MONTHS = (
    "", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
