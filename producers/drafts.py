"""What a file adapter makes of a file: drafts of facts with their place in the source, and reports of what was not right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final
from uuid import UUID, uuid5

from domain.problems import InvalidFact
from domain.times import LONDON, to_us
from producers.client import AgencyClient
from producers.errors import TooLarge
from producers.facts import Fact

NAMESPACE: Final = UUID("6b1d0c1e-7d0f-5a52-9f0e-3a6f1c0b9d52")
"""Of the event ids that adapters derive from sources: our own, made once."""

STORE_DRAFTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Report:
    """Something in a source that a person should look at. Names the place and the rule, never the value (I7).

    `kept` is true when nothing is left out for it: the fact was made, or it waits.
    """

    file: str
    line: int
    field: str
    rule: str
    message: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A fact read from `file` at `line` (for FHIR: the resource's line, or 0), ready for `AgencyClient`."""

    record: str
    value: Mapping[str, Any]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Reading:
    """All that came of reading one source."""

    drafts: tuple[Draft, ...] = ()
    reports: tuple[Report, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def event_id(source: str, record: str, value: Mapping[str, Any]) -> str:
    """UUIDv5 of where a fact is from and what it says: the same content read again is the same fact."""
    return str(uuid5(NAMESPACE, json.dumps([source, record, value], sort_keys=True, ensure_ascii=False, separators=(",", ":"))))


def with_event_id(source: str, record: str, value: dict[str, Any]) -> dict[str, Any]:
    """`value` (with an envelope) and its derived `event_id` in the envelope."""
    return {**value, "envelope": {"event_id": event_id(source, record, value), **value["envelope"]}}


def london_midnight_us(day: date) -> int:
    """The first instant of a London calendar day, µs UTC: what a source without hours says of a moment."""
    return to_us(datetime.combine(day, time(), LONDON))


@dataclass(frozen=True, slots=True)
class Published:
    """What became of drafts: how many were published, which the contract does not take, and why."""

    count: int
    refused: tuple[Draft, ...]
    reports: tuple[Report, ...]


def publish_drafts(client: AgencyClient, drafts: Iterable[Draft]) -> Published:
    """Publish drafts in order, leaving out those that break the contract.

    Raises:
        SpoolFull, SpoolUnwritable: those stored before stay stored; reading the source again repeats nothing.
    """
    published, reports, ready = 0, list[Report](), list[Fact]()
    refused: list[Draft] = []
    for draft in drafts:
        try:
            ready.append(client.prepare(draft.record, draft.value))
        except InvalidFact as err:
            refused.append(draft)
            reports += [Report(draft.file, draft.line, p.field, p.rule, p.message) for p in err.problems]
        except TooLarge as err:
            refused.append(draft)
            reports.append(Report(draft.file, draft.line, draft.record, "too-large", str(err)))
        if len(ready) == STORE_DRAFTS:
            client.store(ready)
            published, ready = published + len(ready), []
    client.store(ready)
    return Published(published + len(ready), tuple(refused), tuple(reports))
