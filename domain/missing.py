"""Missing episodes (R24, R25; domain.md §2b, §2c): told by one agency or two, with grades, interviews and the 72-hour clock.

- One agency's report, grades and end are one strand by (agency, episode_id).
- Strands of different agencies are one episode when their types agree or are not known, they begin within 12 hours of one
  another, and neither had ended before the other began. Sealed facts never join others.
- The episode begins with the earliest sighting told and ends with the earliest end told: the strictest clock.
- An interview belongs to the episode whose id it names; otherwise to the nearest episode that ended before it, within 30 days.
- The clock runs 72 elapsed hours from the return. A police prevention check never counts; an offer does not stop it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final

from domain.labelling import rest_on
from domain.model import Fact, Json
from domain.policy import EPISODE, Reference
from domain.selection import Known, place
from domain.times import DAY_US, HOUR_US, LONDON, bounded, local, to_us

SAME_EPISODE_US: Final = 12 * HOUR_US
"""Two agencies' beginnings this near tell of one episode (default; police and home log the same absence hours apart)."""

PAIR_US: Final = 30 * DAY_US
"""An interview without the episode's reference belongs to a return at most this long before."""

OVERNIGHT: Final = time(4)
"""Away at this London time is overnight: late evenings are not."""


@dataclass(slots=True)
class Interview:
    """One interview, from its offer on. `at`: when it came to what it is. Instants µs UTC."""

    interview_id: str
    facts: list[Fact]
    ref: str | None = None
    offered_at: int | None = None
    declined: Fact | None = None
    completed: Fact | None = None
    at: int = 0

    @property
    def state(self) -> str:
        """OFFERED, DECLINED or COMPLETED."""
        return "COMPLETED" if self.completed is not None else "DECLINED" if self.declined is not None else "OFFERED"


def _interview(interview_id: str, offers: list[Fact], refusals: list[Fact], held: list[Fact]) -> Interview:
    """An interview as it was told: its facts in order of time, by record."""
    made = Interview(interview_id, [*offers, *refusals, *held])
    made.ref = next((ref for f in reversed(made.facts) if (ref := f.body.get("episode_ref"))), None)
    made.offered_at = min((bounded(f.body["offered_at"]) for f in offers), default=None)
    made.declined, made.completed = refusals[-1] if refusals else None, held[-1] if held else None
    if made.completed is not None:
        made.at = bounded(made.completed.body["completed_at"])
    elif made.declined is not None:
        made.at = bounded(made.declined.body["declined_at"])
    else:
        made.at = made.offered_at or 0
    return made


@dataclass(slots=True)
class Strand:
    """One agency's telling of an episode: its facts in order of time, and what they come to (µs UTC).

    It began at the earliest sighting told; otherwise as the end tells it, or when we first heard. It ended as last told.
    """

    agency: str
    episode_id: str
    reports: list[Fact]
    grades: list[Fact]
    ends: list[Fact]
    type: str | None = None
    started_at: int = 0
    ended_at: int | None = None
    sealed: bool = False

    @property
    def facts(self) -> list[Fact]:
        """All facts."""
        return [*self.reports, *self.grades, *self.ends]


def _strand(agency: str, episode_id: str, reports: list[Fact], grades: list[Fact], ends: list[Fact]) -> Strand:
    made = Strand(agency, episode_id, reports, grades, ends)
    if reports:
        made.type = str(reports[-1].body["episode_type"])
        made.started_at = min(bounded(r.body["last_seen_at"]) for r in reports)
    else:
        told = [bounded(e.body["started_at"]) for e in ends if e.body.get("started_at") is not None]
        made.started_at = min(told) if told else min(f.occurred_at for f in made.facts)
    made.ended_at = bounded(ends[-1].body["ended_at"]) if ends else None
    made.sealed = any(f.sensitivity == "SEALED" for some in (reports, grades, ends) for f in some)
    return made


INTERVIEW: Final = ("ReturnHomeInterviewOffered", "ReturnHomeInterviewDeclined", "ReturnHomeInterviewCompleted")
"""Records that tell of an interview, in the order in which it is told."""

TOLD: Final = frozenset((*EPISODE, *INTERVIEW))
"""Records that anything is told of here."""

Telling = tuple[list[Fact], list[Fact], list[Fact]]


@dataclass(slots=True)
class Tellings:
    """Strands and interviews by (agency, id), as far as the facts were looked at."""

    strands: dict[tuple[str, str], Strand] = field(default_factory=dict)
    interviews: dict[tuple[str, str], Interview] = field(default_factory=dict)
    _told: tuple[dict[tuple[str, str], Telling], dict[tuple[str, str], Telling]] = field(default_factory=lambda: ({}, {}))
    _looked: dict[str, int] = field(default_factory=dict)

    def look(self, known: Known) -> None:
        """Take in what came since the last look."""
        for key in self._changed(known, self._told[0], EPISODE, "episode_id"):
            self.strands[key] = _strand(*key, *self._told[0][key])
        for key in self._changed(known, self._told[1], INTERVIEW, "interview_id"):
            self.interviews[key] = _interview(key[1], *self._told[1][key])

    def _changed(
        self, known: Known, told: dict[tuple[str, str], Telling], records: tuple[str, ...], names: str
    ) -> set[tuple[str, str]]:
        changed = set()
        for where, record in enumerate(records):
            for fact in known.came(record, self._looked):
                key = (fact.agency, fact.body[names])
                place(told.setdefault(key, ([], [], []))[where], fact)
                changed.add(key)
        return changed


@dataclass(slots=True)
class Episode:
    """One missing episode as all agencies tell it. Instants µs UTC; `due_at` of the interview clock once ended."""

    strands: list[Strand]
    type: str | None
    started_at: int
    ended_at: int | None
    interviews: list[Interview] = field(default_factory=list)
    due_at: int | None = None
    clock: str = "NOT_STARTED"
    overnight: bool = False
    first_fact: Fact | None = None

    @property
    def facts(self) -> list[Fact]:
        """All facts but interviews'."""
        return [f for s in self.strands for f in s.facts]

    @property
    def ends(self) -> list[Fact]:
        """The facts that say it ended."""
        return [f for s in self.strands for f in s.ends]

    @property
    def begun(self) -> list[Fact]:
        """The facts that say it began (or, when nobody reported, that it was at all)."""
        return [f for s in self.strands for f in s.reports] or self.facts


def episodes(told: Tellings, as_of: int, hours: int) -> tuple[list[Episode], list[Interview]]:
    """Episodes by beginning, with their interviews, at `as_of` (µs UTC); and the interviews that belong to none.

    `hours`: how long an interview may take from the return.
    """
    found = _merged(sorted(told.strands.values(), key=lambda s: (s.started_at, s.agency, s.episode_id)))
    loose: list[Interview] = []
    named: dict[str, list[Episode]] = {}
    for episode in found if told.interviews else ():
        for strand_id in {s.episode_id for s in episode.strands}:
            named.setdefault(strand_id, []).append(episode)
    # of two that ended and began together it is the first that counts, so that comes last
    ended = sorted(((e.ended_at, e.started_at, -n) for n, e in enumerate(found) if e.ended_at is not None))
    for _, interview in sorted(told.interviews.items(), key=lambda i: (i[1].at, i[0])):
        home = _home(interview, found, ended, named)
        (home.interviews if home is not None else loose).append(interview)
    for episode in found:
        run(episode, as_of, hours)
    return found, loose


def _merged(strands: Sequence[Strand]) -> list[Episode]:
    out: list[Episode] = []
    for strand in strands:
        same = _near(out, strand)
        if same is None:
            out.append(Episode([strand], strand.type, strand.started_at, strand.ended_at))
        else:
            same.strands.append(strand)
            same.type = same.type or strand.type
            ends = [e for e in (same.ended_at, strand.ended_at) if e is not None]
            same.ended_at = min(ends) if ends else None
    return out


def _near(before: Sequence[Episode], strand: Strand) -> Episode | None:
    """The last of the episodes, which are in order, that this strand tells of as well."""
    for episode in reversed(before):
        if strand.started_at - episode.started_at > SAME_EPISODE_US:
            return None
        if _one(episode, strand):
            return episode
    return None


def _one(episode: Episode, strand: Strand) -> bool:
    """Do both tell of one absence? They began near one another."""
    return (
        (episode.type is None or strand.type is None or episode.type == strand.type)
        and all(s.agency != strand.agency for s in episode.strands)
        and (episode.ended_at is None or episode.ended_at > strand.started_at)
        and episode.strands[0].sealed == strand.sealed
    )


def _home(
    interview: Interview, found: Sequence[Episode], ended: Sequence[tuple[int, int, int]], named: Mapping[str, Sequence[Episode]]
) -> Episode | None:
    """The episode that an interview belongs to. `ended`: (ended at, began at, minus its place in `found`), in order."""
    if interview.ref is not None and (meant := named.get(interview.ref)):
        return min(meant, key=lambda e: (abs(interview.at - (e.ended_at or e.started_at)), e.started_at))
    last = bisect_left(ended, (interview.at + 1,)) - 1
    if last < 0 or interview.at - ended[last][0] > PAIR_US:
        return None
    return found[-ended[last][2]]


def run(episode: Episode, as_of: int, hours: int) -> bool:
    """Bring an episode's clock to `as_of`; does it say something else now?"""
    before = (episode.clock, episode.overnight)
    until = episode.ended_at if episode.ended_at is not None else as_of
    episode.overnight = until >= next_overnight(episode.started_at)
    if episode.ended_at is not None:
        episode.due_at = episode.ended_at + hours * HOUR_US
        episode.clock = _clock(episode, episode.due_at, as_of)
    return before != (episode.clock, episode.overnight)


def _clock(episode: Episode, due_at: int, as_of: int) -> str:
    done = [bounded(i.completed.body["completed_at"]) for i in episode.interviews if i.completed is not None]
    if done:
        return "MET" if min(done) <= due_at else "LATE"
    if any(i.declined is not None for i in episode.interviews):
        return "DECLINED"
    return "RUNNING" if as_of < due_at else "OVERDUE"


@lru_cache(maxsize=16384)
def next_overnight(us: int) -> int:
    """The next instant after `us` at which it is 4 a.m. in London."""
    when = local(us)
    at = to_us(datetime.combine(when.date(), OVERNIGHT, LONDON))
    return at if at > us else to_us(datetime.combine(when.date() + timedelta(days=1), OVERNIGHT, LONDON))


def shown(episode: Episode, known: Known, reference: Reference) -> Json:
    """The episode as the view lists it. What rests on other facts than those that say it began is a part, withheld by itself."""
    ends = episode.ends
    grades = sorted((f for s in episode.strands for f in s.grades), key=lambda f: (f.occurred_at, f.event_id))
    latest = grades[-1] if grades else None
    end = ends[-1] if ends else None
    until = episode.ended_at if episode.ended_at is not None else known.as_of
    named = next((s for s in episode.strands if s.reports), episode.strands[0])
    outcome = end.body["outcome"] if end else None
    grade = latest.body["grade"] if latest else None
    return {
        "episode": named.episode_id, "sources": [[s.agency, s.episode_id] for s in episode.strands], "type": episode.type,
        "type_label": reference.label("missing-type", episode.type),
        "reported_at": min((f.occurred_at for f in episode.begun), default=None),
        "last_seen_at": max((bounded(f.body["last_seen_at"]) for s in episode.strands for f in s.reports), default=None),
        "started_at": episode.started_at, "ended_at": episode.ended_at,
        "outcome": outcome, "outcome_label": reference.label("missing-outcome", outcome) or None,
        "overnight": episode.overnight, "days": max(0, until - episode.started_at) // DAY_US, "grade": grade,
        "grade_label": reference.label("missing-grade", grade), "own_label": latest.body["own_label"] if latest else None,
        "found_with": sorted({c for f in ends for c in f.body["found_with"]}),
        "harm": sorted({c for f in ends for c in f.body["harm"]}),
        "contradiction": contradiction(episode),
        "interviews": [interview_shown(i, episode, reference) for i in episode.interviews],
        "rhi_clock": {
            "due_at": episode.due_at, "state": episode.clock,
            **rest_on([*(ends or episode.begun), *(f for i in episode.interviews for f in i.facts)]),
        },
        **rest_on(episode.begun), "parts": _parts(episode, grades),
    }  # fmt: skip


def _parts(episode: Episode, grades: list[Fact]) -> list[Json]:
    """Fields that rest on the end, on a grade, or on an agency that told of the episode while only others reported it."""
    first, reported = episode.strands[0], any(s.reports for s in episode.strands)
    silent = [s for s in episode.strands if reported and not s.reports]
    told = (
        (["ended_at", "outcome", "outcome_label", "overnight", "days", "found_with", "harm", "contradiction"], episode.ends),
        (["grade", "grade_label", "own_label"], grades),
        (["started_at", "overnight", "days", "contradiction"], first.facts if first in silent else []),
        (["sources"], [f for s in silent for f in s.facts]),
    )
    return [{"fields": fields, **rest_on(facts)} for fields, facts in told if facts]


def contradiction(episode: Episode) -> str | None:
    """What the tellings of an episode contradict one another in; None when nothing."""
    said = []
    if episode.ended_at is not None and episode.ended_at < episode.started_at:
        said.append("returned before last seen")
    if len({bounded(e.body["ended_at"]) // HOUR_US for s in episode.strands for e in s.ends}) > 1:
        said.append("different times of return are told")
    if any(len({r.body["episode_type"] for r in s.reports}) > 1 for s in episode.strands):
        said.append("told as missing and as away")
    return "; ".join(said) or None


def interview_shown(interview: Interview, episode: Episode | None, reference: Reference) -> Json:
    """An interview as the view lists it; `in_72h`, which rests on the return too, is null while that cannot be said."""
    done, no = interview.completed, interview.declined
    ended_at = episode.ended_at if episode is not None else None
    completed_at = bounded(done.body["completed_at"]) if done else None
    in_time = None
    if completed_at is not None and ended_at is not None:
        in_time = completed_at <= ended_at + reference.interview_hours * HOUR_US
    item: Json = {
        "interview_id": interview.interview_id, "state": interview.state, "offered_at": interview.offered_at,
        "completed_at": completed_at, "declined_at": bounded(no.body["declined_at"]) if no else None,
        "reason": no.body["reason"] if no else None,
        "reason_label": reference.label("rhi-declined", no.body["reason"]) if no else None,
        "push": list(done.body["push"]) if done else [], "pull": list(done.body["pull"]) if done else [],
        "push_labels": [reference.label("push-factor", c) for c in (done.body["push"] if done else ())],
        "pull_labels": [reference.label("pull-factor", c) for c in (done.body["pull"] if done else ())],
        "child_words": done.body.get("child_words") if done else None, "in_72h": in_time, **rest_on(interview.facts),
    }  # fmt: skip
    if episode is not None and in_time is not None:
        item["parts"] = [{"fields": ["in_72h"], **rest_on(episode.ends)}]
    return item
