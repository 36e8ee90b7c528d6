"""From a mapping to a fact ready to send: validated, encoded, keyed. Pure, apart from the clock it is given."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.problems import InvalidFact, Problem
from domain.times import iso
from producers.errors import NotYours, TooLarge
from schemas.catalogue import RecordSpec, catalogue
from schemas.codec import HEADER, encode_body
from schemas.validation import FACT_BYTES_MAX, from_json, require

KEY_HEX: Final = 32
"""128 bits of the keyed hash: no two children of an agency collide, and the key says nothing without the secret (I7)."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact as it waits and travels. `time` is ISO 8601 UTC; `schema` the fingerprint of the schema `body` is written with."""

    event_id: str
    record: str
    schema: str
    key: str
    time: str
    body: bytes = field(repr=False)

    def headers(self, agency: str) -> list[tuple[str, bytes]]:
        """CloudEvents 1.0 attributes as Kafka headers. None tells anything of the child."""
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", self.event_id.encode()),
            ("ce_source", f"urn:sightline:agency:{agency}".encode()),
            ("ce_type", catalogue_name(self.record).encode()),
            ("ce_time", self.time.encode()),
        ]


def catalogue_name(record: str) -> str:
    """The full name of a record, which is also its subject and its CloudEvents type."""
    return spec_of(record).subject


def spec_of(record: str) -> RecordSpec:
    """The newest contract of a record.

    Raises:
        InvalidFact: the catalogue has no such record.
    """
    found = catalogue().get(record)
    if found is None:
        raise InvalidFact("unknown record", [Problem("record", "unknown-record", "is not in the catalogue (schemas/events)")])
    return found


def key_of(secret: bytes, agency: str, local_id: str) -> str:
    """The Kafka key of a child: HMAC-SHA256 of agency and local id under the agency's secret, 32 hex digits."""
    return hmac.digest(secret, f"{agency}|{local_id}".encode(), "sha256").hex()[:KEY_HEX]


def prepare(agency: str, secret: bytes, record: str, value: Mapping[str, Any], now_us: int) -> Fact:
    """`value` as a fact that `agency` may send. Instants may be ISO 8601 with an offset, datetimes, or µs.

    Raises:
        InvalidFact: fields break rules, or the record is unknown; NotYours: another agency, or not a record of this one;
        TooLarge: over 256 KiB.
    """
    spec = spec_of(record)
    if spec.kind != "event" or agency not in spec.agencies:
        whose = ", ".join(spec.agencies) or "no agency"
        raise NotYours(f"{record}: agency {agency} does not emit this record; it is emitted by {whose}")
    filled = from_json(spec, value)
    require(spec, filled, now_us)
    envelope = filled["envelope"]
    if envelope["agency"] != agency:
        raise NotYours(f"{record}: envelope.agency names another agency than {agency}, as whom you publish")
    body = encode_body(spec, filled)
    if HEADER.size + len(body) > FACT_BYTES_MAX:
        raise TooLarge(f"{record}: the fact is {len(body)} bytes encoded, over the limit of {FACT_BYTES_MAX}; shorten its texts")
    return Fact(
        envelope["event_id"], record, spec.fingerprint, key_of(secret, agency, envelope["subject"]["local_id"]),
        iso(envelope["recorded_at"]), body,
    )  # fmt: skip


def key_of_act(event_id: str, child_id: str | None) -> bytes:
    """The Kafka key of an act: its child's opaque id, or its own id, hashed so that keys look alike."""
    return hashlib.sha256((child_id or event_id).encode()).hexdigest()[:KEY_HEX].encode()
