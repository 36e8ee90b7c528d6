"""The link rules: what is one child does not depend on the order of arrival, and an undo restores exactly what was (I5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import matching
from domain.matching import Cluster, Match, Person
from domain.model import Presentation, make_id
from tests.fault import clusters
from tests.fault.clusters import Shown

TOM = {"given_name": "Tom", "family_name": "Smith", "birth_date": "2010-03-04"}
JANE = {"given_name": "Jane", "family_name": "Smith", "birth_date": "2012-05-06"}
SMITH = {"family_name": "Smith"}
NHS = {"nhs_number": "9990000018", "nhs_number_status": "01"}
OTHER_NHS = {"nhs_number": "9990000026", "nhs_number_status": "01"}


def shown(name: str, agency: str = "police", local_id: str = "P1", **fields: str | None) -> tuple[str, str, dict[str, Any]]:
    """A presentation before its entry: (id, agency, fields)."""
    return make_id("presentation", name), agency, {"local_id": local_id, **fields}


class Links:
    """What the link rules made of presentations in one order; every conclusion is played back beside it."""

    def __init__(self, arrivals: Iterable[tuple[str, str, dict[str, Any]]] = ()) -> None:
        self.known = Cluster()
        self.played: dict[str, str] = {}
        self.edges: set[tuple[str, str]] = set()
        self.number = 0
        for one in arrivals:
            self.arrives(one)

    def arrives(self, one: tuple[str, str, dict[str, Any]]) -> None:
        """A presentation never seen before."""
        self.number += 1
        pid, agency, fields = one
        self.play(matching.introduce(self.known, matching.person(Presentation(pid, agency, self.number, self.number, fields))))

    def play(self, found: list[tuple[str, dict[str, Any]]]) -> None:
        """What the ledger says is what the rules hold in memory."""
        for kind, data in found:
            if kind == "linked":
                self.played[data["presentation_id"]] = data["child_id"]
            elif kind == "edge":
                self.edges.add((data["a"], data["b"]))
            elif kind == "edge_removed":
                self.edges.discard((data["a"], data["b"]))
        assert self.played == self.known.child_of
        assert self.edges == set(self.known.edges)

    @property
    def children(self) -> set[frozenset[str]]:
        """The presentations of each child."""
        by: dict[str, set[str]] = {}
        for pid, child in self.known.child_of.items():
            by.setdefault(child, set()).add(pid)
        return {frozenset(x) for x in by.values()}

    def open(self) -> list[Match]:
        """Open matches between two children."""
        of = self.known.child_of
        return [m for m in self.known.matches.values() if m.state == "OPEN" and of[m.presentation_id] != of[m.anchor]]

    def asked(self) -> set[frozenset[str]]:
        """Pairs of children about which somebody is asked."""
        of = self.known.child_of
        return {frozenset((of[m.presentation_id], of[m.anchor])) for m in self.open()}


def ids(*arrivals: tuple[str, str, dict[str, Any]]) -> frozenset[str]:
    """Presentation ids."""
    return frozenset(a[0] for a in arrivals)


class TestOneLocalId:
    """Two children under one local id never become one by what fits both."""

    T, J, S = shown("t", **TOM), shown("j", **JANE), shown("s", **SMITH)

    @pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
    def test_what_fits_two_children_joins_neither(self, order: Sequence[int]) -> None:
        """In every order of arrival; and a person is asked about it with each of the two."""
        arrivals = [(self.T, self.J, self.S)[n] for n in order]
        links = Links(arrivals)
        assert {ids(self.T), ids(self.J), ids(self.S)} == links.children
        assert 3 == len(links.asked())

    def test_what_is_alike_stays_joined(self) -> None:
        """The same person told twice, and another child under the id."""
        again = shown("t2", **TOM, postcode="WA8 7QF")
        for arrivals in permutations((self.T, again, self.J)):
            assert {ids(self.T, again), ids(self.J)} == Links(arrivals).children

    def test_nothing_else_under_the_id(self) -> None:
        """Less said is no other child."""
        for arrivals in permutations((self.T, self.S)):
            assert {ids(self.T, self.S)} == Links(arrivals).children

    def test_two_numbers_under_one_id(self) -> None:
        """The same name with two traced numbers, and without any: whose it is, a person says."""
        a, b, none = shown("a", **TOM, **NHS), shown("b", **TOM, **OTHER_NHS), shown("n", **TOM)
        for arrivals in permutations((a, b, none)):
            links = Links(arrivals)
            assert {ids(a), ids(b), ids(none)} == links.children
            assert 2 == len(links.asked()), "contradicting numbers are never proposed"

    def test_a_number_tells_them_apart(self) -> None:
        """What contradicts the other child's number fits one only."""
        t, j, s = shown("a", **TOM, **NHS), shown("b", **JANE, **OTHER_NHS), shown("c", **SMITH, **NHS)
        for arrivals in permutations((t, j, s)):
            assert {ids(t, s), ids(j)} == Links(arrivals).children

    @pytest.mark.parametrize("order", permutations(range(2)))
    @pytest.mark.parametrize("other", ["X876200118001", "Z87620011800L"])
    def test_a_temporary_number_is_given_up(self, order: Sequence[int], other: str) -> None:
        """The permanent UPN, or another school's temporary one, comes in its place: one child, and nobody is asked."""
        told = (shown("a", **TOM, upn="H87620011800A"), shown("b", **TOM, upn=other))
        links = Links(told[n] for n in order)
        assert ({ids(*told)}, []) == (links.children, links.open())

    def test_a_temporary_number_joins_no_two_children(self) -> None:
        """Two permanent UPNs under one id: the record with the temporary one may be of either, and a person is asked."""
        told = [shown(upn, **TOM, upn=upn) for upn in ("H87620011800A", "X876200118001", "T876999919001")]
        links = Links(told)
        assert ({ids(one) for one in told}, 2) == (links.children, len(links.open()))

    def test_a_persons_link_is_not_taken_away(self) -> None:
        """What somebody confirmed stands when another child comes under the id, and can be undone exactly."""
        links = Links([self.T, self.J, self.S])
        before = dict(links.known.child_of)
        match = next(m for m in links.open() if {m.presentation_id, m.anchor} == {self.T[0], self.S[0]})
        links.play(matching.confirm(links.known, match, "m"))
        third = shown("x", given_name="Ann", family_name="Smith")
        links.arrives(third)
        assert ids(self.T, self.S) in links.children
        links.play(matching.undo(links.known, links.known.matches[match.match_id], "m"))
        assert before == {p: c for p, c in links.known.child_of.items() if p != third[0]}

    def test_not_the_same_is_said_of_one_child_not_of_the_id(self) -> None:
        """Tom is not Jane, both under one id: Tom told again is still Tom, and is not asked about."""
        links = Links([self.T, self.J])
        (match,) = links.open()
        links.known.matches[match.match_id] = Match(
            match.match_id, match.presentation_id, match.anchor, match.evidence, "REJECTED", match.holder, match.strong
        )
        tom, jane = shown("t2", **TOM, postcode="WA8 7QF"), shown("j2", **JANE, postcode="WA8 7QF")
        links.arrives(tom)
        links.arrives(jane)
        assert {ids(self.T, tom), ids(self.J, jane)} == links.children
        assert [] == links.open()


NAMES = st.sampled_from((None, "Tom", "Jane"))
FAMILIES = st.sampled_from((None, "Smith", "Jones"))
BORN = st.sampled_from((None, "2010-03-04", "2012-05-06"))
UPNS = ("H87620011800A", "Z87620011800L", "X876200118001", "T876999919001")
"""Two temporary ones, two permanent."""

NUMBERS = st.sampled_from(({}, {}, NHS, OTHER_NHS, *({"upn": upn} for upn in UPNS)))


@st.composite
def one_id(draw: st.DrawFn) -> list[tuple[str, str, dict[str, Any]]]:
    """Up to seven presentations of one local id."""
    told = draw(st.lists(st.tuples(NAMES, FAMILIES, BORN, NUMBERS), min_size=2, max_size=7))
    return [
        shown(str(n), given_name=given, family_name=family, birth_date=born, **number)
        for n, (given, family, born, number) in enumerate(told)
    ]


class TestAnyOrder:
    """For all presentations of one local id."""

    @settings(max_examples=300, deadline=None)
    @given(one_id(), st.randoms(use_true_random=False))
    def test_the_same_children(self, arrivals: list[tuple[str, str, dict[str, Any]]], rng: Any) -> None:
        """The order of arrival makes no other children, and none holds two presentations that differ."""
        links = Links(arrivals)
        other = list(arrivals)
        rng.shuffle(other)
        assert links.children == Links(other).children
        people = links.known.people
        for child in links.children:
            for a in child:
                for b in child:
                    assert not matching.apart(people[a], people[b])

    @settings(max_examples=100, deadline=None)
    @given(one_id())
    def test_as_the_oracle_joins(self, arrivals: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Two by two, by an implementation of its own."""
        people = [matching.person(Presentation(pid, agency, 1, 1, fields)) for pid, agency, fields in arrivals]
        cards = [Shown(a, tuple((k, v) for k, v in fields.items() if v is not None)) for _, a, fields in arrivals]
        for a, x in zip(people, cards, strict=True):
            for b, y in zip(people, cards, strict=True):
                assert (clusters.contradict(x, y), clusters.apart(x, y)) == (matching.contradict(a, b), matching.apart(a, b))
                assert (clusters.joined(x, y, ()) == "rule") == (matching.rule(a, b) is not None)

    @settings(max_examples=100, deadline=None)
    @given(one_id())
    def test_no_reason_is_left_unasked(self, arrivals: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Two children of one id whose numbers do not contradict are asked about."""
        links = Links(arrivals)
        of, people = links.known.child_of, links.known.people
        for a in people.values():
            for b in people.values():
                both = frozenset((of[a.presentation_id], of[b.presentation_id]))
                if len(both) == 2 and not _contradicting(links, a, b):
                    assert both in links.asked()

    @settings(max_examples=100, deadline=None)
    @given(one_id(), st.data())
    def test_confirm_and_undo(self, arrivals: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
        """Restores exactly what was (I5)."""
        links = Links(arrivals)
        if not links.open():
            return
        match = data.draw(st.sampled_from(links.open()))
        before = dict(links.known.child_of)
        links.play(matching.confirm(links.known, match, "m"))
        links.play(matching.undo(links.known, links.known.matches[match.match_id], "m"))
        assert before == links.known.child_of


def _contradicting(links: Links, a: Person, b: Person) -> bool:
    ours, theirs = (links.known.members(links.known.child_of[p.presentation_id]) for p in (a, b))
    return any(matching.contradict(x, y) for x in ours for y in theirs)
