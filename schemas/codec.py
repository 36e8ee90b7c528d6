"""Facts as bytes: Avro in the Confluent wire format (0x00, 4-byte schema id, body), decoded with the writer's schema."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, cast

import fastavro
import fastavro.schema

from domain.problems import SightlineError
from schemas.catalogue import NAMESPACE, RecordSpec, catalogue, fingerprint, raw_schema
from schemas.registry import NotAvro, Registry, UnknownSchema

MAGIC: Final = 0
HEADER: Final = struct.Struct(">bI")
WRITERS_MAX: Final = 1_000
"""Parsed schemas kept: some 50 records in a few versions each."""

PARTS_MAX: Final = 100_000
"""Presentations whose subject a `FactReader` finds again: some 70 MB."""

SHORT: Final = 64
"""A text of fewer bytes has its length in one byte before it, doubled (Avro's zigzag)."""


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
        except NotAvro:  # another's on a registry that is shared
            return None
        schema = json.loads(text)
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


def decoded_as(name: str, data: bytes) -> dict[str, Any] | None:
    """Record `name` in `data` under the contract's own schema, whatever id stands before it; None: it is no such record.

    For a registry that was lost: the one in its place gives other ids.
    """
    try:
        return decode_body(catalogue()[name], data[HEADER.size :])
    except Undecodable:
        return None


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
        raise _corrupt(spec) from err
    if stream.read(1):
        raise _followed(spec)
    assert isinstance(value, dict)
    return value


def _corrupt(spec: RecordSpec) -> Undecodable:
    return Undecodable("corrupt", f"the bytes do not decode as {spec.name}")


def _followed(spec: RecordSpec) -> Undecodable:
    return Undecodable("corrupt", f"bytes follow the end of {spec.name}")


class FactReader:
    """Reads facts one after another, all but whom they are about: for whoever has that, and mostly their ids, from elsewhere.

    More than half of decoding is of what many facts say in the same bytes: whom they are about, in every fact about a
    presentation; how they are marked (regime, sensitivity, …), in most facts of a record. What has been decoded there last is
    found again by comparing bytes: Avro has no other way to read them.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def read(self, spec: RecordSpec, body: bytes, about: str, event_id: str) -> dict[str, Any]:
        """The value of a body in the newest schema, with `envelope.subject` left out. `about`: the presentation's id; `event_id`:
        the one that the fact is likely to have.

        Raises:
            Undecodable: as `decode_body`.
        """
        parts, stream = _in_parts(spec.name), io.BytesIO(body)
        try:
            envelope = _event_id(stream, body, parts.own, event_id)
            envelope |= self._remembered(stream, body, parts.who, about)
            envelope |= _record(stream, parts.when, None)
            envelope |= self._remembered(stream, body, parts.marks, spec.name)
            value = _record(stream, parts.rest, None)
        except Exception as err:  # as in `decode_body`
            raise _corrupt(spec) from err
        if stream.read(1):
            raise _followed(spec)
        value["envelope"] = envelope
        return value

    def _remembered(self, stream: io.BytesIO, body: bytes, part: Any, key: str) -> dict[str, Any]:
        """The next part of `body`: what it was the last time under this key, where its bytes are the same."""
        begin, known = stream.tell(), self._known.get(key)
        if known is not None and body.startswith(known[0], begin):
            stream.seek(begin + len(known[0]))
            return known[1]
        value = _record(stream, part, None)
        value.pop("subject", None)
        if len(self._known) >= PARTS_MAX:
            self._known.clear()
        self._known[key] = body[begin : stream.tell()], value
        return value


_record: Final = cast("Callable[..., dict[str, Any]]", fastavro.schemaless_reader)


def _event_id(stream: io.BytesIO, body: bytes, part: Any, event_id: str) -> dict[str, Any]:
    """The id that `body` begins with: the likely one, where its bytes are the same."""
    likely = event_id.encode()
    if len(likely) < SHORT and body.startswith(likely, 1) and body[0] == 2 * len(likely):
        stream.seek(1 + len(likely))
        return {"event_id": event_id}
    return _record(stream, part, None)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The newest schema of a fact as five in a row: a record's bytes are its fields' in a row."""

    own: Any
    who: Any
    when: Any
    marks: Any
    rest: Any


@cache
def _in_parts(name: str) -> _Parts:
    schema = json.loads(catalogue()[name].text)
    envelope, *rest = schema["fields"]
    fields = envelope["type"]["fields"]
    at = [[f["name"] for f in fields].index(first) for first in ("agency", "occurred_at", "regime")]
    spans = (fields[: at[0]], fields[at[0] : at[1]], fields[at[1] : at[2]], fields[at[2] :], rest)
    return _Parts(*(raw_schema({**schema, "fields": some}) for some in spans))
