"""Ledger entries: a clear header without personal data, and sections encrypted under presentation and record class."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro
import orjson

from domain.model import Fact, Json, fact_of
from domain.problems import Problem
from projections.keyring import KeyName, KeyRing
from schemas.catalogue import RecordSpec, catalogue, spec
from schemas.codec import FactReader, decode_body, older

ENTRY: Final = spec("LedgerEntry")
ENTRY_BYTES_MAX: Final = 1024 * 1024
"""Greatest encoded entry, bytes (design)."""

IDENTITY: Final = "identity"
"""Record class of the identifying fields, apart from what is said under them."""

FACT, ACT, REFERENCE = "FACT", "ACT", "REFERENCE"
ACCEPTED, DUPLICATE, CONFLICT, REFUSED = "ACCEPTED", "DUPLICATE", "CONFLICT", "REFUSED"


@dataclass(slots=True)
class Entry:
    """One entry in the clear. `value` is the decoded fact or act; `conclusions` are (kind, data), see `domain.model.KINDS`."""

    number: int
    incarnation: int
    kind: str
    accepted_at: int
    source: tuple[str, int, int] | None = None
    agency: str | None = None
    record: str | None = None
    event_id: str | None = None
    verdict: str = ACCEPTED
    reason: str | None = None
    problems: tuple[Problem, ...] = ()
    content: bytes | None = None
    writer: str | None = None
    policy: str | None = None
    codes: str | None = None
    presentation_id: str | None = None
    identity: Mapping[str, str | None] | None = None
    body: bytes | None = None
    value: Json | None = None
    conclusions: list[tuple[str, Json]] = field(default_factory=list)
    clear: bytes | None = None
    erased: bool = False
    _fact: Fact | None = field(default=None, init=False, repr=False, compare=False)
    _told: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def fact(self) -> Fact:
        """The accepted fact of this entry, made once: nothing of it changes when it has been decided about."""
        if self._fact is None:
            assert self.value is not None
            assert self.presentation_id is not None
            assert self.record is not None
            self._fact = fact_of(fact_fields(self.number, self.accepted_at, self.presentation_id, self.record, self.value))
        return self._fact

    def told(self) -> bytes:
        """The accepted fact of this entry as tables and footprints hold it, made once: `fact_fields` as JSON text."""
        if self._told is None:
            assert self.value is not None
            fields = fact_fields(self.number, self.accepted_at, self.presentation_id or "", self.record or "", self.value)
            self._told = orjson.dumps(fields)
        return self._told


def fact_fields(number: int, accepted_at: int, presentation_id: str, record: str, value: Json) -> tuple[Any, ...]:
    """A decoded fact's values in the order of `domain.model.FACT_FIELDS`."""
    body = dict(value)
    env = body.pop("envelope")
    return (
        number, accepted_at, env["event_id"], env["agency"], record, presentation_id, env["occurred_at"], env["recorded_at"],
        env["reported_by"], env["regime"], env["sensitivity"], env["scope"], env["historic"], env["supersedes"], env["retracts"],
        body,
    )  # fmt: skip


def _told(value: Any, branch: str = "string") -> tuple[str, Any] | None:
    """A value of a union with null that names its branch: fastavro finds it without trying each, which halves its time."""
    return None if value is None else (branch, value)


def seal(entry: Entry, keys: KeyRing) -> bytes:
    """The entry as bytes, its content encrypted. Every key it needs has been ensured (`key_names`)."""
    sections = []
    for holder, record_class, part, plain in _parts(entry):
        nonce, data = keys.seal((holder, record_class), plain, _bound(entry, holder, record_class, part))
        sections.append({"holder": holder, "record_class": record_class, "part": part, "nonce": nonce, "data": data})
    topic, partition, offset = entry.source or (None, None, None)
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out,
        ENTRY.raw,
        {
            "number": entry.number, "incarnation": entry.incarnation, "kind": entry.kind, "accepted_at": entry.accepted_at,
            "source_topic": _told(topic), "source_partition": _told(partition, "int"), "source_offset": _told(offset, "long"),
            "agency": _told(entry.agency), "record": _told(entry.record), "event_id": _told(entry.event_id),
            "verdict": entry.verdict, "reason": _told(entry.reason),
            "problems": [{"field": p.field, "rule": p.rule, "message": p.message} for p in entry.problems],
            "content": _told(entry.content, "bytes"), "writer": _told(entry.writer), "policy": _told(entry.policy),
            "codes": _told(entry.codes), "presentation_id": _told(entry.presentation_id), "sections": sections,
            "clear": _told(entry.clear, "bytes"),
        },
    )  # fmt: skip
    return out.getvalue()


def unseal(data: bytes, keys: KeyRing, writers: Mapping[str, str] | None = None) -> Entry:
    """The entry in the clear; content whose key was destroyed is absent and `erased` says so.

    `writers` gives the schema text of writer fingerprints that are not of this release (from REFERENCE entries).
    """
    return opened(header(data), keys, writers or {})


def section_keys(heads: Iterable[Json]) -> set[KeyName]:
    """The keys that these entries' sections are encrypted under: asked for together, before the first is opened."""
    return {(s["holder"], s["record_class"]) for head in heads for s in head["sections"]}


def opened(head: Json, keys: KeyRing, writers: Mapping[str, str], facts: FactReader | None = None) -> Entry:
    """The entry of a decoded header, as `unseal`; with `facts`, its fact may come without whom it is about."""
    (
        number, incarnation, kind, accepted_at, topic, partition, offset, agency, record, event_id, verdict, reason, problems,
        content, writer, policy, codes, presentation_id, sections, clear,
    ) = head.values()  # fmt: skip
    entry = Entry(
        number, incarnation, kind, accepted_at, None if topic is None else (topic, partition, offset), agency, record, event_id,
        verdict, reason, tuple([Problem(p["field"], p["rule"], p["message"]) for p in problems]),
        content, writer, policy, codes, presentation_id, clear=clear,
    )  # fmt: skip
    for s in sections:
        holder, class_, part = s["holder"], s["record_class"], s["part"]
        plain = keys.unseal((holder, class_), s["nonce"], s["data"], _bound(entry, holder, class_, part))
        if plain is None:
            entry.erased = True
        elif part == "identity":
            entry.identity = orjson.loads(plain)
        elif part == "conclusions":
            entry.conclusions = [(k, d) for k, d in orjson.loads(plain)]
        else:
            entry.body, entry.value = plain, _decode(entry, plain, writers, facts)
    return entry


def header(data: bytes) -> Json:
    """The clear header of an encoded entry, its sections still encrypted."""
    head = fastavro.schemaless_reader(io.BytesIO(data), ENTRY.raw, None)
    assert isinstance(head, dict)
    return head


def key_names(entry: Entry) -> list[tuple[str, str]]:
    """The keys that `seal` needs."""
    holder = entry.presentation_id
    if holder is None:
        return []
    identity = [(holder, IDENTITY)] if entry.identity is not None else []
    said = [(holder, record_class(entry.record))] if entry.body is not None or entry.conclusions else []
    return identity + said


def record_class(record: str | None) -> str:
    """The retention class of a record."""
    return catalogue()[record].record_class if record is not None and record in catalogue() else "none"


def _parts(entry: Entry) -> list[tuple[str, str, str, bytes]]:
    holder, cls = entry.presentation_id, record_class(entry.record)
    if holder is None:
        return []
    parts = []
    if entry.identity is not None:
        parts.append((holder, IDENTITY, "identity", orjson.dumps(entry.identity)))
    if entry.body is not None:
        parts.append((holder, cls, "fact", entry.body))
    if entry.conclusions:
        parts.append((holder, cls, "conclusions", orjson.dumps(entry.conclusions)))
    return parts


def _bound(entry: Entry, holder: str, record_class_: str, part: str) -> bytes:
    return f"{holder}|{record_class_}|{part}|{entry.event_id}".encode()


def _decode(entry: Entry, body: bytes, writers: Mapping[str, str], facts: FactReader | None) -> Json:
    record: RecordSpec = spec(entry.record or "")
    if entry.writer in (None, record.fingerprint):
        if facts is not None and entry.kind == FACT and entry.presentation_id is not None:
            return facts.read(record, body, entry.presentation_id, entry.event_id or "")
        return decode_body(record, body)
    return decode_body(record, body, older(record.name, writers[entry.writer or ""]), entry.writer)


def plain(value: Any) -> bytes:
    """A document as JSON text, keys sorted: the same document gives the same bytes (I2)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
