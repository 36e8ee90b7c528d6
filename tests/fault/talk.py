"""What agencies say while faults strike: news, dealt out so that it lasts to the end, among copies of what was said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from producers.halton.facts import SimulatedFact

EVERY: Final = 4
"""Of what is said one in so many is news, as long as some of the open part is left."""


class Talk:
    """Facts in order, in `turns` + 1 parts. One is open from the start, each `more` opens the next.

    However long a fault takes, it cannot use up the news of those that follow. `news`: was any of it unsaid at the beginning?
    """

    def __init__(self, facts: Sequence[SimulatedFact], turns: int, every: int, known: Collection[tuple[str, str]]) -> None:
        """`known`: (agency, event id) of what was said before."""
        self.news = any((f.agency, f.key) not in known for f in facts)
        assert len(facts) > turns or not self.news, f"{len(facts)} facts are too few for {turns} turns"
        self._facts, self._turns, self._every = facts, turns, every
        self._turn = self._count = self._said = 0

    def next(self) -> SimulatedFact:
        """What is said now."""
        self._count += 1
        upto = len(self._facts) * (self._turn + 1) // (self._turns + 1)
        if self._said == 0 or (self._said < upto and self._count % self._every == 0):
            self._said += 1
            return self._facts[self._said - 1]
        return self._facts[self._count % self._said]

    def more(self) -> None:
        """Open the next part. A talk of copies alone has none."""
        if self.news:
            assert self._turn < self._turns, f"no news is left to say: {self._turns} turns were planned for"
            self._turn += 1

    def rest(self) -> Sequence[SimulatedFact]:
        """What was not said."""
        return self._facts[self._said :]
