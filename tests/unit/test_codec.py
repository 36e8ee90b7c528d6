"""What a registry gives back is recognised as the schema that was registered: only a really older writer is resolved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import codec
from schemas.catalogue import NAMESPACE, catalogue, fingerprint
from schemas.codec import FactReader, Undecodable, decode_body, encode_body, older
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


FACTS = sorted(name for name, spec in catalogue().items() if spec.kind == "event")


ID = "00000000-0000-4000-8000-000000000001"


def value_of(name: str, *, subject: dict[str, Any] | None = None, **envelope: Any) -> dict[str, Any]:
    """A full value of a fact, in whose subject and envelope these fields are otherwise."""
    value = full(golden(name, catalogue()[name].version)["value"])
    there = value["envelope"]
    return value | {"envelope": there | {"event_id": ID} | envelope | {"subject": there["subject"] | (subject or {})}}


def without_subject(value: dict[str, Any]) -> dict[str, Any]:
    """A fact's value as `FactReader` gives it."""
    return value | {"envelope": {k: v for k, v in value["envelope"].items() if k != "subject"}}


class TestFactReader:
    """Facts without whom they are about: the same as decoding all, whatever was read before."""

    @pytest.mark.parametrize("name", FACTS)
    def test_the_rest_is_the_same(self, name: str) -> None:
        """For the first fact about somebody, the next, and one in which another subject stands under the same id, or another
        agency, other marks, another id than the likely one; the values of two facts are not one object.
        """
        reader, spec, plain = FactReader(), catalogue()[name], value_of(name)
        others = (
            value_of(name, subject={"given_name": "Zo"}), value_of(name, subject={"sex": None}), value_of(name, agency="other"),
            value_of(name, scope="other"), value_of(name, historic=True), value_of(name, retracts="x"),
            value_of(name, causation_id="y"), value_of(name, occurred_at=1), value_of(name, reported_by="z"),
            value_of(name, event_id=ID[:-1]), value_of(name, event_id=ID + "0"), value_of(name, event_id=""),
        )  # fmt: skip
        for value in (plain, *(v for other in others for v in (other, plain))):
            body = encode_body(spec, value)
            found, again = (reader.read(spec, body, "p1", ID) for _ in range(2))
            assert without_subject(decode_body(spec, body)) == found == again
            found["envelope"].clear()
            assert again == reader.read(spec, body, "p1", ID)

    def test_an_id_of_any_length(self) -> None:
        """From 64 bytes on its length takes two bytes, of which the second may be a character's."""
        lengths = (0, 1, 31, 32, 63, 64, 65, 200)
        ids = [*("e" * n for n in lengths), *("é" * n for n in lengths), *("\x01" + "e" * n for n in lengths)]
        for event_id in ids:
            body = encode_body(SPEC, value_of(SPEC.name, event_id=event_id))
            for likely in ids:
                assert without_subject(decode_body(SPEC, body)) == FactReader().read(SPEC, body, "p1", likely)

    def test_of_another_record(self) -> None:
        """A presentation speaks in several records: the same bytes stand in each."""
        reader = FactReader()
        for name in (*FACTS, *FACTS):
            body = encode_body(catalogue()[name], value_of(name))
            assert without_subject(decode_body(catalogue()[name], body)) == reader.read(catalogue()[name], body, "p1", ID)

    @pytest.mark.parametrize("known", [False, True])
    def test_what_is_torn(self, known: bool) -> None:
        """At every byte, or followed by one: refused as decoding all refuses it, and nothing of it is remembered wrongly."""
        body = encode_body(SPEC, value_of(SPEC.name))
        for torn in (*(body[:n] for n in range(len(body))), body + b"\x00"):
            reader = FactReader()
            if known:
                reader.read(SPEC, body, "p1", ID)
            with pytest.raises(Undecodable) as whole:
                decode_body(SPEC, torn)
            with pytest.raises(Undecodable) as in_parts:
                reader.read(SPEC, torn, "p1", ID)
            assert (whole.value.reason, str(whole.value)) == (in_parts.value.reason, str(in_parts.value))
            assert without_subject(decode_body(SPEC, body)) == reader.read(SPEC, body, "p1", ID)

    def test_no_more_than_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It forgets, and reads on."""
        monkeypatch.setattr(codec, "PARTS_MAX", 2)
        reader, body = FactReader(), encode_body(SPEC, value_of(SPEC.name))
        for n in range(5):
            assert without_subject(decode_body(SPEC, body)) == reader.read(SPEC, body, f"p{n}", ID)
            assert len(reader._known) <= 2
