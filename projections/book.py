"""What is remembered about children: read from `views`, brought forward entry by entry, by what others added as well; dropped
when others did more than add.

`Book.apply` is the only place that says what an entry means for memory; `projections.writing` says it for the tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson
from sqlalchemy import Connection, text

from domain import matching
from domain.corrected import FactKey
from domain.fold import Fold, Folded
from domain.matching import Cluster, Match, Person
from domain.model import Conclusion, Fact, History, Json, Link, Presentation, fact_of
from domain.policy import Reference
from domain.selection import BEYOND, select
from projections.arrays import Column
from projections.driver import rows
from projections.entries import ACCEPTED, FACT, Entry
from projections.keyring import keyed_hash
from projections.shelf import Shelf

MATCH_STATES: Final = {"match_confirmed": "CONFIRMED", "match_rejected": "REJECTED", "match_undone": "UNDONE"}
BLOCK_SECRET: Final = b"sightline-block"
"""Blocking keys are hashed for compactness, not secrecy: the same table holds the names they are made of."""

ANSWERS_MAX: Final = 20_000
"""Answers of a pure function kept by each worker: about 5 MB at most."""

BLOCK_KEYS_MAX: Final = 4_000
"""The same of blocking keys, which are asked for again while a batch is decided, and seldom after."""


@lru_cache(ANSWERS_MAX)
def child_id_of(founder: str) -> str:
    """The id of a child whose oldest presentation is `founder`, as `matching` makes it; asked for some five times a fact."""
    return matching.child_id_of(founder)


@lru_cache(BLOCK_KEYS_MAX)
def block_key(key: matching.Key) -> bytes:
    """A blocking key as 16 bytes."""
    return keyed_hash(BLOCK_SECRET, *key)[:16]


@lru_cache(ANSWERS_MAX)
def _evidence(data: bytes) -> tuple[str, ...]:
    return tuple(orjson.loads(data))


@dataclass(slots=True)
class Book:
    """Whole children: all their presentations, links, facts, conclusions and matches, as of the last entry applied."""

    shown: dict[str, Presentation] = field(default_factory=dict)
    child_of: dict[str, str] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ever: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    newest: dict[tuple[str, str], str] = field(default_factory=dict)
    blocks: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    links: dict[str, list[Link]] = field(default_factory=lambda: defaultdict(list))
    edges: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    joined: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    matches: dict[str, Match] = field(default_factory=dict)
    concerned: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    facts: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    stands: dict[FactKey, Fact] = field(default_factory=dict)
    replacing: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    awaited: set[str] = field(default_factory=set)
    sources: dict[tuple[str, str], tuple[str, int, int]] = field(default_factory=dict)
    conclusions: dict[str, list[Conclusion]] = field(default_factory=lambda: defaultdict(list))
    said: dict[str, list[Conclusion]] = field(default_factory=lambda: defaultdict(list))
    founder: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    shelf: Shelf = field(default_factory=Shelf)
    folds: dict[str, Fold] = field(default_factory=dict)

    # -- asking -----------------------------------------------------------------------------------------------------

    @property
    def misdirected(self) -> set[tuple[str, str]]:
        """(agency, event_id) of corrections whose senders were told that they name another agency's fact."""
        said = (c for some in self.conclusions.values() for c in some if c.kind == "not_the_owner")
        return {(c.data["agency"], c.data["event_id"]) for c in said}

    def fact(self, key: FactKey) -> Fact | None:
        """The fact that an agency gave this id, if it is known here."""
        return self.stands.get(key)

    def corrections_of(self, key: FactKey) -> list[Fact]:
        """The facts known here that correct the one of this id, by the same agency, in order of their records."""
        found = (self.fact((key[0], event_id)) for _, event_id in sorted(set(self.replacing.get(key, ()))))
        return [f for f in found if f is not None]

    def said_on(self, child_id: str) -> Sequence[Conclusion]:
        """What was concluded under the name of this child, in order."""
        return self.conclusions.get(child_id, ())

    def person(self, presentation_id: str) -> Person:
        """The comparable part of a presentation."""
        if presentation_id not in self.people:
            self.people[presentation_id] = matching.person(self.shown[presentation_id])
        return self.people[presentation_id]

    def cluster(self, presentation_ids: Iterable[str]) -> Cluster:
        """The whole clusters of these presentations, as the link rules take them."""
        children = {self.child_of[p] for p in presentation_ids}
        inside = {p for c in children for p in self.members[c]}
        return Cluster(
            {p: self.person(p) for p in inside},
            {p: self.child_of[p] for p in inside},
            {e: self.edges[e] for p in inside for e in self.joined.get(p, ()) if e in self.edges},
            {m: self.matches[m] for p in inside for m in self.concerned.get(p, ())},
        )

    def match_version(self, match_id: str) -> int:
        """The entry that last said anything about a possible match: a decision based on an older one is stale."""
        return max(c.number for c in self.said[match_id])

    def current(self, child_id: str) -> str:
        """Where a child id leads today: the child that its founding presentation is on."""
        return self.child_of.get(self.founder.get(child_id, ""), child_id)

    def history(self, child_id: str, *, beside: bool = False) -> History:
        """All that the view of a child is folded from.

        `beside`: also the facts of presentations that may be this child, by which a reader's right to see them is judged
        (loaded by `load_beside`).
        """
        ids = sorted(self.ever[child_id] | self.members[child_id])
        conclusions = [c for f in {*map(child_id_of, ids), child_id} for c in self.conclusions[f]]
        matches = sorted({i for p in ids for i in self.concerned.get(p, ())})
        sides = ((i, p) for i in matches for p in (self.matches[i].presentation_id, self.matches[i].anchor))
        others = {i: self.shown[p] for i, p in sides if p not in ids}
        conclusions += [c for i in matches for c in self.said[i]]  # some twice: a history is a set
        return History(
            child_id,
            tuple(self.shown[p] for p in ids),
            tuple(x for p in ids for x in self.links[p]),
            tuple(
                f
                for p in (*ids, *(sorted({o.presentation_id for o in others.values()}) if beside else ()))
                for f in self.facts[p]
            ),
            tuple(conclusions),
            others,
        )

    def folded(self, child_id: str, reference: Reference, as_of: int) -> Folded:
        """The parts of the view of a child at `as_of` (µs UTC, no earlier than the last entry applied). It goes on from the last
        time it was asked, where nothing else than facts and conclusions joined in; `reference` is the same every time.
        """
        fold = self.folds.pop(child_id, None)
        if fold is None:
            fold = Fold(select(self.history(child_id), as_of), reference)
        found = fold.at(as_of)  # where a rule of ours fails here, the fold is not kept
        if self.ever[child_id] == self.members[child_id]:  # what is said of a presentation that left is not told to its fold
            self.folds[child_id] = fold
        return found

    # -- remembering from batch to batch ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Forget what was asked for one batch alone: others may have added to it since."""
        for asked in (self.blocks, self.newest, self.sources):
            asked.clear()

    def family(self, child_ids: Iterable[str]) -> set[str]:
        """These children and every other that a presentation of theirs is or was on: they are read, and dropped, together."""
        found, left = set[str](), set(child_ids)
        while left:
            child = left.pop()
            found.add(child)
            for pid in self._presentations_of(child):
                left |= {child_id_of(pid), self.child_of.get(pid, child), *(x.child_id for x in self.links.get(pid, ()))} - found
        return found

    def drop(self, child_ids: Iterable[str]) -> None:
        """Forget these children with their families: what is said of them is read again when asked for."""
        gone = self.family(child_ids)
        pids = {p for c in gone for p in self._presentations_of(c)}
        for match_id in {m for p in pids for m in self.concerned.get(p, ())}:
            match = self.matches[match_id]
            sides = (match.presentation_id, match.anchor)
            if all(p in pids or p not in self.child_of for p in sides):  # what is said of it touches the children of both sides
                del self.matches[match_id]
                self.said.pop(match_id, None)
                for p in sides:
                    self.concerned[p].discard(match_id)
        for pid in pids:
            self.child_of.pop(pid, None)
            self.links.pop(pid, None)
            for edge in self.joined.pop(pid, ()):
                self.edges.pop(edge, None)
            for fact in self.facts.pop(pid, ()):
                self.stands.pop((fact.agency, fact.event_id), None)
                if (key := (fact.agency, fact.replaces or "")) in self.replacing:
                    self.replacing[key] = [x for x in self.replacing[key] if x[0] != pid]
        for child in gone:
            for held in (self.members, self.ever, self.conclusions, self.folds):
                held.pop(child, None)
        self.whole -= gone

    def _presentations_of(self, child_id: str) -> set[str]:
        return self.ever.get(child_id, set()) | self.members.get(child_id, set())

    def follow(self, conn: Connection, brought: Iterable[Sequence[Any]]) -> None:
        """Take in what others' entries (`footprint.Changes`) added to the children that are whole here: presentations never shown
        before, facts, conclusions.

        To be dropped first: the children with which these entries did more than `adds` says.
        """
        raised = list[Conclusion]()
        for number, at, agency, pid, identity, told, concluded in brought:
            if identity is not None:
                self._meet(Presentation(pid, agency, number, at, identity), concluded)
            if told is not None and self._held(pid):
                self._hang(fact_of(told))
            for kind, data in concluded:
                if kind == "possible_match":
                    raised.append(Conclusion(number, at, kind, data))
                elif kind not in WHO and self._known(data["child_id"]):
                    self._conclude(Conclusion(number, at, kind, data))
        self._doubt(conn, raised)

    def _known(self, child_id: str) -> bool:
        """What is said of it is known: it is whole here, or named after a record on a child that is."""
        return child_id in self.whole or self.current(child_id) in self.whole

    def _held(self, presentation_id: str) -> bool:
        """It is or was on a child that is whole here: all that is said under it is known."""
        return any(x.child_id in self.whole for x in self.links.get(presentation_id, ()))

    def _meet(self, shown: Presentation, concluded: Iterable[tuple[str, Json]]) -> None:
        """Take in a presentation never shown before, if it is on a child that is whole here, with what joins it there."""
        pid = shown.presentation_id
        for kind, data in concluded:
            if kind == "linked" and data["presentation_id"] == pid and data["child_id"] in self.whole:
                self.shown[pid] = shown
                self._place(shown.number, shown.accepted_at, data)
        if pid in self.links:
            for kind, data in concluded:
                if kind == "edge":
                    self._edge(data["a"], data["b"], data["rule"], data["match_id"])

    def _doubt(self, conn: Connection, raised: Iterable[Conclusion]) -> None:
        """Take in the questions among these that are about a presentation held here."""
        here = [c for c in raised if any(map(self._held, _sides(c)))]
        self.load_presentations(conn, {p for c in here for p in _sides(c)})
        for c in here:
            self._ask(c, {self._conclude(c)} if c.data["child_id"] in self.whole else ())

    # -- bringing forward -------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> set[str]:
        """Take an accepted entry in; the children whose view it may change."""
        if entry.verdict != ACCEPTED:
            return set()
        touched: set[str] = set()
        if entry.kind == FACT and entry.presentation_id is not None:
            if entry.identity is not None:
                self._present(entry)
            if entry.value is not None:
                fact = entry.fact()
                self._hang(fact)
                if entry.source is not None:
                    self.sources[fact.agency, fact.event_id] = entry.source
        for kind, data in entry.conclusions:
            touched |= self.take(entry, kind, data)
        if entry.kind == FACT and entry.presentation_id in self.child_of:
            touched.add(self.child_of[entry.presentation_id])
        return touched

    def _hang(self, fact: Fact) -> None:
        """Hang a fact on its presentation, findable by its id and by what it replaces."""
        self.facts[fact.presentation_id].append(fact)
        self.stands[(fact.agency, fact.event_id)] = fact
        child = self.child_of.get(fact.presentation_id, "")
        if (fold := self.folds.get(child)) is not None and not fold.take(fact):
            del self.folds[child]
        if (target := fact.replaces) is not None:
            self.replacing[(fact.agency, target)].append((fact.presentation_id, fact.event_id))
            self.awaited.add(target)

    def _present(self, entry: Entry) -> None:
        pid = entry.presentation_id or ""
        shown = Presentation(pid, entry.agency or "", entry.number, entry.accepted_at, dict(entry.identity or {}))
        self.shown[pid] = shown
        self.newest[(shown.agency, shown.local_id)] = pid
        self.whole.add(child_id_of(pid))  # nobody can have been told of a child before the record that it is named after
        for key in self.person(pid).blocking_keys():
            self.blocks[block_key(key)].add(pid)

    def take(self, entry: Entry, kind: str, data: Json) -> set[str]:
        """Take one conclusion of an entry in; the children whose view it may change."""
        number, at = entry.number, entry.accepted_at
        match kind:
            case "linked":
                return self._link(number, at, data)
            case "edge":
                self._edge(data["a"], data["b"], data["rule"], data["match_id"])
                return set()
            case "edge_removed":
                self.edges.pop((data["a"], data["b"]), None)
                return {self.child_of[p] for p in (data["a"], data["b"]) if p in self.child_of}
        conclusion = Conclusion(number, at, kind, data)
        touched = {self._conclude(conclusion)}
        if "match_id" in data:
            more = {x.child_id for p in _sides(conclusion) for x in self.links[p]}
            if kind == "possible_match":
                self._ask(conclusion, touched)
            else:
                self.said[data["match_id"]].append(conclusion)
                self.matches[data["match_id"]] = replace(self.matches[data["match_id"]], state=MATCH_STATES[kind])
                self.fold_anew(touched | more)
            touched |= more
        return touched

    def _conclude(self, conclusion: Conclusion) -> str:
        """Keep what was concluded with the child it was said on; the child whose view it may change."""
        data = conclusion.data
        self.conclusions[data["child_id"]].append(conclusion)
        for about in ("recommendation_id", "message_id"):
            if about in data:
                self.about.setdefault(data[about], data["child_id"])
        child = self.current(data["child_id"])
        self._tell(child, conclusion)
        return child

    def _ask(self, raised: Conclusion, told: Iterable[str]) -> None:
        """A question is raised, of which the children on both sides learn; these have been told."""
        data, (pid, anchor) = raised.data, _sides(raised)
        who = self.person(pid)
        self._match(Match(data["match_id"], pid, anchor, tuple(data["evidence"]), "OPEN", who.holder, who.strong))
        self.said[data["match_id"]].append(raised)
        for child in {self.child_of[pid], self.child_of[anchor]}.difference(told):
            self._tell(child, raised)

    def _tell(self, child: str, conclusion: Conclusion) -> None:
        if (fold := self.folds.get(child)) is not None and not fold.learn(conclusion):
            del self.folds[child]

    def _link(self, number: int, at: int, data: Json) -> set[str]:
        pid, child = data["presentation_id"], data["child_id"]
        touched = {child} | {x.child_id for x in self.links[pid]}  # a child merged away says where its presentations are now
        if (old := self.child_of.get(pid)) is not None:
            touched.add(old)
            self.members[old].discard(pid)
            self.links[pid][-1] = replace(self.links[pid][-1], to_number=number, to_at=at)
            self.fold_anew(touched)
        self._place(number, at, data)
        self.whole.add(child)  # it was read whole before anybody was put there, or there was nothing to read
        return touched

    def _place(self, number: int, at: int, data: Json) -> None:
        """Put a presentation on a child, whose fold goes on with it and its facts: one that moves there has ended it before."""
        pid, child = data["presentation_id"], data["child_id"]
        link = Link(pid, child, number, at, None, None, data["rule"], tuple(data["evidence"]), data["by"])
        self.child_of[pid] = child
        self.members[child].add(pid)
        self.ever[child].add(pid)
        self.founder.setdefault(child_id_of(pid), pid)
        self.links[pid].append(link)
        fold = self.folds.get(child)
        if fold is not None and not (fold.meet(self.shown[pid], link) and all(map(fold.take, self.facts[pid]))):
            del self.folds[child]

    def fold_anew(self, child_ids: Iterable[str]) -> None:
        """Forget the folds of these children: more has changed than what joins in."""
        for child in child_ids:
            self.folds.pop(child, None)

    # -- reading from the tables ------------------------------------------------------------------------------------

    def load_presentations(self, conn: Connection, wanted: Iterable[str]) -> set[str]:
        """Which of these presentations exist, and on which child; those that do."""
        asked = set(wanted)
        if ids := [p for p in asked if p not in self.child_of]:
            for pid, agency, number, at, fields, child in rows(conn, _PRESENTATIONS, {"x": Column("text", ids)}):
                if pid not in self.shown:
                    self.shown[pid] = Presentation(pid, agency, number, at, orjson.loads(fields))
                self.child_of[pid] = child
                self.members[child].add(pid)
                self.founder.setdefault(child_id_of(pid), pid)
        return asked & self.child_of.keys()

    def load_newest(self, conn: Connection, holders: Iterable[tuple[str, str]]) -> set[str]:
        """The newest presentation of each (agency, local id)."""
        pairs = sorted(set(holders))
        if not pairs:
            return set()
        found = rows(conn, _NEWEST, {"a": [a for a, _ in pairs], "l": [x for _, x in pairs]})
        for r in found:
            self.newest[(r.agency, r.local_id)] = r.presentation_id
        return self.load_presentations(conn, [r.presentation_id for r in found])

    def load_blocks(self, conn: Connection, keys: Iterable[bytes]) -> set[str]:
        """The presentations that share a blocking key with something new."""
        wanted = sorted(set(keys))
        if not wanted:
            return set()
        found = rows(conn, _BLOCKS, {"k": Column("bytea", wanted)})
        for r in found:
            self.blocks[r.key].add(r.presentation_id)
        return self.load_presentations(conn, {r.presentation_id for r in found})

    def load_matches(self, conn: Connection, ids: Iterable[str]) -> set[str]:
        """Possible matches by id, with both sides."""
        wanted = list(ids)
        if not wanted:
            return set()
        found = rows(conn, _MATCHES, {"x": Column("text", wanted)})
        sides = self.load_presentations(conn, {p for r in found for p in (r.presentation_id, r.anchor)})
        self._matches(conn, found)
        return sides

    def load_about(self, conn: Connection, ids: Iterable[str]) -> set[str]:
        """Which child a recommendation or message was first raised on: a match confirmed and undone leaves it on two."""
        wanted = list(ids)
        if not wanted:
            return set()
        found = {r.about: r.child_id for r in rows(conn, _ABOUT, {"x": Column("text", wanted)})}
        self.about |= found
        return self.load_founders(conn, set(found.values()))

    def load_founders(self, conn: Connection, child_ids: Iterable[str]) -> set[str]:
        """The founding presentation of each child id: it says where that child is today."""
        wanted = list(child_ids)
        if not wanted:
            return set()
        linked = rows(conn, _LINKED, {"x": Column("text", wanted)})
        found = {r.child_id: r.presentation_id for r in linked if child_id_of(r.presentation_id) == r.child_id}
        self.founder |= found
        return self.load_presentations(conn, found.values())

    def load_sides(self, conn: Connection, child_ids: Iterable[str]) -> None:
        """Where the presentations are that may also be one of these children (others may have moved them since)."""
        matches = {m for c in child_ids for p in self._presentations_of(c) for m in self.concerned.get(p, ())}
        self.load_presentations(conn, {p for m in matches for p in (self.matches[m].presentation_id, self.matches[m].anchor)})

    def load_children(self, conn: Connection, child_ids: Iterable[str]) -> None:
        """Everything about these children and those their presentations were on before. Idempotent; none is read twice."""
        wanted, asked, links = set(child_ids) - self.whole, set[str](), list[Any]()
        if not wanted:
            return
        # children merged away into these, or out of which these were taken: when a presentation moves, their views change too
        while more := wanted - asked:
            asked |= more
            found = rows(conn, _LINKS, {"x": Column("text", sorted(more))})
            links += found
            wanted |= {r.child_id for r in found} - self.whole
        self.whole |= wanted
        # an erased presentation may still be named by another's entry
        ids = sorted(self.load_presentations(conn, {r.presentation_id for r in links}))
        for pid, child, from_number, from_at, to_number, to_at, rule, evidence, by in links:
            link = Link(pid, child, from_number, from_at, to_number, to_at, rule, _evidence(evidence), by)
            if pid in self.child_of and link not in self.links[pid]:
                self.links[pid].append(link)
                self.ever[child].add(pid)
                self.founder.setdefault(child_id_of(pid), pid)
        here, untold = {"x": Column("text", ids)}, [p for p in ids if not self.facts.get(p)]
        fresh = {"x": Column("text", sorted({*map(child_id_of, ids), *wanted} - self.conclusions.keys()))}
        for r in rows(conn, _EDGES, here):
            self._edge(r.a, r.b, r.rule, r.match_id)
        doubted = rows(conn, _MATCHES_OF, here)
        self.load_presentations(conn, {p for r in doubted for p in (r.presentation_id, r.anchor)})
        self._matches(conn, doubted)
        for fact in self.shelf.read(conn, untold):
            self._hang(fact)
        for number, at, kind, child, about, data in rows(conn, _CONCLUSIONS, fresh):
            self.conclusions[child].append(Conclusion(number, at, kind, orjson.loads(data)))
            if about is not None:
                self.about.setdefault(about, child)

    def load_beside(self, conn: Connection, child_ids: Iterable[str]) -> None:
        """The facts of presentations that may also be these children."""
        beside = {o.presentation_id for c in child_ids for o in self.history(c).others.values()}
        for fact in self.shelf.read(conn, sorted(beside - {p for p, f in self.facts.items() if f})):
            self._hang(fact)

    def _matches(self, conn: Connection, found: Sequence[Any]) -> None:
        """Possible matches with all that was said about each, on whichever child it was said."""
        new = [r for r in found if r.match_id not in self.matches]
        # one of an erased presentation is nobody's question any more
        new = [r for r in new if r.presentation_id in self.shown and r.anchor in self.shown]
        if not new:
            return
        for c in rows(conn, _SAID, {"x": Column("text", [r.match_id for r in new])}):
            self.said[c.about].append(Conclusion(c.number, c.accepted_at, c.kind, orjson.loads(c.data)))
        for r in new:
            who = self.person(r.presentation_id)
            self._match(Match(r.match_id, r.presentation_id, r.anchor, _evidence(r.evidence), r.state, who.holder, who.strong))

    def _match(self, match: Match) -> None:
        self.matches[match.match_id] = match
        for p in (match.presentation_id, match.anchor):
            self.concerned[p].add(match.match_id)

    def _edge(self, a: str, b: str, rule: str, match_id: str | None) -> None:
        self.edges[(a, b)] = (rule, match_id)
        self.joined[a].add((a, b))
        self.joined[b].add((a, b))


def _sides(question: Conclusion) -> tuple[str, str]:
    return question.data["presentation_id"], question.data["anchor"]


def adds(entry: Entry) -> bool:
    """It adds to children a presentation never shown before, a fact, conclusions; and does nothing else with them: who remembers
    them can follow.
    """
    own = None if entry.identity is None else entry.presentation_id
    return all(kind not in MORE or (kind == "linked" and data["presentation_id"] == own) for kind, data in entry.conclusions)


MORE: Final = BEYOND | {"edge_removed"}
"""Conclusions that change who is meant or what is in force, not only what is known."""

WHO: Final = frozenset({"linked", "edge", "edge_removed"})
"""Conclusions about who is meant, kept as links and edges; the others are kept with the child that they are about."""

_PRESENTATIONS = text(
    "select presentation_id, agency, number, accepted_at, fields, child_id from presentation where presentation_id = any(:x)"
)
_LINKS = text(
    "select presentation_id, child_id, from_number, from_at, to_number, to_at, rule, evidence, by from link "
    "where presentation_id in (select presentation_id from link where child_id = any(:x)) "
    "order by presentation_id, from_number, seq"
)
"""Every link of every presentation that was ever on one of these children."""

_CONCLUSIONS = text(
    "select number, accepted_at, kind, child_id, about, data from conclusion where child_id = any(:x) order by number, seq"
)
_SAID = text("select * from conclusion where about = any(:x) order by number, seq")
_ABOUT = text("select distinct on (about) about, child_id from conclusion where about = any(:x) order by about, number")
_LINKED = text("select distinct child_id, presentation_id from link where child_id = any(:x)")
_EDGES = text("select a, b, rule, match_id from edge where a = any(:x) or b = any(:x)")
_MATCHES = text("select * from possible_match where match_id = any(:x)")
_MATCHES_OF = text("select * from possible_match where presentation_id = any(:x) or anchor = any(:x)")
_BLOCKS = text("select key, presentation_id from block where key = any(:k)")
_NEWEST = text(
    "select distinct on (p.agency, p.local_id) p.agency, p.local_id, p.presentation_id from presentation p "
    "join unnest(cast(:a as text[]), cast(:l as text[])) as u(a, l) on p.agency = u.a and p.local_id = u.l "
    "order by p.agency, p.local_id, p.number desc"
)
