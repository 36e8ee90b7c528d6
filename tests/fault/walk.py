"""When each recommendation should have been raised, from what was said and confirmed alone: no link of the house's is read.

Presentations become children as they are shown and as the reviewer's answers are accepted, by the oracle's own rules; at each
entry that touches a child the written policy is asked. Nobody decides here, so a recommendation is raised once, and anew with
each thing that its last raising did not list, or that was gone since; where two children become one the older one is raised
anew and the other is joined with it, until the two are apart. Children on whom somebody decided are left out by whoever compares.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tests.fault.clusters import Shown, grounds, joined
from tests.fault.oracle import Child, Corrections, Oracle, Told

Reason = tuple[str, int, frozenset[str]]
Raised = tuple[int, str, frozenset[Reason]]
"""Entry number, basis, and reasons as (rule, points, facts)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reviewer's accepted act on a match between two presentations: `joins`, or takes apart again."""

    number: int
    one: Shown
    other: Shown
    joins: bool


@dataclass
class Children:
    """Who is one child, as the ledger goes on."""

    edges: dict[Shown, Counter[Shown]] = field(default_factory=lambda: defaultdict(Counter))
    order: dict[Shown, int] = field(default_factory=dict)
    under: dict[tuple[str, str], list[Shown]] = field(default_factory=lambda: defaultdict(list))
    sharing: dict[tuple[str, ...], list[Shown]] = field(default_factory=lambda: defaultdict(list))
    ruled: set[frozenset[Shown]] = field(default_factory=set)

    def show(self, new: Shown) -> list[Shown]:
        """A presentation is there; the rules join it to those before, or take links under its local id away. Whom that moves."""
        if new in self.order:
            return []
        for old in dict.fromkeys(s for ground in grounds(new) for s in self.sharing[ground]):
            if old.holder != new.holder and joined(new, old, ()) == "rule":
                self.join(new, old, 1)
        self.order[new] = len(self.order)
        for ground in grounds(new):
            self.sharing[ground].append(new)
        mine = self.under[new.holder]
        mine.append(new)
        moved = []
        for one, other in combinations(mine, 2):
            pair, wanted = frozenset((one, other)), joined(one, other, mine) == "rule"
            if wanted != (pair in self.ruled):
                self.join(one, other, 1 if wanted else -1)
                self.ruled ^= {pair}
                moved += [one, other]
        return moved

    def join(self, one: Shown, other: Shown, by: int) -> None:
        """Add to what holds two presentations together, or take from it."""
        self.edges[one][other] += by
        self.edges[other][one] += by

    def of(self, start: Shown) -> frozenset[Shown]:
        """The child that a presentation is of."""
        group, queue = set[Shown](), [start]
        while queue:
            at = queue.pop()
            if at not in group:
                group.add(at)
                queue += [s for s, n in self.edges[at].items() if n > 0]
        return frozenset(group)

    def home(self, start: Shown) -> Shown:
        """The child that a presentation is of, by its oldest."""
        return self.founder(self.of(start))

    def founder(self, group: Iterable[Shown]) -> Shown:
        """Its oldest presentation: a merge keeps the older child."""
        return min(group, key=lambda s: self.order[s])


def raised(oracle: Oracle, told: Sequence[Told], answers: Sequence[Answer], at: Mapping[int, int]) -> Counter[Raised]:
    """Every raising there should be. `at` gives `accepted_at` (µs) by entry number."""
    people = oracle.people
    facts = {f.number: f for f in told}
    acts = {a.number: a for a in answers}
    children, corrections = Children(), Corrections()
    by: dict[Shown, list[Told]] = defaultdict(list)
    waiting: dict[Shown, tuple[int, Child]] = {}
    gone: dict[Shown, set[str]] = defaultdict(set)
    with_other: dict[Shown, Shown] = {}
    on: dict[Shown, tuple[Shown, int]] = {}
    out: Counter[Raised] = Counter()
    for number in sorted(facts.keys() | acts.keys()):
        if (fact := facts.get(number)) is not None:
            mine = people.of[fact.key]
            touched = _groups(children, [mine, *children.show(mine)])
            by[mine].append(fact)
            corrections.add(fact)
        else:
            answer = acts[number]
            if not {answer.one, answer.other} <= children.order.keys():
                continue  # a violation of its own (`compare_answers`)
            children.join(answer.one, answer.other, 1 if answer.joins else -1)
            touched = _groups(children, [answer.one, answer.other])
        for group in touched:
            for s in group:
                if on.get(s, (None, 0))[0] != children.founder(group):
                    on[s] = (children.founder(group), number)
            here = [f for s in group for f in by[s]]
            child = oracle.child(here, corrections, group, at[number], lambda key: children.home(people.of[key]))
            before = _awaiting(group, waiting, with_other)
            first = before[0] if before else children.founder(group)
            gone[first] |= oracle.gone(child, [waiting[s][1] for s in before])
            if child.basis is None:
                continue
            if len(before) == 1:
                raised_at, listed = waiting[first]
                old = [f for f in here if f.number <= raised_at and on[people.of[f.key]][1] <= raised_at]
                if not oracle.news(child, listed, oracle.seen(old, corrections, raised_at, child), gone[first]):
                    continue
            waiting[first], gone[first] = (number, child), set()
            out[(number, child.basis, frozenset((r, p, f) for r, (p, f) in child.reasons.items()))] += 1
    return out


def _groups(children: Children, some: Iterable[Shown]) -> list[frozenset[Shown]]:
    """The children that these presentations are of, the oldest first."""
    return sorted({children.of(s) for s in some}, key=lambda g: children.order[children.founder(g)])


def _awaiting(group: frozenset[Shown], waiting: Iterable[Shown], with_other: dict[Shown, Shown]) -> list[Shown]:
    """Whose recommendations await a decision on this child, the oldest first; from now on the others are joined with that one."""
    found = [s for s in waiting if s in group and with_other.get(s) not in group]
    for s in found[:1]:
        with_other.pop(s, None)
    with_other |= dict.fromkeys(found[1:], found[0]) if found else {}
    return found
