"""Bytes on the wire: what was once published must be readable for as long as it lies on a topic or in the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.catalogue import FOLDER, catalogue, fingerprint, raw_schema
from schemas.codec import HEADER, Codec, Undecodable, decode_body, encode_body
from schemas.registry import Registry
from schemas.validation import check
from tests.golden.make import SCHEMA_ID, full, path_of

LATE_US = 2_000_000_000_000_000  # 2033: nothing in the golden values lies in the future

VERSIONS = sorted(
    (name, int(version[1:])) for name, version, _ in (p.name.split(".") for p in FOLDER.glob("*.v*.avsc")) if name in catalogue()
)


def golden(name: str, version: int) -> dict[str, Any]:
    """The golden of a record version; a missing one is a failure, not a skip."""
    path = path_of(name, version)
    assert path.exists(), (
        f"{path.name} is missing: add a full value to tests/golden/values.py and run python -m tests.golden.make"
    )
    return dict(json.loads(path.read_text()))


class OneSchema(Registry):
    """A registry that knows one schema."""

    def __init__(self, text: str) -> None:
        self.schema = text

    def text(self, schema_id: int) -> str:
        """The one schema, whatever the id."""
        assert schema_id == SCHEMA_ID
        return self.schema


@pytest.mark.parametrize(("name", "version"), VERSIONS)
class TestEveryVersion:
    """For each `schemas/events/<record>.v<n>.avsc` of the catalogue."""

    def test_decodes_to_its_value(self, name: str, version: int) -> None:
        """Golden bytes under their own writer's schema give the golden value."""
        gold = golden(name, version)
        text = json.dumps(gold["schema"])
        decoded = Codec(OneSchema(text)).decode(bytes.fromhex(gold["wire"]))
        assert name == decoded.spec.name
        if version == catalogue()[name].version:
            assert full(gold["value"]) == decoded.value
        else:
            assert full(gold.get("newest", gold["value"])) == decoded.value

    def test_encodes_to_its_bytes(self, name: str, version: int) -> None:
        """Today's encoder writes the golden value of the newest version to the same bytes."""
        spec = catalogue()[name]
        gold = golden(name, version)
        raw = spec.raw if version == spec.version else raw_schema(gold["schema"])
        wire = bytes.fromhex(gold["wire"])
        if version == spec.version:
            assert wire[HEADER.size :] == encode_body(spec, full(gold["value"]))
            assert raw_schema(gold["schema"]) == spec.raw, "the schema of a released version changed: make a new version"
        else:
            text = json.dumps(gold["schema"])
            assert decode_body(spec, wire[HEADER.size :], raw, fingerprint(text))

    def test_says_every_field(self, name: str, version: int) -> None:
        """The value is full, and one that the contract takes, so that the bytes show every field's place."""
        spec = catalogue()[name]
        if version != spec.version:
            return
        value = full(golden(name, version)["value"])
        if spec.kind in ("event", "act"):
            assert [] == check(spec, value, LATE_US)
        silent = [rule.path for rule in spec.rules if _at(value, rule.keys) in (None, [], "")]
        assert silent in ([], ["envelope.retracts"], ["envelope.supersedes"])

    def test_cut_anywhere_is_undecodable(self, name: str, version: int) -> None:
        """Every shorter prefix, and one byte more, is refused: never half a fact."""
        gold = golden(name, version)
        codec = Codec(OneSchema(json.dumps(gold["schema"])))
        wire = bytes.fromhex(gold["wire"])
        for cut in (*range(0, len(wire), 3), len(wire) - 1):
            with pytest.raises(Undecodable):
                codec.decode(wire[:cut])
        with pytest.raises(Undecodable):
            codec.decode(wire + b"\x00")


def test_no_golden_without_a_record() -> None:
    """A golden of a record that left the catalogue would prove nothing."""
    found = {tuple(p.stem.split(".v")) for p in path_of("x", 1).parent.glob("*.json")}
    assert found <= {(name, str(version)) for name, version in VERSIONS}


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value[key]
    return value
