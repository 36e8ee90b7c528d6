"""Who is this about? The link rules of today, as pure functions of presentations and what was decided about them.

The rules (version `RULES`), in words that the tests' oracle implements on its own:

1. *Same local id.* Two presentations are *apart* when a name or birth date that both give differs, or a trusted number
   contradicts. Two presentations of one agency and local id are the same child when they are not apart, and each other one
   under that id is apart from both of them or from neither: what fits two children joins neither. Another child that comes
   under the id later takes such links away again, so the order of arrival makes no difference.
   A placeholder (`UNKNOWN`, `0`) is no local id, in any rule. A temporary UPN contradicts no other UPN: the permanent one, or
   another school's temporary one, comes in its place.
2. *Checked identifier.* Presentations that share a checked, trusted identifier (traced NHS number, UPN, local authority
   child id, PNC id) are the same child when given name, family name and birth date are given by both and agree.
3. *Possible match*, for a person to decide: same local id that rule 1 does not join; a shared checked identifier
   whose name or birth date do not agree; or the same full name and birth date without a shared identifier.
4. *Never*: clusters with contradicting trusted numbers do not join, and are not proposed. What a person rejected or undid
   stands for that local id (between two presentations of one id: for the children they are on); only a shared checked
   identifier it did not have then is new evidence, and that only proposes. What a person confirmed no rule takes away.

A child is a connected component of links; its id is made from its oldest presentation, so a merge keeps the older id
and an undo restores exactly what was (I5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain import identifiers
from domain.model import Presentation, make_id

RULES: Final = "links-2027-01"
"""Version of the link rules; every link names it."""

TRUSTED_STATUS: Final = "01"
"""NHS number status `number present and verified`: only a traced number may link (domain §3c)."""

DEFAULT_BIRTH_DATES: Final = frozenset({"1900-01-01", "1901-01-01", "1970-01-01"})
"""What systems write for `not known`; they agree with nothing."""

SINGLE: Final = frozenset({"nhs", "upn", "pnc"})
"""Identifiers of which a child has one: two different trusted values contradict, unless one is a temporary UPN. (A child may have
several LA ids.)
"""

PROPOSED_MAX: Final = 10
"""Possible matches that one presentation gives rise to: more are not a question that a person can answer."""

TRIED_MAX: Final = 50
"""Records looked at for these, the best grounds first."""

Key = tuple[str, ...]
LocalId = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Person:
    """What of a presentation can be compared: normalised names, a usable birth date, checked and trusted identifiers."""

    presentation_id: str
    number: int
    agency: str
    local_id: str
    given: str
    family: str
    birth_date: str
    strong: frozenset[tuple[str, str]]

    @property
    def holder(self) -> LocalId:
        """(agency, local id)."""
        return (self.agency, self.local_id)

    def blocking_keys(self) -> tuple[Key, ...]:
        """Blocking keys: two presentations that any rule could bring together share one."""
        named = (("name", self.given, self.family, self.birth_date),) if self.full else ()
        return (("local", *self.holder), *((s, v) for s, v in sorted(self.strong)), *named)

    @property
    def full(self) -> bool:
        """Given name, family name and birth date are all given."""
        return bool(self.given and self.family and self.birth_date)


def person(shown: Presentation) -> Person:
    """The comparable part of a presentation."""
    f = shown.fields
    strong: set[tuple[str, str]] = set()
    nhs = identifiers.nhs_number(f.get("nhs_number") or "")
    if nhs is not None and f.get("nhs_number_status") == TRUSTED_STATUS:
        strong.add(("nhs", nhs))
    for system, check in (("upn", identifiers.upn), ("la", identifiers.la_child_id), ("pnc", identifiers.pnc)):
        text = f.get("la_child_id" if system == "la" else system)
        if text and (checked := check(text)) is not None:
            strong.add((system, checked))
    born = f.get("birth_date") or ""
    nobody = identifiers.is_placeholder(shown.local_id)  # two records under `UNKNOWN` are not one record
    return Person(
        shown.presentation_id, shown.number, shown.agency, shown.presentation_id if nobody else shown.local_id,
        identifiers.normalised_name(f.get("given_name") or ""), identifiers.normalised_name(f.get("family_name") or ""),
        "" if born in DEFAULT_BIRTH_DATES else born, frozenset(strong),
    )  # fmt: skip


def contradict(a: Person, b: Person) -> bool:
    """Both hold a trusted number of one kind, and the numbers differ; but for one that is only held until another is given."""
    theirs = dict(b.strong)
    return any(s in SINGLE and s in theirs and theirs[s] != v and not _passing(s, v, theirs[s]) for s, v in a.strong)


def _passing(system: str, *numbers: str) -> bool:
    """One of these is a temporary UPN."""
    return system == "upn" and any(map(identifiers.upn_is_temporary, numbers))


def apart(a: Person, b: Person) -> bool:
    """Two presentations say of themselves that they are different: a name, a birth date or a trusted number."""
    return contradict(a, b) or _differ(a, b)


def rule(a: Person, b: Person) -> tuple[str, tuple[str, ...]] | None:
    """The rule by which two presentations are the same child, with its evidence; None when none says so."""
    if contradict(a, b):
        return None
    if a.holder == b.holder:
        return None if _differ(a, b) else ("LOCAL_ID", ("same agency and local id, no name or birth date differs",))
    shared = sorted(s for s, _ in a.strong & b.strong)
    if shared and a.full and b.full and not _differ(a, b):
        return ("IDENTIFIER", tuple(f"same checked {SYSTEMS[s]}, name and birth date agree" for s in shared))
    return None


def doubt(a: Person, b: Person) -> tuple[str, ...]:
    """Why two presentations that no rule joins may still be one child; empty when there is no reason to think so."""
    if contradict(a, b):
        return ()
    if a.holder == b.holder:
        return (f"same agency and local id, but {_difference(a, b)}",) if _differ(a, b) else ()
    if shared := sorted(s for s, _ in a.strong & b.strong):
        return tuple(f"same checked {SYSTEMS[s]}, but {_difference(a, b)}" for s in shared)
    if a.full and b.full and not _differ(a, b):
        return ("same full name and birth date, no shared checked identifier",)
    return ()


SYSTEMS: Final[Mapping[str, str]] = {"nhs": "NHS number", "upn": "UPN", "la": "local authority child id", "pnc": "PNC id"}


FITS_MORE: Final = "but more than one child is told of under it that this may be"
"""Why what one local id would join waits for a person."""


def _differ(a: Person, b: Person) -> bool:
    return any(x and y and x != y for x, y in _pairs(a, b))


def _pairs(a: Person, b: Person) -> tuple[tuple[str, str], ...]:
    return ((a.given, b.given), (a.family, b.family), (a.birth_date, b.birth_date))


def _difference(a: Person, b: Person) -> str:
    names = ("given name", "family name", "birth date")
    parts = [
        f"{name} {'differs' if x and y else 'is not given by both'}"
        for name, (x, y) in zip(names, _pairs(a, b), strict=True)
        if x != y or not x
    ]
    return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Match:
    """A possible match. `anchor` is the presentation of the other cluster that gave rise to it."""

    match_id: str
    presentation_id: str
    anchor: str
    evidence: tuple[str, ...]
    state: str
    holder: LocalId
    strong: frozenset[tuple[str, str]] = frozenset()


@dataclass(slots=True)
class Cluster:
    """The presentations and links that resolving one question may touch: whole clusters, all of them loaded."""

    people: dict[str, Person] = field(default_factory=dict)
    child_of: dict[str, str] = field(default_factory=dict)
    edges: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    matches: dict[str, Match] = field(default_factory=dict)

    def members(self, child_id: str) -> list[Person]:
        """The presentations on a child, oldest first."""
        return sorted(
            (self.people[p] for p, c in self.child_of.items() if c == child_id), key=lambda p: (p.number, p.presentation_id)
        )


Conclusions = list[tuple[str, dict[str, Any]]]


def child_id_of(founder: str) -> str:
    """The id of a child whose oldest presentation is `founder`."""
    return make_id("child", founder)


def introduce(known: Cluster, new: Person) -> Conclusions:
    """Place a presentation never seen before: links and possible matches that follow. `known` is brought up to date."""
    known.people[new.presentation_id] = new
    known.child_of[new.presentation_id] = child_id_of(new.presentation_id)
    out: Conclusions = [_linked(new.presentation_id, known.child_of[new.presentation_id], "FIRST_SEEN", (), None)]
    others = sorted((p for p in known.people.values() if p is not new), key=lambda p: (p.number, p.presentation_id))
    parted, found = _part(known, new)
    out += found
    for other in others:
        found_rule = rule(new, other)
        if found_rule is not None and _fits_one(known, new, other) and _may_join(known, new, other):
            out += _join(known, new, other, found_rule[0], found_rule[1], None, None)
    out = _last_links(out) + _proposals(known, new, others)
    for one in parted:
        out += _proposals(known, one, others)
    return out


def _proposals(known: Cluster, new: Person, others: list[Person]) -> Conclusions:
    """At most `PROPOSED_MAX` possible matches, those with the best grounds: nobody answers hundreds of questions."""
    here = known.child_of[new.presentation_id]
    elsewhere = [o for o in others if known.child_of[o.presentation_id] != here]
    found = [(_likeness(new, o), o) for o in elsewhere if doubt(new, o) or rule(new, o)]
    found.sort(key=lambda x: (x[0], x[1].number, x[1].presentation_id))
    out: Conclusions = []
    for _, other in found[:TRIED_MAX]:
        if len(out) < PROPOSED_MAX:
            out += _propose(known, new, other)
    if out and (len(found) > TRIED_MAX or len(out) == PROPOSED_MAX < len(found)):
        out[-1][1]["evidence"].append("more records fit as well and are not listed: too many share what these share")
    return out


def _likeness(a: Person, b: Person) -> int:
    """0: a checked identifier is shared; 1: name and birth date; 2: the local id alone."""
    return 0 if a.strong & b.strong else 1 if a.full and b.full and not _differ(a, b) else 2


def _fits_one(known: Cluster, a: Person, b: Person) -> bool:
    """Of one local id: no other presentation under it is apart from one of the two and not from the other."""
    return a.holder != b.holder or all(apart(a, p) == apart(b, p) for p in known.people.values() if p.holder == a.holder)


def _part(known: Cluster, new: Person) -> tuple[list[Person], Conclusions]:
    """Take away the links by local id that a newcomer under the id makes doubtful; who is on the children thus parted."""
    doubtful = sorted(e for e, (why, _) in known.edges.items() if why == "LOCAL_ID" and _doubtful(known, e, new))
    out: Conclusions = []
    here = sorted({p for e in doubtful for p, c in known.child_of.items() if c == known.child_of[e[0]]})
    for a, b in doubtful:
        del known.edges[a, b]
        out.append(("edge_removed", {"a": a, "b": b, "match_id": None}))
    out += _settle(known, here, "LOCAL_ID_IN_DOUBT", (f"same agency and local id, {FITS_MORE}",), None)
    return [known.people[p] for p in here], out


def _doubtful(known: Cluster, edge: tuple[str, str], new: Person) -> bool:
    a, b = known.people[edge[0]], known.people[edge[1]]
    return a.holder == new.holder and apart(a, new) != apart(b, new)


def _last_links(out: Conclusions) -> Conclusions:
    """Only where each presentation ends up: what it passed through within one entry never was."""
    last = {d["presentation_id"]: i for i, (kind, d) in enumerate(out) if kind == "linked"}
    return [c for i, c in enumerate(out) if c[0] != "linked" or last[c[1]["presentation_id"]] == i]


def confirm(known: Cluster, match: Match, by: str) -> Conclusions:
    """A person says both are the same child. Empty when trusted numbers contradict: such clusters never join."""
    a, b = known.people[match.presentation_id], known.people[match.anchor]
    if _contradicting(known, a, b):
        return []
    known.matches[match.match_id] = Match(
        match.match_id, match.presentation_id, match.anchor, match.evidence, "CONFIRMED", match.holder, match.strong
    )
    return _join(known, a, b, "CONFIRMED", match.evidence, by, match.match_id)


def undo(known: Cluster, match: Match, by: str) -> Conclusions:
    """A confirmed match is undone: the link is taken away and every presentation goes where the other links put it."""
    edge = _edge(match.presentation_id, match.anchor)
    known.edges.pop(edge, None)
    known.matches[match.match_id] = Match(
        match.match_id, match.presentation_id, match.anchor, match.evidence, "UNDONE", match.holder, match.strong
    )
    out: Conclusions = [("edge_removed", {"a": edge[0], "b": edge[1], "match_id": match.match_id})]
    here = [p.presentation_id for p in known.members(known.child_of[match.presentation_id])]
    return out + _settle(known, here, "UNDONE", (), by)


def holding(known: Cluster, match: Match) -> list[dict[str, Any]]:
    """Why the two sides of a match are one child all the same: the links of a shortest way between them; empty when apart.

    Each {agencies [of both sides], why}.
    """
    came: dict[str, str | None] = {match.presentation_id: None}
    queue = [match.presentation_id]
    for at in queue:
        for edge in sorted(known.edges):
            there = edge[1] if edge[0] == at else edge[0] if edge[1] == at else None
            if there is not None and there not in came:
                came[there] = at
                queue.append(there)
    if match.anchor not in came:
        return []
    out, here = [], match.anchor
    while (before := came[here]) is not None:
        why, _ = known.edges[_edge(here, before)]
        a, b = known.people[before], known.people[here]
        found = rule(a, b)
        words = "a person confirmed it" if why == "CONFIRMED" or found is None else "; ".join(found[1])
        out.append({"agencies": [a.agency, b.agency], "why": words})
        here = before
    return out[::-1]


def answered(known: Cluster, match: Match) -> list[Match]:
    """The open matches between the same two clusters, `match` left out: `they are not the same child` answers them all."""
    sides = {known.child_of[match.presentation_id], known.child_of[match.anchor]}
    found = (m for m in known.matches.values() if m.state == "OPEN" and m.match_id != match.match_id)
    between = [
        m for m in found if len(sides) == 2 and {known.child_of.get(m.presentation_id), known.child_of.get(m.anchor)} == sides
    ]
    return sorted(between, key=lambda m: m.match_id)


def _edge(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _linked(presentation_id: str, child_id: str, why: str, evidence: Iterable[str], by: str | None) -> tuple[str, dict[str, Any]]:
    return (
        "linked",
        {"presentation_id": presentation_id, "child_id": child_id, "rule": why, "evidence": list(evidence), "by": by},
    )


def _join(  # noqa: PLR0917  one link with its reason
    known: Cluster, a: Person, b: Person, why: str, evidence: tuple[str, ...], by: str | None, match_id: str | None
) -> Conclusions:
    edge = _edge(a.presentation_id, b.presentation_id)
    if edge in known.edges:
        return []
    known.edges[edge] = (why, match_id)
    out: Conclusions = [("edge", {"a": edge[0], "b": edge[1], "rule": why, "match_id": match_id, "rules": RULES})]
    both = {known.child_of[a.presentation_id], known.child_of[b.presentation_id]}
    here = [p for p, c in known.child_of.items() if c in both]
    return out + _settle(known, here, why, evidence, by)


def _settle(known: Cluster, here: list[str], why: str, evidence: tuple[str, ...], by: str | None) -> Conclusions:
    """Give each presentation of `here` the child id of its connected component; one `linked` for each that moves."""
    near: dict[str, list[str]] = defaultdict(list)
    for x, y in known.edges:
        near[x].append(y)
        near[y].append(x)
    out: Conclusions = []
    left = set(here)
    while left:
        component, queue = set[str](), [min(left)]
        while queue:
            at = queue.pop()
            if at not in component:
                component.add(at)
                queue += [n for n in near[at] if n in left]
        left -= component
        founder = min((known.people[p] for p in component), key=lambda p: (p.number, p.presentation_id))
        child = child_id_of(founder.presentation_id)
        moved = sorted(p for p in component if known.child_of[p] != child)
        for p in moved:
            known.child_of[p] = child
        out += [_linked(p, child, why, evidence, by) for p in moved]
    return out


def _contradicting(known: Cluster, a: Person, b: Person) -> bool:
    ours, theirs = (known.members(known.child_of[p.presentation_id]) for p in (a, b))
    return any(contradict(x, y) for x in ours for y in theirs)


def _barred(known: Cluster, a: Person, b: Person) -> list[Match]:
    """What people said is not the same, between the cluster of `a` and that of `b`."""
    ours, theirs = (known.members(known.child_of[p.presentation_id]) for p in (a, b))
    sides = [
        ({p.holder for p in x}, {p.presentation_id for p in x}, {p.presentation_id for p in y})
        for x, y in ((ours, theirs), (theirs, ours))
    ]
    stands = [m for m in known.matches.values() if m.state in ("REJECTED", "UNDONE")]
    of_one_id = {m.match_id for m in stands if m.anchor in known.people and known.people[m.anchor].holder == m.holder}
    return [
        m
        for m in stands
        if any(
            m.anchor in theirs and (m.presentation_id in ours if m.match_id in of_one_id else m.holder in holders)
            for holders, ours, theirs in sides
        )
    ]


def _may_join(known: Cluster, a: Person, b: Person) -> bool:
    if known.child_of[a.presentation_id] == known.child_of[b.presentation_id]:
        return True
    return not _contradicting(known, a, b) and not _barred(known, a, b)


def _propose(known: Cluster, new: Person, other: Person) -> Conclusions:
    """A possible match between the clusters of `new` and `other`, when there is reason, none is open and none was refused."""
    here, there = known.child_of[new.presentation_id], known.child_of[other.presentation_id]
    reason = doubt(new, other)
    if not reason and (found := rule(new, other)) is not None:
        reason = found[1] if _fits_one(known, new, other) else (f"same agency and local id, {FITS_MORE}",)
    if here == there or not reason or _contradicting(known, new, other):
        return []
    if any(
        {known.child_of.get(m.presentation_id), known.child_of.get(m.anchor)} == {here, there}
        for m in known.matches.values()
        if m.state == "OPEN"
    ):
        return []
    if (barred := _barred(known, new, other)) and not any(new.strong & other.strong - m.strong for m in barred):
        return []
    match = Match(
        make_id("match", new.presentation_id, other.presentation_id), new.presentation_id, other.presentation_id,
        tuple(reason), "OPEN", new.holder, new.strong,
    )  # fmt: skip
    if match.match_id in known.matches:
        return []
    known.matches[match.match_id] = match
    data = {
        "match_id": match.match_id,
        "presentation_id": new.presentation_id,
        "anchor": other.presentation_id,
        "child_id": there,
        "evidence": list(reason),
    }
    return [("possible_match", data)]
