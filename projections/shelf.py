"""Facts read before, kept between batches: an accepted fact never changes, so only what came since is asked for.

The same answer as reading them all, from less: of a presentation it holds its facts up to some number, and decisions are made
in the order of numbers (ADR 0002), so what it lacks is what has a higher one. Only committed rows are ever read into it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection, text

from domain.model import Fact, fact_of
from projections.arrays import Column
from projections.driver import rows

BYTES_MAX: Final = 20_000_000
"""What each worker keeps, as text: of facts as they mostly are, some 33,000, which take 35 MB of memory."""


@dataclass(slots=True)
class Row:
    """The facts of one presentation in order of number, and how much text they are."""

    facts: list[Fact] = field(default_factory=list)
    size: int = 0


class Shelf:
    """Facts by presentation, the least recently asked for first to go."""

    def __init__(self, most: int = BYTES_MAX) -> None:
        """`most`: bytes of text that are kept; with 0 none is: for a book that is thrown away."""
        self._most, self._size = most, 0
        self._held: dict[str, Row] = {}

    def read(self, conn: Connection, presentation_ids: Collection[str]) -> list[Fact]:
        """Every fact of these presentations."""
        if not presentation_ids:
            return []
        asked = {p: self._held.pop(p, Row()) for p in presentation_ids}
        self._held |= asked
        last = [row.facts[-1].number if row.facts else 0 for row in asked.values()]
        for (data,) in rows(conn, _LATER, {"p": Column("text", list(asked)), "n": Column("bigint", last)}):
            fact = fact_of(orjson.loads(data), kept=self._most > 0)
            row = asked[fact.presentation_id]
            row.facts.append(fact)
            row.size += len(data)
            self._size += len(data)
        found = [f for row in asked.values() for f in row.facts]
        while self._size > self._most:
            self._size -= self._held.pop(next(iter(self._held))).size
        return found


_LATER = text(
    "select f.data from unnest(cast(:p as text[]), cast(:n as bigint[])) as u(p, n) "
    "join fact f on f.presentation_id = u.p and f.number > u.n order by f.number"
)
