"""What a registry gives back is recognised as the schema that was registered: only a really older writer is resolved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.catalogue import NAMESPACE, catalogue, fingerprint
from schemas.codec import decode_body, encode_body, older
from tests.golden.test_wire import full, golden

SPEC = catalogue()["SchoolConcern"]


def without_repeats(node: Any, *, top: bool = True) -> Any:
    """As Apicurio gives a text back: the namespace stands on the outermost record alone."""
    if isinstance(node, list):
        return [without_repeats(n, top=False) for n in node]
    if isinstance(node, dict):
        return {k: without_repeats(v, top=False) for k, v in node.items() if top or k != "namespace"}
    return node


class TestFingerprint:
    """A schema's name in the ledger."""

    @pytest.mark.parametrize("name", sorted(catalogue()))
    def test_of_what_a_registry_gives_back(self, name: str) -> None:
        """Repeated namespaces and spaces are of no account."""
        spec = catalogue()[name]
        assert spec.fingerprint == fingerprint(json.dumps(without_repeats(json.loads(spec.text)), indent=2))

    def test_of_another_namespace(self) -> None:
        """One that differs from the enclosing one is."""
        text = json.dumps(without_repeats(json.loads(SPEC.text)))
        other = text.replace('"name": "Presentation"', '"name": "Presentation", "namespace": "elsewhere"')
        assert NAMESPACE != "elsewhere"
        assert other != text
        assert SPEC.fingerprint != fingerprint(other)


class TestOlder:
    """Which writers are resolved."""

    def test_our_own_attributes(self) -> None:
        """A schema that differs in what only we read is read as the newest, and gives the same value."""
        schema = json.loads(SPEC.text)
        schema["fields"][1]["doc"] = "In other words."
        assert older(SPEC.name, json.dumps(schema)) is None
        value = full(golden(SPEC.name, SPEC.version)["value"])
        assert value == decode_body(SPEC, encode_body(SPEC, value), None, fingerprint(json.dumps(schema)))

    def test_another_field(self) -> None:
        """A field fewer: resolved, with the field's default."""
        schema = json.loads(SPEC.text)
        gone = next(f for f in schema["fields"] if "default" in f)
        schema["fields"].remove(gone)
        assert older(SPEC.name, json.dumps(schema)) is not None
