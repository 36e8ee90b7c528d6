"""Facts as bytes: Avro in the Confluent wire format (0x00, 4-byte schema id, body), decoded with the writer's schema."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import fastavro
import fastavro.schema

from domain.problems import SightlineError
from schemas.catalogue import NAMESPACE, RecordSpec, catalogue, fingerprint, raw_schema
from schemas.registry import Registry, RegistryUnavailable, UnknownSchema

MAGIC: Final = 0
HEADER: Final = struct.Struct(">bI")
WRITERS_MAX: Final = 1_000
"""Parsed schemas kept: some 50 records in a few versions each."""


class Undecodable(SightlineError):
    """Bytes that are not a fact: `reason` is a stable code, the text says what to do."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded record: its spec, the writer schema's fingerprint, and the value with instants as µs."""

    spec: RecordSpec
    writer: str
    value: dict[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Writer:
    spec: RecordSpec
    fingerprint: str
    raw: Any


class Codec:
    """Encodes and decodes with ids from a registry; every id is asked for once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writers: dict[int, _Writer | None] = {}
        self._ids: dict[str, int] = {}
        self.texts: dict[str, str] = {}

    def encode(self, name: str, value: dict[str, Any]) -> bytes:
        """`value` as bytes under the newest schema of record `name`, which deployment has registered.

        Raises:
            UnknownSchema, RegistryUnavailable.
        """
        spec = catalogue()[name]
        return HEADER.pack(MAGIC, self.schema_id(spec.subject, spec.text)) + encode_body(spec, value)

    def schema_id(self, subject: str, text: str) -> int:
        """The id under which deployment registered schema `text`; registers nothing, as agencies may not. Asked for once.

        Raises:
            UnknownSchema: deployment has not registered it; RegistryUnavailable.
        """
        key = f"{subject} {text}"
        if key not in self._ids:
            self._ids[key] = self._registry.lookup(subject, text)
        return self._ids[key]

    def decode(self, data: bytes) -> Decoded:
        """The record in `data`.

        Raises:
            Undecodable: not our format, unknown schema, truncated; RegistryUnavailable: try again later.
        """
        if len(data) < HEADER.size or data[0] != MAGIC:
            raise Undecodable("not-avro-wire-format", "the value does not begin with 0x00 and a schema id")
        schema_id = HEADER.unpack_from(data)[1]
        if schema_id not in self._writers:
            self._writers[schema_id] = self._writer(schema_id)
        writer = self._writers[schema_id]
        if writer is None:
            raise Undecodable("unknown-record", f"schema {schema_id} is not a record of this contract")
        body = data[HEADER.size :]
        return Decoded(writer.spec, writer.fingerprint, decode_body(writer.spec, body, writer.raw, writer.fingerprint), body)

    def _writer(self, schema_id: int) -> _Writer | None:
        try:
            text = self._registry.text(schema_id)
        except UnknownSchema as err:
            raise Undecodable(
                "unknown-schema-id", f"the registry knows no schema {schema_id}; publish with a registered one"
            ) from err
        try:
            schema = json.loads(text)
        except ValueError as err:  # no fault of the fact's: it is not refused for it
            raise RegistryUnavailable(f"the registry's schema {schema_id} is no schema") from err
        name = schema.get("name", "") if isinstance(schema, dict) else ""
        if not isinstance(schema, dict) or schema.get("namespace") != NAMESPACE or name not in catalogue():
            return None
        writer = _Writer(catalogue()[name], fingerprint(text), older(name, text))
        self.texts[writer.fingerprint] = text
        return writer


@lru_cache(WRITERS_MAX)
def older(name: str, text: str) -> Any:
    """A writer's schema, parsed for `decode_body`; None when it is, as Avro, the newest (only our own attributes differ)."""
    schema = json.loads(text)
    same = _form(schema) == _form(json.loads(catalogue()[name].text))
    return None if same else raw_schema(schema)


def _form(schema: Any) -> str:
    return str(fastavro.schema.to_parsing_canonical_form(schema))


def encode_body(spec: RecordSpec, value: dict[str, Any]) -> bytes:
    """The Avro body alone. `value` holds instants as µs."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, spec.raw, value)
    return out.getvalue()


def decode_body(spec: RecordSpec, body: bytes, raw: Any = None, writer: str | None = None) -> dict[str, Any]:
    """The value of an Avro body; resolved to the newest schema only when the writer's differs (resolution halves the speed).

    `raw` is the writer's schema as `older` gives it.

    Raises:
        Undecodable: truncated, followed by other bytes, or not of this schema.
    """
    stream = io.BytesIO(body)
    try:
        if raw is None or writer is None or writer == spec.fingerprint:
            value = fastavro.schemaless_reader(stream, spec.raw, None)
        else:
            value = fastavro.schemaless_reader(stream, raw, spec.raw)
    except Exception as err:  # fastavro raises whatever the bytes provoke: EOFError, IndexError, UnicodeDecodeError, …
        raise Undecodable("corrupt", f"the bytes do not decode as {spec.name}") from err
    if stream.read(1):
        raise Undecodable("corrupt", f"bytes follow the end of {spec.name}")
    assert isinstance(value, dict)
    return value
