"""Which retractions act, however they withdraw each other and however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.corrected import FactKey, acting, corrections
from domain.selection import select
from projections.book import Book, child_id_of
from projections.entries import FACT, Entry
from tests.unit.children import NOW, Child
from tests.unit.test_book import ENTRY, linked
from tests.unit.test_corrected_elsewhere import value_of

LONG = 2_000
"""Retractions, each of the one before: twice as many as Python calls within each other."""


def stands(retraction: FactKey, retracts: Mapping[FactKey, Sequence[FactKey]], seen: frozenset[FactKey]) -> bool:
    """The definition: a retraction acts unless a retraction that acts withdraws it. `seen` ends a ring of retractions."""
    if retraction in seen:
        return False
    return not any(stands(r, retracts, seen | {retraction}) for r in retracts.get(retraction, ()))


def defined(targets: Mapping[FactKey, FactKey]) -> set[FactKey]:
    """Those that act, each asked by itself about what it withdraws."""
    retracts = {target: [r for r, t in targets.items() if t == target] for target in targets.values()}
    return {r for r, target in targets.items() if stands(r, retracts, frozenset({target}))}


def graph(names: Sequence[int | None]) -> dict[FactKey, FactKey]:
    """Of facts 0, 1, …, which other each withdraws, or none."""
    return {("police", str(n)): ("police", str(target)) for n, target in enumerate(names) if target is not None}


class TestActing:
    """A retraction withdraws one fact; it may be withdrawn by several, and they may go round in a ring."""

    def test_all_that_are_small(self) -> None:
        """Every way in which five facts can withdraw each other or themselves."""
        for names in product((None, *range(5)), repeat=5):
            targets = graph(names)
            assert defined(targets) == acting(targets), names

    @given(st.lists(st.one_of(st.none(), st.integers(0, 11)), max_size=12), st.randoms(use_true_random=False))
    def test_in_any_order(self, names: list[int | None], rng: Random) -> None:
        """Larger ones, told in any order."""
        said = list(graph(names).items())
        rng.shuffle(said)
        assert defined(graph(names)) == acting(dict(said))

    @pytest.mark.parametrize("length", range(1, 9))
    @pytest.mark.parametrize("first", range(8))
    def test_a_ring(self, length: int, first: int) -> None:
        """Of an even number each is withdrawn, of an odd number none; one withdrawn from outside decides about all."""
        ring = graph([(n + 1) % length for n in range(length)])
        assert (set() if length % 2 else set(ring)) == acting(ring)
        broken = ring | {("police", "outside"): ("police", str(first % length))}
        assert defined(broken) == acting(broken)


class TestLong:
    """A chain longer than Python calls within each other."""

    def test_on_one_record(self) -> None:
        """What is in force: every other one, from the last on."""
        child = Child()
        facts = [child.says("police", "VulnerabilitySubmission", NOW)]
        for _ in range(LONG):
            facts.append(child.retracts(facts[-1]))
        known = select(child.history, NOW)
        assert ["CURRENT", "RETRACTED"] * (LONG // 2) + ["CURRENT"] == [known.state(f) for f in facts]

    @pytest.mark.parametrize("records", [1, 2])
    @pytest.mark.parametrize("asked", [0, LONG // 2, LONG])
    def test_what_is_told(self, records: int, asked: int) -> None:
        """Of every one that stands elsewhere than what withdraws it, from the one that came last on up; on one record nothing."""
        book, told = Book(), [f"fact-{n}" for n in range(LONG + 1)]
        for n, event_id in enumerate(told):
            book.apply(chained(n, event_id, told[n - 1] if n else None, f"record-{n % records}"))
        fact = book.fact(("police", told[asked]))
        assert fact is not None
        found = {(data["event_id"], data["by_event_id"]): kind for kind, data in corrections(fact, book)}
        down_to = min(asked + 1, LONG)
        wanted = {(told[n], told[n + 1]): "reinstated" if (LONG - n) % 2 == 0 else "replaced" for n in range(down_to)}
        assert (wanted if records == 2 else {}) == found


def chained(number: int, event_id: str, target: str | None, presentation_id: str) -> Entry:
    """The entry of a fact, or of a retraction of `target`."""
    record, value = value_of("police", {}, "Retraction" if target else None, event_id=event_id, retracts=target)
    source = ("facts.police", 0, number)
    return Entry(number, 1, FACT, NOW, source, "police", record, event_id, presentation_id=presentation_id, value=value)


def test_what_is_forgotten_is_found_no_more() -> None:
    """Neither by its id nor by what it corrects; what stays is."""
    book = Book()
    for n, event_id in enumerate(("a", "b", "c")):
        book.apply(chained(n, event_id, "a" if n else None, f"record-{n}"))
    book.take(ENTRY, "linked", linked("record-1", "record-1"))
    book.drop([child_id_of("record-1")])
    assert [True, False, True] == [book.fact(("police", i)) is not None for i in ("a", "b", "c")]
    assert ["c"] == [f.event_id for f in book.corrections_of(("police", "a"))]
