"""Bytes that no agency should send, made of a good fact."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from producers.halton.facts import SimulatedFact
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, Codec, encode_body

NAMES: Final = UUID("0f3c1a94-7d0e-5d55-8a0b-6f1d2b8a4c02")
FAR_US: Final = 10**13
"""Some four months."""

MUCH: Final = bytes(257 * 1024)
"""More than a fact may be, less than the broker takes."""


def spoiled(codec: Codec, fact: SimulatedFact, kind: str, now_us: int) -> bytes:
    """A record of its own id that must be refused with the reason `kind`.

    `not-avro-wire-format`, `unknown-schema-id`, `corrupt`, `unknown-code`, `too-large` or `future`.
    """
    record = spec(fact.record)
    schema = codec.schema_id(record.subject, record.text)
    envelope = {**fact.value["envelope"], "event_id": str(uuid5(NAMES, fact.key + kind))}

    def written(**changes: object) -> bytes:
        return encode_body(record, {**fact.value, "envelope": envelope | changes})

    good, known = written(), HEADER.pack(MAGIC, schema)
    return {
        "not-avro-wire-format": b"these bytes are no fact",
        "unknown-schema-id": HEADER.pack(MAGIC, 99_999_999) + good,
        "corrupt": known + good[: len(good) // 2],
        "unknown-code": known + written(sensitivity="NO_SUCH_CODE"),
        "future": known + written(occurred_at=now_us + FAR_US),
        "too-large": known + good + MUCH,
    }[kind]
