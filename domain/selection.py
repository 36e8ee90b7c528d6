"""What of a history holds: at `as_of` (what was true) and at `known_at` (what we knew, by our own time and never an agency's).

A fact is known from `accepted_at` of the fact and of the link that put its presentation on this child, the later of the two.
It has happened from `occurred_at`, or from when we accepted it if a sender's clock is ahead: what has been said has happened.

Corrections, by the same agency only, in any order of arrival:
- a fact that any known fact `supersedes` is SUPERSEDED for good, also when the newer one is withdrawn in turn;
- a fact that a known Retraction `retracts` is RETRACTED, unless that Retraction was itself retracted;
- a correction acts from when it is known, whatever its own `occurred_at`, and also when it was filed on another presentation:
  `replaced` tells this child of it, `reinstated` that it does not act (`domain.corrected`).

What was selected goes on when something comes that only adds to it (`Known.take`): the same as selecting all of it anew.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, TypeVar

from domain.corrected import CORRECTED, REINSTATED, REPLACED, FactKey, acting, told_of
from domain.matching import child_id_of
from domain.model import Conclusion, Fact, History, Link, Presentation

CURRENT: Final = "CURRENT"
SUPERSEDED: Final = "SUPERSEDED"
RETRACTED: Final = "RETRACTED"

Name = TypeVar("Name")


@dataclass(slots=True)
class Line:
    """Facts in order of something that each is looked at by, and how many of each record were looked at."""

    ats: list[Any] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    looked: dict[str, int] = field(default_factory=dict)

    def put(self, at: Any, fact: Fact) -> None:
        """Put a fact where it belongs, after others that are looked at by the same."""
        n = bisect_right(self.ats, at)
        self.ats.insert(n, at)
        self.facts.insert(n, fact)


@dataclass(slots=True)
class Known:
    """The selected part of a history, sorted. `facts` are all that are shown, `current` those in force, by record.

    `known_number` is the entry by which a fact was known on this child; `next_fact_at` when the next one begins to be true.
    `in_force` are the ids of `current`, `sealed` those of facts that few may see; `outcomes` says which a message tells of;
    `told_back` are the ids of submissions told back to their supervisor; `joined` the records of facts that joined in (`take`);
    `traced` the NHS numbers of the presentations that are checked and traced, once somebody asked; `unheard_told` the number of
    submissions without the child's voice when all of them had been told back.
    """

    child_id: str
    as_of: int
    known_at: int | None
    presentations: list[Presentation] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    states: dict[FactKey, str] = field(default_factory=dict)
    current: defaultdict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    conclusions: list[Conclusion] = field(default_factory=list)
    everything: dict[str, Fact] = field(default_factory=dict)
    next_fact_at: int | None = None
    version: int = 0
    in_force: set[str] = field(default_factory=set)
    sealed: set[str] = field(default_factory=set)
    outcomes: dict[str, str] = field(default_factory=dict)
    told_back: set[str] = field(default_factory=set)
    joined: list[str] = field(default_factory=list)
    traced: frozenset[str] | None = None
    unheard_told: int = 0
    _came: dict[str, list[Fact]] = field(default_factory=dict)
    _by_agency: dict[str, int] = field(default_factory=dict)
    _lines: dict[str, Line] = field(default_factory=dict)

    @property
    def by_agency(self) -> dict[str, int]:
        """How many facts of each agency are shown."""
        if not self._by_agency:
            for fact in self.facts:
                self._by_agency[fact.agency] = self._by_agency.get(fact.agency, 0) + 1
        return dict(self._by_agency)

    def came(self, record: str, looked: dict[str, int]) -> Sequence[Fact]:
        """The facts of a record in force that came since `looked` counted them; it counts these now."""
        there, before = len(self.current.get(record, ())), looked.get(record, 0)
        if there == before:
            return ()
        looked[record] = there
        return (self._came.get(record) or self.current[record])[before:]

    def line(self, name: str, records: Iterable[str], at: Callable[[Fact], Any]) -> Line:
        """Facts in force in order of what `at` finds in each (None: it is left out). `name` stands for both: the line goes on."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line()
        for record in records:
            for fact in self.came(record, line.looked):
                if (found := at(fact)) is not None:
                    line.put(found, fact)
        return line

    def by_day(self, record: str, name: str) -> Line:
        """The facts of a record in order of the day that they name in a field (ISO 8601); without those that name none."""
        return self.line(f"{record}.{name}", (record,), lambda f: f.body.get(name))

    def next_day(self, record: str, name: str, today: str) -> str | None:
        """The first day after `today` that a fact of a record names in a field; None when none does."""
        days = self.by_day(record, name).ats
        ahead = bisect_right(days, today)
        return days[ahead] if ahead < len(days) else None

    def take(self, fact: Fact) -> bool:
        """Let a fact join in that was accepted last; False when it does more than join in: then all is to be selected anew."""
        key = (fact.agency, fact.event_id)
        corrects = fact.supersedes is not None or fact.retracts is not None or key in self.states
        if corrects or fact.sensitivity == "SEALED" or fact.event_id in self.everything or fact.presentation_id not in self.links:
            return False
        some, came = self.current[fact.record], self._came.get(fact.record)
        if came is None and some and in_time(fact) < in_time(some[-1]):
            came = self._came[fact.record] = list(some)
        if came is not None:
            came.append(fact)
        place(some, fact)
        place(self.facts, fact)
        self.everything[fact.event_id] = fact
        self.in_force.add(fact.event_id)
        self.joined.append(fact.record)
        if self._by_agency:
            self._by_agency[fact.agency] = self._by_agency.get(fact.agency, 0) + 1
        self.version = max(self.version, fact.number)
        return True

    def meet(self, shown: Presentation, link: Link) -> None:
        """Let a presentation join in that nobody had shown before; its facts join in after it."""
        self.presentations.append(shown)
        self.traced = None
        self.links[shown.presentation_id] = link

    def learn(self, c: Conclusion) -> bool:
        """Let a conclusion join in that was drawn last; False as for `take`."""
        at = bisect_left(self.conclusions, rank := _rank(c), key=_rank)
        if c.kind in BEYOND or (at < len(self.conclusions) and _rank(self.conclusions[at]) == rank):
            return False
        self.conclusions.insert(at, c)
        if c.kind == "gp_message":
            self.outcomes[c.data["message_id"]] = c.data["event_id"]
        elif c.kind == "quality_defect":
            self.told_back.add(c.data["event_id"])
        if self.openly(c):
            self.version = max(self.version, c.number)
        return True

    def openly(self, c: Conclusion) -> bool:
        """Every reader may know that this was concluded."""
        about = c.data.get("event_id") or self.outcomes.get(c.data.get("message_id", ""))
        return about not in self.sealed and "match_id" not in c.data

    def state(self, fact: Fact) -> str:
        """CURRENT, SUPERSEDED or RETRACTED."""
        return self.states.get((fact.agency, fact.event_id), CURRENT)

    def known_number(self, fact: Fact) -> int:
        """The entry from which on the fact was known on this child."""
        return max(fact.number, self.links[fact.presentation_id].from_number)

    def known_from(self, fact: Fact) -> int:
        """When the fact was known on this child, µs UTC."""
        return max(fact.accepted_at, self.links[fact.presentation_id].from_at)


def happened(fact: Fact) -> int:
    """When it happened; never later than when we were told."""
    return min(fact.occurred_at, fact.accepted_at)


def select(history: History, as_of: int, known_at: int | None = None) -> Known:
    """What of `history` holds at `as_of` as known at `known_at` (None: everything). A set in any order, duplicates harmless."""
    known = Known(history.child_id, as_of, known_at)
    limit = known_at if known_at is not None else 1 << 62
    _links(known, history, limit)
    facts = _facts(known, history, limit)
    _conclusions(known, history, min(limit, as_of), limit)
    known.states = _states(facts, known.conclusions)
    here = known.links
    linked = [f for f in facts if f.presentation_id in here]
    known.facts = [f for f in linked if f.accepted_at <= as_of or f.occurred_at <= as_of]
    if len(known.facts) < len(linked):
        known.next_fact_at = min(at for f in linked if (at := happened(f)) > as_of)
    known.facts.sort(key=in_time)
    put_in_force(known)
    known.version = _version(known, history, facts, limit)
    return known


def put_in_force(known: Known) -> None:
    """Of the facts shown, those that nothing replaced or withdrew."""
    states, current = known.states, known.current
    for fact in known.facts:
        if not states or (fact.agency, fact.event_id) not in states:
            current[fact.record].append(fact)
            known.in_force.add(fact.event_id)


def openly(known: Known) -> Known:
    """What is known without sealed facts. What one of them replaced or withdrew stays so."""
    facts = [f for f in known.facts if f.sensitivity != "SEALED"]
    shown = Known(known.child_id, known.as_of, known.known_at, known.presentations, known.links, facts, known.states)
    put_in_force(shown)
    return shown


def _version(known: Known, history: History, facts: Iterable[Fact], limit: int) -> int:
    """The highest entry that the view rests on and that may be seen to be there by every reader.

    Sealed facts, records that only sealed facts came with, and what was concluded of those leave it: who sees it rise would know
    that they are there. So do questions about records, as a sealed one may be asked about. It never falls: when a record goes to
    another child, it is the entry that took it away.
    """
    known.sealed = {f.event_id for f in facts if f.sensitivity == "SEALED"}
    came_openly = {f.presentation_id for f in facts if f.sensitivity != "SEALED"}
    known.outcomes = {c.data["message_id"]: c.data["event_id"] for c in known.conclusions if c.kind == "gp_message"}
    numbers = [f.number for f in known.facts if f.sensitivity != "SEALED"]
    for link in history.links:
        if link.child_id == known.child_id and link.from_at <= limit and link.presentation_id in came_openly:
            numbers.append(link.from_number)
            if link.to_number is not None and link.to_at is not None and link.to_at <= limit:
                numbers.append(link.to_number)
    numbers += [c.number for c in known.conclusions if known.openly(c)]
    return max(numbers, default=0)


in_time: Final = attrgetter("occurred_at", "recorded_at", "event_id", "agency")
"""The order of facts: by when it happened; of one instant (systems that know days alone), by when it was recorded."""


def place(some: list[Fact], fact: Fact) -> None:
    """Put a fact where it belongs in facts that are in order of time."""
    if not some or in_time(fact) >= in_time(some[-1]):
        some.append(fact)
    else:
        insort(some, fact, key=in_time)


def last_told(facts: Sequence[Fact]) -> Fact:
    """Of facts, in order of time, that tell the same thing over again: what holds. That is what was recorded last: what is told
    anew, an end earlier than before, did not happen later than what it puts right. Of what was recorded at one time, the later;
    what was imported holds only where nothing else is told, as it may have been recorded when it was imported.
    """
    return max(reversed(facts), key=lambda f: (not f.historic, f.recorded_at))


def newest_telling(facts: Iterable[Fact], named: Callable[[Fact], Name]) -> dict[Name, Fact]:
    """What was told last of each thing that facts, in order of time, tell of; `named` says which one a fact is about."""
    told = defaultdict[Name, list[Fact]](list)
    for fact in facts:
        told[named(fact)].append(fact)
    return {name: some[0] if len(some) == 1 else last_told(some) for name, some in told.items()}


def _links(known: Known, history: History, limit: int) -> None:
    for link in history.links:
        if link.child_id == known.child_id and link.from_at <= limit and (link.to_at is None or link.to_at > limit):
            before = known.links.get(link.presentation_id)
            if before is None or link.from_number > before.from_number:
                known.links[link.presentation_id] = link
    shown = {p.presentation_id: p for p in history.presentations if p.presentation_id in known.links}
    known.presentations = sorted(shown.values(), key=lambda p: (p.number, p.presentation_id))


def _facts(known: Known, history: History, limit: int) -> list[Fact]:
    """Known facts, the first accepted of each (agency, id) (I1); none of a record that only may be this child."""
    own = {p.presentation_id for p in history.presentations}
    found = [f for f in history.facts if f.accepted_at <= limit and f.presentation_id in own]
    known.everything = {f.event_id: f for f in found}
    if len(known.everything) == len(found):
        return found
    first: dict[FactKey, Fact] = {}
    known.everything = {}
    for fact in sorted(found, key=attrgetter("number")):  # some came twice, or two agencies gave one id
        first.setdefault((fact.agency, fact.event_id), fact)
        known.everything.setdefault(fact.event_id, fact)
    return list(first.values())


ORDERED: Final = ("parted", "recommended", "overdue_withdrawn", "gp_withdrawn", "gp_message", "gp_receipt", "gp_exception")
RANKS: Final = {kind: n for n, kind in enumerate(ORDERED)}
"""Order of conclusions of one entry where it matters; the others are of different things."""


BEYOND: Final = frozenset({
    "linked", REPLACED, REINSTATED, "not_the_owner", "match_confirmed", "match_rejected", "match_undone",
})  # fmt: skip
"""Conclusions that change more than what they say themselves: who is meant, or what of the facts is in force."""


SUBJECTS: Final = ("recommendation_id", "message_id", "match_id", "event_id", "presentation_id", "a", "by")
"""What a conclusion is about, by the first of these that it names."""


def _conclusions(known: Known, history: History, until: int, limit: int) -> None:
    # a correction acts from when it is known, whenever one looks at, wherever it was filed: so does what is told of it
    # what was concluded on a child that was part of this one then, or is now, goes where its founder is; what is asked stays
    away = {child_id_of(p.presentation_id) for p in history.presentations if p.presentation_id not in known.links}
    told = (c for c in history.conclusions if c.accepted_at <= (limit if c.kind in CORRECTED else until))
    found = {_rank(c): c for c in told if c.data.get("child_id") not in away or "match_id" in c.data}
    known.conclusions = [found[k] for k in sorted(found)]
    known.told_back = {c.data["event_id"] for c in known.conclusions if c.kind == "quality_defect"}


def _rank(c: Conclusion) -> tuple[int, int, str, str, str]:
    d = c.data
    about = next((d[k] for k in SUBJECTS if d.get(k)), "")
    return (c.number, RANKS.get(c.kind, 9), c.kind, str(about), str(d.get("by_event_id", "")))


def _states(facts: Sequence[Fact], conclusions: Sequence[Conclusion]) -> dict[FactKey, str]:
    states: dict[FactKey, str] = {}
    retracts: dict[FactKey, FactKey] = {}
    told = {pair: c.kind == REPLACED for pair, c in told_of(facts, conclusions)}  # in order: what was told last holds
    for fact in facts:
        if fact.supersedes is not None:
            states[(fact.agency, fact.supersedes)] = SUPERSEDED
        if fact.retracts is not None:
            retracts[fact.agency, fact.event_id] = (fact.agency, fact.retracts)
    for (target, _), acts in told.items():
        if acts:
            states.setdefault(target, SUPERSEDED)
    if retracts:
        effective = acting(retracts)
        states |= {target: RETRACTED for by, target in retracts.items() if told.get((target, by), by in effective)}
    return states
