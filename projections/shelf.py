"""Facts read before, kept between batches: an accepted fact never changes, so only what came since is asked for.

The same answer as reading them all, from less: of a presentation it holds its facts up to some number, and decisions are made
in the order of numbers (ADR 0002), so what it lacks is what has a higher one. Only committed rows are ever read into it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson
from sqlalchemy import Connection, text

from domain.model import Fact

FACTS_MAX: Final = 40_000
"""Facts kept by each worker: some 60 MB at most."""


class Shelf:
    """Facts by presentation, the least recently asked for first to go."""

    def __init__(self, most: int = FACTS_MAX) -> None:
        self._most, self._many = most, 0
        self._held: dict[str, list[Fact]] = {}

    def read_ahead(self, conn: Connection, presentation_ids: Collection[str]) -> None:
        """Have the facts of the children that these presentations are on: what is read now is not read under a lock."""
        if new := [p for p in presentation_ids if p not in self._held]:
            with conn.begin():
                beside = conn.execute(_BESIDE, {"p": new}).scalars().all()
                self.read(conn, [p for p in beside if p not in self._held])

    def read(self, conn: Connection, presentation_ids: Collection[str]) -> list[Fact]:
        """Every fact of these presentations."""
        ids = list(presentation_ids)
        last = [held[-1].number if (held := self._held.get(p)) else 0 for p in ids]
        later = [Fact(*orjson.loads(data)) for data in conn.execute(_LATER, {"p": ids, "n": last}).scalars().all()]
        found = {p: self._held.pop(p, []) for p in ids}
        for fact in later:
            found[fact.presentation_id].append(fact)
        self._held |= found
        self._many += len(later)
        facts = [f for some in found.values() for f in some]
        while self._many > self._most:
            self._many -= len(self._held.pop(next(iter(self._held))))
        return facts

    def forget(self) -> None:
        """Nothing is kept: another database, or tables made anew, may hold less (a restore, an erasure)."""
        self._held.clear()
        self._many = 0


_BESIDE = text(
    "select distinct presentation_id from link where child_id in "
    "(select child_id from presentation where presentation_id = any(:p))"
)
_LATER = text(
    "select f.data from unnest(cast(:p as text[]), cast(:n as bigint[])) as u(p, n) "
    "join fact f on f.presentation_id = u.p and f.number > u.n order by f.number"
)
