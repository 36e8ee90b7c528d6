"""Who is who, worked out a second time from the words of `domain.matching` and the generator's truth; part of the oracle.

Shares no code with `domain.matching`, `domain.identifiers` or their helpers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Final

NOT_KNOWN_DATES: Final = ("1900-01-01", "1901-01-01", "1970-01-01")
LETTERS: Final = "ABCDEFGHJKLMNPQRTUVWXYZ"


@dataclass(frozen=True)
class Shown:
    """A presentation: an agency and the identifying fields exactly as sent."""

    agency: str
    fields: tuple[tuple[str, str], ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.agency, self.fields))

    def get(self, name: str) -> str:
        """A field, or nothing."""
        return next((v for k, v in self.fields if k == name), "")

    @cached_property
    def holder(self) -> tuple[str, str]:
        """Whose record it is."""
        return (self.agency, self.get("local_id"))

    @cached_property
    def plain(self) -> tuple[str, str, str]:
        """Given name, family name, birth date for comparing; empty where not known."""
        born = self.get("birth_date")
        return (_plain(self.get("given_name")), _plain(self.get("family_name")), "" if born in NOT_KNOWN_DATES else born)

    @cached_property
    def numbers(self) -> dict[str, str]:
        """Checked, trusted identifiers."""
        out = {}
        nhs = re.sub(r"\D", "", self.get("nhs_number"))
        if len(nhs) == 10 and self.get("nhs_number_status") == "01" and len(set(nhs)) > 1 and _modulus_11(nhs):
            out["nhs"] = nhs
        upn = self.get("upn").upper()
        if (
            re.fullmatch(r"[A-Z]\d{12}", upn)
            and LETTERS[sum(int(c) * w for c, w in zip(upn[1:], range(2, 14), strict=True)) % 23] == upn[0]
        ):
            out["upn"] = upn
        if re.fullmatch(rf"[{LETTERS}]\d{{11}}[{LETTERS}]", upn):  # a school's own, until the permanent one is given
            total = sum(int(c) * w for w, c in enumerate(upn[1:12], 2)) + 13 * LETTERS.index(upn[12])
            if LETTERS[total % 23] == upn[0]:
                out["temporary upn"] = upn
        if re.fullmatch(r"\d{4}/\d{7}[A-Z]", self.get("pnc")):
            year, serial, letter = self.get("pnc")[2:4], self.get("pnc")[5:12], self.get("pnc")[-1]
            if "ZABCDEFGHJKLMNPQRTUVWXY"[int(year + serial) % 23] == letter:
                out["pnc"] = self.get("pnc")
        if re.fullmatch(r"[A-Z0-9]{3,9}-[A-Z0-9]{1,20}", self.get("la_child_id")):
            out["la"] = self.get("la_child_id")
        return out


def shown(fact: Any) -> Shown:
    """The presentation of a sent fact."""
    return Shown(fact.agency, tuple(sorted((k, v) for k, v in fact.value["envelope"]["subject"].items() if v is not None)))


def _plain(name: str) -> str:
    text = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[\W_]+", " ", re.sub(r"['’‘`´]", "", "".join(c for c in text if not unicodedata.combining(c)))).strip()


def _modulus_11(nhs: str) -> bool:
    return (sum(int(d) * w for d, w in zip(nhs, range(10, 0, -1), strict=True))) % 11 == 0


def contradict(a: Shown, b: Shown) -> bool:
    """A trusted number of which a child has one for ever differs: none that was given for a time."""
    return any(a.numbers.get(s, "") and b.numbers.get(s, "") and a.numbers[s] != b.numbers[s] for s in ("nhs", "upn", "pnc"))


def differ(a: Shown, b: Shown) -> bool:
    """A name or birth date that both give differs."""
    return any(x and y and x != y for x, y in zip(a.plain, b.plain, strict=True))


def apart(a: Shown, b: Shown) -> bool:
    """A name, a birth date or a trusted number tells them apart."""
    return differ(a, b) or contradict(a, b)


def joined(a: Shown, b: Shown, under: Iterable[Shown]) -> str | None:
    """`rule` when rules 1 or 2 join two presentations, `person` when rule 3 asks somebody, None otherwise.

    `under`: every presentation under the local id of `a`.
    """
    if contradict(a, b):
        return None
    if a.holder == b.holder:
        return "person" if differ(a, b) or any(apart(a, x) != apart(b, x) for x in under) else "rule"
    full = all(a.plain) and all(b.plain)
    if any(a.numbers.get(s) == n for s, n in b.numbers.items()):
        return "rule" if full and not differ(a, b) else "person"
    return "person" if full and not differ(a, b) else None


def grounds(s: Shown) -> list[tuple[str, ...]]:
    """All by which another presentation can be joined to this one: who shares none of it is joined by no rule and no person."""
    numbers = [("number", scheme, n) for scheme, n in s.numbers.items()]
    return [("holder", *s.holder), *numbers, *([("plain", *s.plain)] if all(s.plain) else [])]


class People:
    """Presentations and the children they make, when a reviewer confirms exactly the true pairs."""

    def __init__(self, facts: Iterable[Any], holders: Mapping[tuple[str, str], str]) -> None:
        self._truth = holders
        self.of: dict[str, Shown] = {}
        for f in facts:
            self.of[f.key] = shown(f)
        self.all = sorted(set(self.of.values()), key=lambda s: (s.agency, s.fields))
        self.odd = self._odd()
        self.clusters = self._clusters()
        self.cluster_of = {s: n for n, c in enumerate(self.clusters) for s in c}

    def _odd(self) -> set[tuple[str, str]]:
        """Records whose trusted number contradicts the other records of their true child: no reviewer confirms those."""
        mine: dict[str, list[Shown]] = defaultdict(list)
        for s in self.all:
            mine[self._truth[s.holder]].append(s)
        out = set()
        for records in mine.values():
            for a, b in combinations(records, 2):
                if contradict(a, b):
                    against = [sum(contradict(x, y) for y in records) for x in (a, b)]
                    out.add(a.holder if against[0] >= against[1] and against[0] > 1 else b.holder)
        return out

    def answer(self, agency: str, local_id: str, other_agency: str, other_local_id: str) -> str | None:
        """What the reviewer does about a possible match: confirms the true, rejects half of the false, leaves the rest."""
        a, b = (agency, local_id), (other_agency, other_local_id)
        if a not in self.odd and b not in self.odd and self._truth[a] == self._truth[b]:
            return "MatchConfirmed"
        return "MatchRejected" if sum(map(ord, local_id + other_local_id)) % 2 else None

    def _clusters(self) -> list[frozenset[Shown]]:
        near: dict[Shown, set[Shown]] = defaultdict(set)
        under: dict[tuple[str, str], list[Shown]] = defaultdict(list)
        sharing: dict[tuple[str, ...], list[Shown]] = defaultdict(list)
        for s in self.all:
            under[s.holder].append(s)
            for ground in grounds(s):
                sharing[ground].append(s)
        for a, b in dict.fromkeys(pair for some in sharing.values() for pair in combinations(some, 2)):
            how = joined(a, b, under[a.holder])
            if how == "rule" or (how == "person" and self.answer(*a.holder, *b.holder) == "MatchConfirmed"):
                near[a].add(b)
                near[b].add(a)
        out, left = [], set(self.all)
        while left:
            group, queue = set[Shown](), [left.pop()]
            while queue:
                at = queue.pop()
                if at not in group:
                    group.add(at)
                    queue += near[at]
            left -= group
            out.append(frozenset(group))
        return sorted(out, key=lambda c: min((s.agency, s.fields) for s in c))
