"""The same fact is known again by its content, whatever release reads it and whatever release read it before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from consumers.host import Intake
from consumers.preparing import Prepared, Preparer
from projections.keyring import keyed_hash
from schemas.catalogue import catalogue
from schemas.codec import Codec, Decoded
from tests.fault.memory import CODEC
from tests.golden.values import AT, LATER, VALUES

SECRET = b"s" * 32


class NewerRelease(Codec):
    """Knows optional fields that no sender has yet: nobody says anything in them."""

    def __init__(self) -> None:
        """It asks the registry of `CODEC`."""
        super().__init__(CODEC._registry)

    def decode(self, data: bytes) -> Decoded:
        """With what Avro fills in."""
        found = super().decode(data)
        more = {"since_then": None, "listed": []}
        return replace(found, value={**found.value, **more, "envelope": {**found.value["envelope"], **more}})


def prepared(value: dict[str, Any], codec: Codec = CODEC) -> tuple[Preparer, Prepared]:
    """A school concern, as a release reads it."""
    preparer = Preparer(codec, SECRET, lambda: LATER)
    item = preparer.prepare(Intake("facts.education", 0, 0, LATER, CODEC.encode("SchoolConcern", value)))
    assert item.reason is None, item.problems
    return preparer, item


def concern(**body: Any) -> dict[str, Any]:
    """One with empty fields; `body` says more."""
    envelope = {
        **VALUES["SchoolConcern"]["envelope"],
        "occurred_at": AT,
        "recorded_at": LATER,
        "supersedes": None,
        "retracts": None,
    }
    return {**VALUES["SchoolConcern"], "child_words": None, **body, "envelope": envelope}


def test_a_schema_has_gained_fields() -> None:
    """A fact that was kept before an upgrade and is sent again after it is a copy."""
    (_, before), (newer, after) = prepared(concern()), prepared(concern(), NewerRelease())
    assert newer.same(after, before.content)


def test_what_was_kept_before_0_1_0() -> None:
    """That hash is of the empty fields, too."""
    preparer, item = prepared(concern())
    kept = keyed_hash(SECRET, "SchoolConcern", orjson.dumps(item.value, option=orjson.OPT_SORT_KEYS).decode())[:16]
    assert kept != item.content
    assert preparer.same(item, kept)


@pytest.mark.parametrize("field", ["child_words", "narrative"])
def test_other_content(field: str) -> None:
    """A field said, or said in other words, is other content."""
    (_, one), (preparer, other) = prepared(concern()), prepared(concern(**{field: "in other words"}))
    assert not preparer.same(other, one.content)
    assert not preparer.same(one, other.content)
    assert not preparer.same(other, b"")


def _fields(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [f for n in node for f in _fields(n)]
    if isinstance(node, dict):
        return [f for n in node.values() for f in _fields(n)] + ([node] if "name" in node and "fields" not in node else [])
    return []


@pytest.mark.parametrize("name", sorted(n for n, s in catalogue().items() if s.kind in ("event", "act")))
def test_a_field_left_empty_says_nothing(name: str) -> None:
    """What this rests on: a field that may be left out is then null or an empty list, and never either of both."""
    fields = [f for f in _fields(json.loads(catalogue()[name].text)) if "default" in f]
    assert {"historic"} >= {f["name"] for f in fields if f["default"] not in (None, [])}
    assert [] == [f["name"] for f in fields if f["default"] is None and '"array"' in json.dumps(f["type"])]
