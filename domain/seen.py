"""What people saw of recommendations and still stands, weighed today: what came since is compared with it (R1).

It is the facts known by an entry or at an instant (µs UTC) and not withdrawn since. A fact that was only replaced since counts as
it was told then, so that a corrected spelling is no news.
"""

from __future__ import annotations

from domain.corrected import REPLACED, told_of
from domain.model import Fact
from domain.policy import Reference
from domain.selection import RETRACTED, Known, put_in_force
from domain.signals import Situation


class Seen:
    """What of `known` people saw. It goes on with facts that only add to it, as `Fold` does, and when more of them is seen."""

    def __init__(self, known: Known, reference: Reference) -> None:
        self._known, self._reference = known, reference
        self._mark = (-1, -1)
        self._situation: Situation | None = None
        self._unseen: list[Fact] = []
        self._in_order = self._late = False

    def take(self, fact: Fact) -> None:
        """A fact has joined in that was accepted last."""
        self._unseen.append(fact)
        self._late = self._late or self._by_then(fact)

    def upto(self, number: int, held_at: int) -> Situation:
        """What was seen of facts that were known by entry `number`, or at `held_at`."""
        found = self._situation
        if found is None or not self._goes_on(found.known, (number, held_at)):
            found = self._situation = self._anew((number, held_at))
        found.known.as_of = self._known.as_of
        return found

    def _goes_on(self, then: Known, mark: tuple[int, int]) -> bool:
        if mark == self._mark and not self._late:
            return True
        if mark[0] < self._mark[0] or mark[1] < self._mark[1] or not self._in_order:
            return False
        self._mark, self._late = mark, False
        more = [f for f in self._unseen if self._by_then(f)]
        self._unseen = [f for f in self._unseen if not self._by_then(f)]
        return all(map(then.take, more))

    def _by_then(self, fact: Fact) -> bool:
        return self._within(self._known.known_number(fact), self._known.known_from(fact))

    def _within(self, number: int, at: int) -> bool:
        """By the mark's entry, or at its instant."""
        return number <= self._mark[0] or at <= self._mark[1]

    def _anew(self, mark: tuple[int, int]) -> Situation:
        known, self._mark, self._late = self._known, mark, False
        replacing = [f for f in known.everything.values() if f.supersedes]
        moved = list(told_of(known.facts, known.conclusions))
        replaced = {(f.agency, f.supersedes) for f in replacing if self._within(f.number, f.accepted_at)}
        by_then = [(pair, c) for pair, c in moved if self._within(c.number, c.accepted_at)]
        told_then = {pair: c.kind for pair, c in by_then}  # in order: the last holds
        # what replaces facts later takes them away (or gives them back): it does not only add, and all is looked at anew
        self._in_order = len(replaced) == len(replacing) and len(by_then) == len(moved)
        replaced |= {target for (target, _), kind in told_then.items() if kind == REPLACED}
        stand = [f for f in known.facts if known.state(f) != RETRACTED and (f.agency, f.event_id) not in replaced]
        then = Known(known.child_id, known.as_of, known.known_at, known.presentations, known.links)
        then.facts = [f for f in stand if self._by_then(f)]
        put_in_force(then)
        self._unseen = [f for f in stand if not self._by_then(f)]
        return Situation(then, self._reference)
