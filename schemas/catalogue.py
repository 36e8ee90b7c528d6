"""The event catalogue: every Avro record of the contract, read from `schemas/events/*.avsc`.

A file holds one record; named types (`Envelope`, `Presentation`, …) are inlined where first used, so that each
registered text stands alone. Attributes beside Avro's own say what a field may hold: `codes` (a code list),
`max` (characters or items; for numbers the greatest value), `min`, `format` (`uuid`, `date`, `ods`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro

from domain.problems import PolicyError

FOLDER = Path(__file__).parent / "events"
NAMESPACE: Final = "uk.sightline"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one leaf field may hold. `path` is dotted; `optional` when null is a legal answer."""

    path: str
    keys: tuple[str, ...]
    type: str
    optional: bool
    codes: str | None
    max: int | None
    min: int | None
    format: str | None
    doc: str
    many: bool = False
    logical: str | None = None


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """One record in one version: `text` is what is registered, `fingerprint` its SHA-256 (hex)."""

    name: str
    version: int
    doc: str
    kind: str
    agencies: tuple[str, ...]
    topic: str | None
    record_class: str
    purpose: str
    text: str
    fingerprint: str
    raw: Any
    rules: tuple[FieldRule, ...]

    @property
    def subject(self) -> str:
        """The registry's subject: the full record name."""
        return f"{NAMESPACE}.{self.name}"


@cache
def catalogue() -> Mapping[str, RecordSpec]:
    """Every event and act by record name, newest version of each."""
    types = {p.name.split(".")[0]: json.loads(p.read_text()) for p in sorted(FOLDER.glob("*.v*.avsc"), key=_version)}
    return {name: _spec(name, types) for name, record in types.items() if "record_class" in record}


def spec(name: str) -> RecordSpec:
    """The record called `name`.

    Raises:
        KeyError: no such record.
    """
    return catalogue()[name]


def raw_schema(schema: Any) -> Any:
    """Parse for decoding, logical types off: instants stay integers (µs since 1970, UTC), which also decodes faster."""
    return fastavro.parse_schema(_strip(schema))


def fingerprint(text: str) -> str:
    """SHA-256 of a schema's Parsing Canonical-like form (sorted JSON without spaces), hex.

    A namespace that repeats the enclosing one is left out: registries give a text back without it (Apicurio does).
    """
    schema = _without_repeats(json.loads(text), None)
    return hashlib.sha256(json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_repeats(node: Any, enclosing: str | None) -> Any:
    if isinstance(node, list):
        return [_without_repeats(n, enclosing) for n in node]
    if not isinstance(node, dict):
        return node
    inside = node.get("namespace", enclosing)
    repeated = enclosing is not None and inside == enclosing
    return {k: _without_repeats(v, inside) for k, v in node.items() if not (repeated and k == "namespace")}


def _version(path: Path) -> tuple[str, int]:
    name, version, _ = path.name.split(".")
    return name, int(version.removeprefix("v"))


def _spec(name: str, types: Mapping[str, Any]) -> RecordSpec:
    record = types[name]
    full = _inline(record, types, set())
    text = json.dumps(full, ensure_ascii=False, separators=(",", ":"))
    versions = [_version(p)[1] for p in FOLDER.glob(f"{name}.v*.avsc")]
    kind = "event" if "agencies" in record else "act" if "topic" in record else "output"
    return RecordSpec(
        name, max(versions), record["doc"], kind, tuple(record.get("agencies", ())),
        record.get("topic") or record.get("output_topic"),
        record["record_class"], record["purpose"], text, fingerprint(text), raw_schema(full), tuple(_rules(full, ())),
    )  # fmt: skip


def _inline(node: Any, types: Mapping[str, Any], seen: set[str]) -> Any:
    """Replace the first use of each named type by its definition; later uses stay names (Avro allows one definition)."""
    if isinstance(node, str) and node.startswith(NAMESPACE + "."):
        short = node.removeprefix(NAMESPACE + ".")
        if short in seen:
            return node
        if short not in types:
            raise PolicyError(f"schemas/events: no record is called {short}")
        return _inline(types[short], types, seen)
    if isinstance(node, list):
        return [_inline(n, types, seen) for n in node]
    if isinstance(node, dict):
        if node.get("type") == "record":
            seen.add(node["name"])
        return {k: _inline(v, types, seen) if k in ("type", "fields", "items") else v for k, v in node.items()}
    return node


def _strip(node: Any) -> Any:
    if isinstance(node, list):
        return [_strip(n) for n in node]
    if isinstance(node, dict):
        kept = {k: _strip(v) for k, v in node.items() if k not in ("logicalType", "doc")}
        return kept["type"] if set(kept) == {"type"} and isinstance(kept["type"], str) else kept
    return node


def _rules(record: Any, at: tuple[str, ...]) -> list[FieldRule]:
    found: list[FieldRule] = []
    for field in record["fields"]:
        keys = (*at, field["name"])
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        optional, kind = "null" in kinds, next(k for k in kinds if k != "null")
        many = isinstance(kind, dict) and kind.get("type") == "array"
        if many:
            kind = kind["items"]
        if isinstance(kind, dict) and kind.get("type") == "record":
            found += [] if many else _rules(kind, keys)
            continue
        name, logical = (kind["type"], kind.get("logicalType")) if isinstance(kind, dict) else (kind, None)
        found.append(
            FieldRule(
                ".".join(keys), keys, name, optional, field.get("codes"), field.get("max"), field.get("min"),
                field.get("format"), field.get("doc", ""), many, logical,
            )
        )  # fmt: skip
    return found
