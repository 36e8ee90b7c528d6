"""Decides I1 to I5 and I7 from the topics, the tables and the acknowledgements of a run: never from log lines.

Reads the ledger topic on its own terms (headers and the clear part of entries), so that a defect in our reader is a finding.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import fastavro

from domain.times import local
from schemas.catalogue import spec
from schemas.topics import AGENCIES
from tests.fault.harness import INTAKE, OUTPUTS, House
from tests.looking import reading

SHOWN: Final = 4
FACT, ACCEPTED, DUPLICATE, CONFLICT, REFUSED = "FACT", "ACCEPTED", "DUPLICATE", "CONFLICT", "REFUSED"


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

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Entries about facts."""
        return [e for e in self.entries if e["kind"] == FACT]


def check(house: House) -> tuple[list[Violation], dict[str, int]]:
    """Every violation, and how much was looked at. The clock is held first: what it says meanwhile would be seen by half."""
    house.freeze("clock")
    house.settle()
    ledger = read_ledger(house)
    sent = {t: house.read(t) for t in OUTPUTS}
    found = [
        *ledger.violations,
        *intake_once(house, ledger),
        *positions(house, ledger),
        *outputs_once(house, ledger, sent),
        *views_clean(house),
    ]
    found += nothing_personal(house, sent)
    verdicts = Counter(e["verdict"] for e in ledger.facts)
    seen = {
        "entries": len(ledger.entries), "facts": len(ledger.facts), "outputs": sum(map(len, sent.values())),
        **{v.lower(): verdicts[v] for v in (ACCEPTED, DUPLICATE, CONFLICT, REFUSED)},
        "acts": sum(e["kind"] == "ACT" and e["verdict"] == ACCEPTED for e in ledger.entries),
        "recommendations": len(sent["recommendations"]), "gp.messages": len(sent["gp.messages"]),
    }  # fmt: skip
    return found, seen


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
    return Ledger(entries, bad)


def intake_once(house: House, ledger: Ledger) -> list[Violation]:
    """I1: one entry an intake record; what an entry says is as it should be."""
    bad = []
    sources = Counter((e["source_topic"], e["source_partition"], e["source_offset"]) for e in ledger.entries if e["source_topic"])
    for (topic, partition), end in house.ends(INTAKE).items():
        counts = [sources.get((topic, partition, offset), 0) for offset in range(end)]
        none, twice = [o for o, c in enumerate(counts) if c == 0], [o for o, c in enumerate(counts) if c > 1]
        if none:
            bad.append(Violation("I1", f"{len(none)} records of {topic}[{partition}] have no entry, such as {none[:SHOWN]}"))
        if twice:
            bad.append(
                Violation("I1", f"{len(twice)} records of {topic}[{partition}] have several entries, such as {twice[:SHOWN]}")
            )
    return [*bad, *_accepted_once(house, ledger), *_poison_refused(house, ledger)]


def _accepted_once(house: House, ledger: Ledger) -> list[Violation]:
    """One acceptance an acknowledged fact; every other sending a duplicate or a conflict."""
    bad = []
    by_id: dict[tuple[str, str], list[str]] = defaultdict(list)
    for e in ledger.facts:
        if e["event_id"] is not None:
            by_id[(e["agency"], e["event_id"])].append(e["verdict"])
    for agency, ids in house.acknowledged.items():
        for event_id in sorted(ids):
            verdicts = by_id.get((agency, event_id), [])
            wanted = house.conflicts.get(event_id, 0)
            if verdicts.count(ACCEPTED) != 1:
                bad.append(Violation("I1", f"acknowledged {agency} {event_id} is accepted {verdicts.count(ACCEPTED)} times"))
            elif verdicts[0] != ACCEPTED or verdicts.count(CONFLICT) != wanted or set(verdicts) - {ACCEPTED, DUPLICATE, CONFLICT}:
                bad.append(Violation("I1", f"{agency} {event_id} has the verdicts {verdicts}, with {wanted} conflicts sent"))
    return bad


def _poison_refused(house: House, ledger: Ledger) -> list[Violation]:
    """Each poison is refused for its reason."""
    bad = []
    for (topic, partition, offset), reason in house.poison.items():
        told = [
            (e["verdict"], e["reason"])
            for e in ledger.facts
            if (e["source_topic"], e["source_partition"], e["source_offset"]) == (topic, partition, offset)
        ]
        if told != [(REFUSED, reason)]:
            bad.append(Violation("I1", f"poison {reason} at {topic}[{partition}]@{offset} became {told}"))
    return bad


def positions(house: House, ledger: Ledger) -> list[Violation]:
    """I4: a position stands right after the highest entry of its source, and no work below it is missing."""
    highest: dict[tuple[str, int], int] = {}
    held: dict[tuple[str, int], set[int]] = defaultdict(set)
    for e in ledger.entries:
        if e["source_topic"]:
            key = (e["source_topic"], e["source_partition"])
            highest[key] = max(highest.get(key, -1), e["source_offset"])
            held[key].add(e["source_offset"])
    bad = []
    ends = house.ends(INTAKE)
    for topic, partition, offset in house.rows("select topic, partition, next_offset from position order by 1, 2"):
        key = (topic, partition)
        if missing := sorted(set(range(offset)) - held[key]):
            bad.append(
                Violation(
                    "I4",
                    f"position of {topic}[{partition}] is past {len(missing)} records without entry, such as {missing[:SHOWN]}",
                )
            )
        if not offset == ends[key] == highest.get(key, -1) + 1:
            bad.append(
                Violation(
                    "I4",
                    f"position {offset} of {topic}[{partition}], intake ends at {ends[key]}, highest entry {highest.get(key)}",
                )
            )
    return bad


def outputs_once(house: House, ledger: Ledger, sent: Mapping[str, list[Any]]) -> list[Violation]:
    """I3: every consequence of the ledger is on its topic exactly once, under ids of its own; and each takes effect once."""
    bad = []
    values: dict[str, list[dict[str, Any]]] = {}
    for topic, records in sent.items():
        places = Counter((int(h["number"]), int(h["place"])) for r in records if (h := dict(r.headers)))
        if again := [p for p, c in places.items() if c > 1]:
            bad.append(Violation("I3", f"{topic} holds {len(again)} outputs more than once, such as {again[:SHOWN]}"))
        values[topic] = [house.codec.decode(r.value).value for r in records]
        name = (
            "notice_id" if topic in ("recommendations", "gp.messages") else "letter_id" if topic.startswith("dead") else "number"
        )
        bad += _unique(topic, name, (v[name] for v in values[topic]))
    for agency in AGENCIES:
        mine = [e for e in ledger.facts if e["agency"] == agency]
        bad += _same(f"outcomes.{agency}", {v["number"] for v in values[f"outcomes.{agency}"]}, {e["number"] for e in mine})
        told = {e["number"] for e in mine if e["verdict"] in (REFUSED, CONFLICT)}
        bad += _same(f"dead-letters.{agency}", {v["number"] for v in values[f"dead-letters.{agency}"]}, told)
    return bad + _effects(house, values)


def _effects(house: House, values: Mapping[str, list[dict[str, Any]]]) -> list[Violation]:
    """I3: a recommendation is opened once, a message told once a practice, and a practice's inbox is what was last said."""
    states = {
        "recommended": "OPEN", "evidence_changed": "EVIDENCE_CHANGED", "recommendation_overdue": "OVERDUE",
        "meeting_overdue": "OVERDUE", "overdue_withdrawn": "OVERDUE_WITHDRAWN",
    }  # fmt: skip
    listed = ", ".join(f"'{kind}'" for kind in states)
    kept = house.rows(f"select number, about, kind from conclusion where kind in ({listed})")
    bad = _same(
        "recommendations",
        {(v["number"], v["recommendation_id"], v["state"]) for v in values["recommendations"]},
        {(n, a, states[k]) for n, a, k in kept},
    )
    pointers = [(v["message_id"], v["practice_ods"], v["change"]) for v in values["gp.messages"]]
    bad += _unique("gp.messages", "message, practice and change", pointers)
    documents = views(house)
    held = {r["recommendation_id"] for v in documents.values() for r in v["recommendations"]}
    bad += _same("recommendations", {v["recommendation_id"] for v in values["recommendations"]}, held)
    told = {m["message_id"] for v in documents.values() for m in v["messages"] if m["practice_ods"]}
    bad += _same("gp.messages", {m for m, _, _ in pointers}, told)
    for child, v in documents.items():
        live = Counter((m["csog_event_id"], m["practice_ods"]) for m in v["messages"] if m["state"] != "WITHDRAWN")
        if any(c > 1 for c in live.values()):
            bad.append(Violation("I3", f"child {child} has several messages about one outcome at one practice"))
        if sum(r["open"] for r in v["recommendations"]) > 1:
            bad.append(Violation("I3", f"child {child} has several open recommendations"))
    last: dict[tuple[str, str], str] = {}
    for v in sorted(values["gp.messages"], key=lambda v: v["number"]):
        last[(v["message_id"], v["practice_ods"])] = v["change"]
    inbox = {(m, p): c for m, p, c in house.rows("select message_id, practice_ods, change from gp_inbox")}
    if inbox != last:
        bad.append(
            Violation(
                "I3", f"the practices' inbox holds {len(inbox)} messages, topic gp.messages says {len(last)}, or other states"
            )
        )
    return bad


def views(house: House) -> dict[str, dict[str, Any]]:
    """What a reader is shown of each living child, by child id, as of when the house last judged it."""
    with reading(house.settings) as shown:
        found = {c: shown.child_view(c, at) for c, at in house.rows("select child_id, as_of from child")}
    return {c: v for c, v in found.items() if v is not None and v["merged_into"] is None}


def views_clean(house: House) -> list[Violation]:
    """I2: `verify` finds no difference."""
    count, differences = house.verify()
    if count == 0:
        return [Violation("I2", "no view was compared")]
    if not differences:
        return []
    return [Violation("I2", f"{len(differences)} differences, such as {differences[:SHOWN]}")]


def nothing_personal(house: House, sent: Mapping[str, list[Any]]) -> list[Violation]:
    """I7: no canary in keys, headers, output values, ledger bytes or the workers' logs."""
    words = canaries(house)
    assert len(words) > 50, "too few canaries to prove anything"
    bad = []
    places: dict[str, bytes] = {"logs of the workers": house.logs()}
    for topic in (*INTAKE, "ledger", "keys"):
        records = house.read(topic)
        heads = (b"\n".join([r.key or b"", *(v for _, v in r.headers)]) for r in records)
        places[f"keys and headers of {topic}"] = b"\n".join(heads)
        if topic in ("ledger", "keys"):
            places[f"values of {topic}"] = b"\n".join(r.value or b"" for r in records if topic == "keys" or not _published(r))
    for topic, records in sent.items():
        places[topic] = b"\n".join(b"\n".join([r.key or b"", *(v for _, v in r.headers), r.value or b""]) for r in records)
    for place, data in places.items():
        if hit := [kind for word, kind in words.items() if word in data]:
            bad.append(Violation("I7", f"{place}: {len(hit)} canaries, such as a {hit[0]}"))
    return bad


def _published(record: Any) -> bool:
    """An entry with the text of a schema, policy or code list: published words, in which a bank holiday may be a birth date."""
    if dict(record.headers)["record"] == b"Takeover":
        return False
    entry = fastavro.schemaless_reader(io.BytesIO(record.value), spec("LedgerEntry").raw, None)
    assert isinstance(entry, dict)
    return bool(entry["kind"] == "REFERENCE")


def canaries(house: House) -> dict[bytes, str]:
    """What no key, header, log or letter may hold, with the field it is of."""
    newborn = (local(house.story.end).date() - timedelta(days=400)).isoformat()
    out: dict[bytes, str] = {}
    for fact in house.story.facts:
        subject = fact.value["envelope"]["subject"]
        for name in ("nhs_number", "upn", "pnc", "la_child_id", "postcode", "address_line"):
            if subject[name] and len(subject[name]) >= 7:
                out[subject[name].encode()] = name
        if subject["birth_date"] and date.fromisoformat(subject["birth_date"]).isoformat() < newborn:
            out[subject["birth_date"].encode()] = "birth_date"
        if subject["given_name"] and subject["family_name"]:
            out[f"{subject['given_name']} {subject['family_name']}".encode()] = "name"
            out[subject["family_name"].encode()] = "family_name"
        if not subject["local_id"].isdigit():
            out[subject["local_id"].encode()] = "local_id"
        for name in ("narrative", "child_words", "what_child_said", "rationale"):
            if fact.value.get(name):
                out[fact.value[name].encode()] = name
    return {word: kind for word, kind in out.items() if len(word) >= 6}


def _unique(topic: str, name: str, ids: Iterable[Any]) -> list[Violation]:
    again = [i for i, c in Counter(ids).items() if c > 1]
    return [Violation("I3", f"{topic}: {len(again)} × the same {name}, such as {again[:SHOWN]}")] if again else []


def _same(topic: str, there: set[Any], owed: set[Any]) -> list[Violation]:
    bad = []
    if lost := sorted(owed - there):
        bad.append(Violation("I3", f"{topic} lacks {len(lost)} outputs, such as {lost[:SHOWN]}"))
    if strange := sorted(there - owed):
        bad.append(Violation("I3", f"{topic} holds {len(strange)} outputs that nothing calls for, such as {strange[:SHOWN]}"))
    return bad
