"""`unify` without its database: preparing, deciding and the book in memory; for tests of what is decided, by the thousand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid5

from consumers.deciding import Decider
from consumers.host import Intake
from consumers.preparing import Preparer
from domain.fold import fold
from domain.policy import Reference
from producers.halton.facts import SimulatedFact
from projections.book import Book
from projections.entries import ACCEPTED, DUPLICATE, Entry
from schemas.codec import Codec
from schemas.policies import reference
from schemas.registry import UnknownSchema

IDS: Final = UUID("b0b7fd4e-5a0c-5d9a-8d5e-5f7c1f0a7e11")


class Shelf:
    """A registry in memory."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def lookup(self, subject: str, text: str) -> int:
        """The id of a text; every text is registered here."""
        del subject
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def text(self, schema_id: int) -> str:
        """The text of an id."""
        if schema_id >= len(self.texts):
            raise UnknownSchema(str(schema_id))
        return self.texts[schema_id]


CODEC: Final = Codec(Shelf())  # type: ignore[arg-type]


class Memory:
    """`unify` without its database: one book, kept in memory, and what was concluded, by entry."""

    def __init__(self, at: int, rules: Reference | None = None) -> None:
        """Everything is accepted from `at` (µs UTC) on, a second apart."""
        self.book, self.number, self.clock = Book(), 0, at
        self.reference = rules or reference()
        self.at: dict[int, int] = {}
        self.saved: dict[str, dict[str, Any]] = {}
        self.accepted: dict[str, tuple[int, int]] = {}
        self.concluded: list[tuple[int, str, dict[str, Any]]] = []
        self._preparer = Preparer(CODEC, b"s" * 32, lambda: self.clock)
        self._decider = Decider(self.reference, self._preparer.same)
        self._decider.begin(self.book, {})

    def take(self, topic: str, record: str, value: dict[str, Any]) -> Entry:
        """Decide about one record."""
        self.number += 1
        self.clock += 1_000_000
        item = self._preparer.prepare(Intake(topic, 0, self.number, self.clock, CODEC.encode(record, value)))
        entry = Entry(self.number, 1, item.kind, self.clock, (topic, 0, self.number), item.agency, item.record, item.event_id)
        for child in self._decider.decide(item, entry):
            self.saved[child] = fold(self.book.history(child), self.reference, self.clock)
        self.at[self.number] = self.clock
        if entry.verdict == ACCEPTED and entry.event_id is not None:
            self.accepted[entry.event_id] = (self.number, self.clock)
        self.concluded += [(self.number, kind, data) for kind, data in entry.conclusions]
        return entry

    def tell(self, fact: SimulatedFact) -> None:
        """An agency says something; it is accepted, or was before."""
        assert self.take(f"facts.{fact.agency}", fact.record, fact.value).verdict in (ACCEPTED, DUPLICATE)

    def review(self, answer: Callable[[str, str, str, str], str | None] = lambda *_: "MatchConfirmed") -> int:
        """The reviewer decides every open match; how many. `answer` gives the act for (agency, local id) twice, or None."""
        matches = [m for m in self.book.matches.values() if m.state == "OPEN"]
        done = 0
        for match in matches:
            answered = self.book.matches[match.match_id].state != "OPEN"
            if answered or self.book.child_of[match.presentation_id] == self.book.child_of[match.anchor]:
                continue
            sides = [self.book.shown[p] for p in (match.presentation_id, match.anchor)]
            record = answer(sides[0].agency, sides[0].local_id, sides[1].agency, sides[1].local_id)
            if record is None:
                continue
            act = {
                "event_id": str(uuid5(IDS, match.match_id)),
                "actor_id": "reviewer",
                "actor_role": "icart_manager",
                "child_id": None,
                "acted_at": self.clock,
                "based_on": self.book.match_version(match.match_id),
                "correlation_id": None,
            }
            entry = self.take("decisions", record, {"act": act, "match_id": match.match_id, "rationale": None})
            assert ACCEPTED == entry.verdict
            done += 1
        return done

    def raised(self) -> list[tuple[int, dict[str, Any]]]:
        """Recommendations raised, with the entry that raised each."""
        return [(n, data) for n, kind, data in self.concluded if kind == "recommended"]

    def views(self) -> list[dict[str, Any]]:
        """The view of every child that still has presentations."""
        return [fold(self.book.history(c), self.reference, self.clock) for c, members in self.book.members.items() if members]
