"""Sharing labels of facts, and of what rests on several facts. Labels are few: equal ones are one object (never change one)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from domain.model import Fact, Json

UNKNOWN: Final[Json] = {"agency": None, "regime": "UKGDPR", "sensitivity": "ORDINARY", "scope": "OWNER"}
"""The label of a fact that is no longer to hand: its owner is not known, so only the iCART manager sees what rests on it."""


@lru_cache(maxsize=1024)
def _label(agency: str, regime: str, sensitivity: str, scope: str) -> Json:
    return {"agency": agency, "regime": regime, "sensitivity": sensitivity, "scope": scope}


def label_of(fact: Fact) -> Json:
    """{agency, regime, sensitivity, scope} of one fact."""
    return _label(fact.agency, fact.regime, fact.sensitivity, fact.scope)


def same_label(agency: str, scope: str) -> Json:
    """A label for what rests on no fact, UK GDPR, ordinary."""
    return _label(agency, "UKGDPR", "ORDINARY", scope)


def rest_on(facts: Iterable[Fact]) -> Json:
    """`sharing`, `facts` and, when the facts bear different labels, `sharing_all`: a reader must be allowed all of them."""
    labels: dict[int, Json] = {}
    ids = []
    for fact in facts:
        found = _label(fact.agency, fact.regime, fact.sensitivity, fact.scope)
        labels[id(found)] = found
        ids.append(fact.event_id)
    return _combined(list(labels.values()), ids)


def rest_on_ids(ids: Iterable[str], facts: Mapping[str, Fact]) -> Json:
    """Like `rest_on`, of facts by id; one that is not to hand is labelled as nobody's."""
    wanted = list(ids)
    labels = {id(x): x for x in (label_of(facts[i]) if i in facts else UNKNOWN for i in wanted)}
    return _combined(list(labels.values()), wanted)


def _combined(labels: list[Json], ids: list[str]) -> Json:
    if len(labels) == 1:
        return {"sharing": labels[0], "facts": ids}
    if not labels:
        return {"sharing": UNKNOWN, "facts": ids}
    ordered = sorted(labels, key=_key)
    return {"sharing": ordered[0], "sharing_all": ordered[1:], "facts": ids}


def rest_on_any(facts: Iterable[Fact], otherwise: Json) -> Json:
    """`sharing` and `sharing_any` of what came with each of `facts`: one label is enough. Without facts: `otherwise`."""
    labels = distinct(facts) or [otherwise]
    return {"sharing": labels[0], "sharing_any": labels}


def distinct(facts: Iterable[Fact]) -> list[Json]:
    """The different labels of `facts`, in a fixed order."""
    return sorted({id(x): x for x in map(label_of, facts)}.values(), key=_key)


def _key(label: Mapping[str, Any]) -> tuple[str, ...]:
    return (str(label["agency"]), label["regime"], label["sensitivity"], label["scope"])
