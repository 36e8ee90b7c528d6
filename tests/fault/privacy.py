"""I7: no canary in keys, headers, output values, ledger bytes or the workers' logs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import fastavro

from domain.times import local
from schemas.catalogue import spec
from tests.fault.evidence import Violation
from tests.fault.harness import INTAKE, House

WHEN: Final = "ce_time"
"""Says when a thing happened: years ago, and in a large borough that is somebody's birth date."""


def nothing_personal(house: House, sent: Mapping[str, list[Any]]) -> list[Violation]:
    """I7: no canary in keys, headers, output values, ledger bytes or the workers' logs."""
    words = canaries(house)
    assert len(words) > 50, "too few canaries to prove anything"
    bad = []
    places: dict[str, bytes] = {"logs of the workers": house.logs()}
    for topic in (*INTAKE, "ledger", "keys"):
        records = house.read(topic)
        heads = (b"\n".join([r.key or b"", *(v for k, v in r.headers if k != WHEN)]) for r in records)
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
