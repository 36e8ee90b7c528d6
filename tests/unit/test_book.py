"""What is remembered of children where it is easily remembered wrongly: workers that forget read something else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine

from projections.book import Book, child_id_of
from projections.entries import ACT, Entry

OLDER, YOUNGER = "p-older", "p-younger"
ENTRY = Entry(7, 1, ACT, 1_000_000, ("decisions", 0, 3), None, "MatchConfirmed", "an act")


def linked(presentation_id: str, founder: str) -> dict[str, Any]:
    """A presentation on the child of a founder."""
    return {
        "presentation_id": presentation_id,
        "child_id": child_id_of(founder),
        "rule": "IDENTIFIER",
        "evidence": [],
        "by": None,
    }


def test_a_recommendation_stays_where_it_was_first_raised() -> None:
    """Raised anew on the child it was merged into, and left there by an undo: acts about it go to the first, as they are read."""
    book = Book()
    for founder in (YOUNGER, OLDER):
        book.take(ENTRY, "recommended", {"child_id": child_id_of(founder), "recommendation_id": "r", "message_id": "m"})
    assert {"r": child_id_of(YOUNGER), "m": child_id_of(YOUNGER)} == book.about


def test_a_child_that_is_parted_here_is_whole() -> None:
    """What others conclude about it is then followed, and not left out for good."""
    book = Book()
    book.take(ENTRY, "linked", linked(YOUNGER, OLDER))
    book.take(ENTRY, "linked", linked(YOUNGER, YOUNGER))
    assert {child_id_of(OLDER), child_id_of(YOUNGER)} == book.whole


def test_what_others_say_of_a_record_on_a_child_that_is_known() -> None:
    """By the child named after it, which it never was: it is kept, as from the tables (I2)."""
    book, defect = Book(), {"child_id": child_id_of(YOUNGER), "event_id": "e", "defect": "VOICE_MISSING"}
    book.take(ENTRY, "linked", linked(YOUNGER, OLDER))
    with create_engine("sqlite://").connect() as conn:
        book.follow(conn, [[8, 1_000_001, "police", YOUNGER, None, None, [["quality_defect", defect]]]])
    assert [defect] == [c.data for c in book.conclusions[child_id_of(YOUNGER)]]


def test_an_edge_removed_touches_both_sides() -> None:
    """Though they stay together by another: whoever remembers it is to read it anew."""
    book = Book()
    for pid in (OLDER, YOUNGER):
        book.take(ENTRY, "linked", linked(pid, OLDER))
    edge = {"a": OLDER, "b": YOUNGER}
    book.take(ENTRY, "edge", edge | {"rule": "LOCAL_ID", "match_id": None})
    assert {child_id_of(OLDER)} == book.take(ENTRY, "edge_removed", edge)
    assert {} == book.edges
