"""What is true about the simulated facts, kept beside them for oracles and scripted reviewers; never an input to the system."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from producers.halton.facts import SimulatedFact

Holder = tuple[str, str]
"""(agency, local id): one agency's record of a child."""

Row = dict[str, Any]


@dataclass(slots=True)
class Episode:
    """A missing episode as it truly was: whose, the telling agency's id, and the interviews held about it."""

    episode: str
    child: str
    episode_ids: list[str] = field(default_factory=list)
    interviews: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """A CSOG outcome: the child, and the practice the child was truly registered with when it was decided."""

    key: str
    child: str
    occurred_at: int
    practice: str


class Truth:
    """The truth about facts as they are added. A fact sent twice counts once."""

    def __init__(self, facts: Iterable[SimulatedFact] = ()) -> None:
        self.children: dict[str, list[str]] = defaultdict(list)
        """Fact keys by true child, in order of adding."""
        self.holders: dict[Holder, str] = {}
        """Child by (agency, local id): whose record it truly is, even when a fact about another is filed on it."""
        self.presented: dict[Holder, list[dict[str, Any]]] = defaultdict(list)
        """The different presentations sent under each record."""
        self.episodes: dict[str, Episode] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.practices: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
        """Practice by child, as registered: (occurred_at µs, ODS code)."""
        self.labels: dict[str, str] = {}
        """Scenario by child."""
        self.misfiled: dict[str, str] = {}
        """Fact key → the child on whose record it was filed by mistake."""
        self.replaced: dict[str, str] = {}
        """Fact key → the later fact that corrects or withdraws it."""
        self.facts: dict[str, SimulatedFact] = {}
        for fact in facts:
            self.add(fact)

    def add(self, fact: SimulatedFact) -> None:
        """Take note of a sending; the second sending of a fact changes nothing.

        Raises:
            ValueError: one record is said to be about two children.
        """
        if fact.key in self.facts:
            return
        self.facts[fact.key] = fact
        self.children[fact.child].append(fact.key)
        envelope = fact.value["envelope"]
        holder = (fact.agency, envelope["subject"]["local_id"])
        if self.holders.setdefault(holder, fact.subject_child) != fact.subject_child:
            raise ValueError(f"a record of {fact.agency} is about two children")
        if envelope["subject"] not in self.presented[holder]:
            self.presented[holder].append(envelope["subject"])
        if fact.subject_child != fact.child:
            self.misfiled[fact.key] = fact.subject_child
        if fact.label:
            self.labels[fact.child] = fact.label
        for earlier in (envelope["supersedes"], envelope["retracts"]):
            if earlier:
                self.replaced[earlier] = fact.key
        self._episode(fact)
        if fact.practice is not None:
            self.outcomes[fact.key] = Outcome(fact.key, fact.child, fact.occurred_at, fact.practice)
        if fact.record == "GpRegistration":
            self.practices[fact.child].append((fact.occurred_at, fact.value["practice_ods"]))

    def true_pairs(self) -> Iterator[tuple[Holder, Holder]]:
        """Every two records that are truly about one child, of the same or of different agencies; each pair once, in order."""
        mine: dict[str, list[Holder]] = defaultdict(list)
        for holder, child in self.holders.items():
            mine[child].append(holder)
        for holders in mine.values():
            yield from combinations(sorted(holders), 2)

    def same_child(self, a: Holder, b: Holder) -> bool:
        """Whether two records are truly about one child: what a scripted reviewer answers."""
        return a in self.holders and b in self.holders and self.holders[a] == self.holders[b]

    def practice_at(self, child: str, at: int) -> str | None:
        """The practice a child was registered with at `at` (µs UTC), as far as told."""
        return next((p for since, p in sorted(self.practices[child], key=lambda x: -x[0]) if since <= at), None)

    def lines(self) -> Iterator[Row]:
        """The truth as rows, each with a `kind`: fact, record, episode, outcome, scenario."""
        yield from map(self._fact_row, self.facts.values())
        yield from (_record_row(holder, child) for holder, child in self.holders.items())
        yield from ({"kind": "episode", **asdict(e)} for e in self.episodes.values())
        yield from ({"kind": "outcome", **asdict(o)} for o in self.outcomes.values())
        yield from (_scenario_row(*one) for one in self.labels.items())

    def lines_about(self, fact: SimulatedFact) -> Iterator[Row]:
        """The rows that adding `fact` made or changed: among rows of one kind and key, the later one stands."""
        fact = self.facts[fact.key]  # of two sendings the first counts
        yield self._fact_row(fact)
        envelope = fact.value["envelope"]
        earlier = (self.facts.get(key) for key in (envelope["supersedes"], envelope["retracts"]))
        yield from (self._fact_row(f) for f in earlier if f is not None)
        holder = (fact.agency, envelope["subject"]["local_id"])
        yield _record_row(holder, self.holders[holder])
        if fact.episode is not None:
            yield {"kind": "episode", **asdict(self.episodes[fact.episode])}
        if fact.key in self.outcomes:
            yield {"kind": "outcome", **asdict(self.outcomes[fact.key])}
        if fact.label:
            yield _scenario_row(fact.child, fact.label)

    def write(self, path: Path) -> None:
        """Write the truth as JSON lines."""
        _write(path, "w", self.lines())

    def append(self, path: Path, fact: SimulatedFact) -> None:
        """Add a fact, and to the file what is true about it."""
        self.add(fact)
        _write(path, "a", self.lines_about(fact))

    def _fact_row(self, fact: SimulatedFact) -> Row:
        return {
            "kind": "fact", "key": fact.key, "record": fact.record, "agency": fact.agency, "child": fact.child,
            "filed_on": fact.subject_child, "local_id": fact.value["envelope"]["subject"]["local_id"],
            "occurred_at": fact.occurred_at, "arrives_at": fact.arrives_at, "episode": fact.episode,
            "replaced_by": self.replaced.get(fact.key),
        }  # fmt: skip

    def _episode(self, fact: SimulatedFact) -> None:
        if fact.episode is None:
            return
        found = self.episodes.setdefault(fact.episode, Episode(fact.episode, fact.child))
        found.facts.append(fact.key)
        interview = fact.record.startswith("ReturnHomeInterview")
        number = fact.value["interview_id" if interview else "episode_id"]
        numbers = found.interviews if interview else found.episode_ids
        if number not in numbers:
            numbers.append(number)


def _record_row(holder: Holder, child: str) -> Row:
    return {"kind": "record", "agency": holder[0], "local_id": holder[1], "child": child}


def _scenario_row(child: str, label: str) -> Row:
    return {"kind": "scenario", "child": child, "label": label}


def _write(path: Path, mode: Literal["w", "a"], rows: Iterable[Row]) -> None:
    with path.open(mode, encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
