"""Missing episodes (R24, R25; domain.md §2b, §2c): told by one agency or two, with grades, interviews and the 72-hour clock.

- One agency's report, grades and end are one strand by (agency, episode_id).
- Strands of different agencies are one episode when their types agree or are not known, they begin within 12 hours of one
  another, and neither had ended before the other began. Sealed facts never join others.
- The episode begins with the earliest sighting told and ends with the earliest end told: the strictest clock.
- An interview belongs to the episode whose id it names; otherwise to the nearest episode that ended before it, within 30 days.
- The clock runs 72 elapsed hours from the return. A police prevention check never counts; an offer does not stop it. Nor does an
  interview by somebody who cares for the child: it has to be independent. Where nobody told by whom, it counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final

from domain.model import Fact
from domain.policy import EPISODE
from domain.selection import Known, happened, in_time, last_told, place
from domain.times import DAY_US, HOUR_US, LONDON, NEVER, bounded, local, local_date_of, to_us

SAME_EPISODE_US: Final = 12 * HOUR_US
"""Two agencies' beginnings this near tell of one episode (default; police and home log the same absence hours apart)."""

PAIR_US: Final = 30 * DAY_US
"""An interview without the episode's reference belongs to a return at most this long before."""

OVERNIGHT: Final = time(4)
"""Away at this London time is overnight: late evenings are not."""


@dataclass(slots=True)
class Interview:
    """One interview, from its offer on. `at`: when it came to what it is. Instants µs UTC."""

    agency: str
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

    @property
    def counts(self) -> bool:
        """It was held as it is owed to the child: not by somebody who is told not to be independent."""
        return self.completed is not None and self.completed.body.get("independent") is not False


def _interview(agency: str, interview_id: str, offers: list[Fact], refusals: list[Fact], held: list[Fact]) -> Interview:
    """An interview as it was told: its facts in order of time, by record."""
    made = Interview(agency, interview_id, [*offers, *refusals, *held])
    naming = sorted((f for f in made.facts if f.body.get("episode_ref")), key=in_time)
    made.ref = last_told(naming).body["episode_ref"] if naming else None
    made.offered_at = min((bounded(f.body["offered_at"]) for f in offers), default=None)
    made.declined, made.completed = last_told(refusals) if refusals else None, last_told(held) if held else None
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

    It began at the earliest sighting told; otherwise as the end tells it, or when we first heard. It ended as told last.
    """

    agency: str
    episode_id: str
    reports: list[Fact]
    grades: list[Fact]
    ends: list[Fact]
    type: str | None = None
    started_at: int = 0
    end: Fact | None = None
    ended_at: int | None = None
    sealed: bool = False

    @property
    def facts(self) -> list[Fact]:
        """All facts."""
        return [*self.reports, *self.grades, *self.ends]


def _strand(agency: str, episode_id: str, reports: list[Fact], grades: list[Fact], ends: list[Fact]) -> Strand:
    made = Strand(agency, episode_id, reports, grades, ends)
    if reports:
        made.type = str(last_told(reports).body["episode_type"])
        made.started_at = min(bounded(r.body["last_seen_at"]) for r in reports)
    else:
        told = [bounded(e.body["started_at"]) for e in ends if e.body.get("started_at") is not None]
        made.started_at = min(told) if told else min(f.occurred_at for f in made.facts)
    made.end = last_told(ends) if ends else None
    made.ended_at = bounded(made.end.body["ended_at"]) if made.end is not None else None
    made.sealed = any(f.sensitivity == "SEALED" for some in (reports, grades, ends) for f in some)
    return made


INTERVIEW: Final = ("ReturnHomeInterviewOffered", "ReturnHomeInterviewDeclined", "ReturnHomeInterviewCompleted")
"""Records that tell of an interview, in the order in which it is told."""

TOLD: Final = frozenset((*EPISODE, *INTERVIEW))
"""Records that anything is told of here."""


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


Key = tuple[str, str]
"""(agency, its id) of a strand or an interview."""

Telling = tuple[list[Fact], list[Fact], list[Fact]]
"""Its facts by record, each in order of time."""


class Episodes:
    """The missing episodes of a child with their interviews. They go on with what is told: the same as pairing all of it anew.

    `every` by beginning, `starts` when each began, `clocks` the same with what its interview's clock says; `ended` those that
    ended, by when, `ends` when each did; `loose` the interviews that belong to none; `unsettled` the episodes that time alone may
    change. `hours`: how long an interview may take from the return. What is not concerned is not looked at: of a child of whom
    much is known that would cost more than the rest.
    """

    def __init__(self, hours: int) -> None:
        self.every: list[Episode] = []
        self.starts: list[int] = []
        self.clocks: list[tuple[int, str]] = []
        self.ended: list[Episode] = []
        self.ends: list[int] = []
        self.loose: list[Interview] = []
        self.unsettled: list[Episode] = []
        self._hours = hours
        self._strands: dict[Key, Strand] = {}
        self._interviews: dict[Key, Interview] = {}
        self._homes: dict[Key, Episode | None] = {}
        self._by_ref: dict[str | None, set[Key]] = {}
        self._by_at: list[tuple[int, Key]] = []
        self._named: dict[str, list[Episode]] = {}
        self._told: tuple[dict[Key, Telling], dict[Key, Telling]] = ({}, {})
        self._looked: dict[str, int] = {}

    def look(self, known: Known, *, told: bool) -> bool:
        """Bring them to what is known now; may any say something else? `told`: something of `TOLD` may have come."""
        again = self.unsettled
        if told:
            again = list({id(e): e for e in (*self._told_of(known), *self.unsettled)}.values())
        turned = [e for e in again if run(e, known.as_of, self._hours)]
        for episode in turned:
            n = _place_of(episode, self.every, self.starts, episode.started_at)
            self.clocks[n] = (episode.started_at, episode.clock)
        if told or turned:
            self.unsettled = [e for e in again if e.ended_at is None or e.clock == "RUNNING"]
        return told or bool(turned)

    def newest(self, us: int) -> list[tuple[int, str]]:
        """The `clocks` of those that began less than `us` before the one that began last."""
        return self.clocks[bisect_right(self.starts, self.starts[-1] - us) :] if self.starts else []

    def days(self, grade: Fact, today: str) -> tuple[str, str]:
        """From the London day of a grade to that on which the child was back, or `today`; where nobody reported it, that day."""
        day, key = local_date_of(happened(grade)), (grade.agency, grade.body["episode_id"])
        episode = next(e for e in self._named[key[1]] if key in {(s.agency, s.episode_id) for s in e.strands})
        if not any(s.reports for s in episode.strands):
            return day, day
        back = today if episode.ended_at is None else local_date_of(episode.ended_at)
        return day, max(day, min(back, today))

    def _told_of(self, known: Known) -> list[Episode]:
        """Take in what came since the last look; the episodes that it made, or gave or took an interview."""
        since, strands = NEVER, self._came(known, self._told[0], EPISODE, "episode_id")
        for key in strands:
            made = _strand(*key, *self._told[0][key])
            since = min(since, made.started_at, self._strands.get(key, made).started_at)
            self._strands[key] = made
        gone, new = self._merge(strands, since) if strands else ([], [])
        interviews = self._came(known, self._told[1], INTERVIEW, "interview_id")
        for key in interviews:
            self._tell(key, _interview(*key, *self._told[1][key]))
        no_more = set(map(id, gone))
        self.unsettled = [e for e in self.unsettled if id(e) not in no_more]
        return [*new, *(e for e in self._pair([*gone, *new], interviews) if id(e) not in no_more)]

    def _came(self, known: Known, told: dict[Key, Telling], records: tuple[str, ...], names: str) -> set[Key]:
        changed = set()
        for where, record in enumerate(records):
            for fact in known.came(record, self._looked):
                key = (fact.agency, fact.body[names])
                place(told.setdefault(key, ([], [], []))[where], fact)
                changed.add(key)
        return changed

    def _merge(self, changed: set[Key], since: int) -> tuple[list[Episode], list[Episode]]:
        """Strands into episodes, where any of those that changed began at `since` or later; the episodes that are no more, and
        those in their place. One that began too early for all of them is as it was: nothing else can join it either.
        """
        keep = bisect_left(self.starts, since - SAME_EPISODE_US)
        gone = self.every[keep:]
        del self.every[keep:]
        again = changed.union((s.agency, s.episode_id) for e in gone for s in e.strands)
        for strand in sorted((self._strands[k] for k in again), key=lambda s: (s.started_at, s.agency, s.episode_id)):
            _join(self.every, strand)
        new = self.every[keep:]
        self.starts[keep:] = [e.started_at for e in new]
        self.clocks[keep:] = [(e.started_at, e.clock) for e in new]
        for episode in gone:
            for name in _names([episode]):
                self._named[name] = [e for e in self._named[name] if e is not episode]
            if episode.ended_at is not None:
                n = _place_of(episode, self.ended, self.ends, episode.ended_at)
                del self.ends[n], self.ended[n]
        for episode in new:
            for name in _names([episode]):
                self._named.setdefault(name, []).append(episode)
            if episode.ended_at is not None:
                n = bisect_right(self.ends, episode.ended_at)
                # of two that ended together it is the one that began last that counts for an interview, so that stands last
                while n and self.ends[n - 1] == episode.ended_at and self.ended[n - 1].started_at >= episode.started_at:
                    n -= 1
                self.ends.insert(n, episode.ended_at)
                self.ended.insert(n, episode)
        return gone, new

    def _tell(self, key: Key, interview: Interview) -> None:
        if (before := self._interviews.get(key)) is not None:
            del self._by_at[bisect_left(self._by_at, (before.at, key))]
        self._interviews[key] = interview
        insort(self._by_at, (interview.at, key))
        self._by_ref.setdefault(interview.ref, set()).add(key)

    def _pair(self, changed: list[Episode], told: set[Key]) -> list[Episode]:
        """Find an episode for each interview that was told of, or to which one of those that changed may mean something; the
        episodes that were given one or lost one.
        """
        since = min((e.ended_at for e in changed if e.ended_at is not None), default=NEVER)
        again = told.union(key for _, key in self._by_at[bisect_left(self._by_at, (since,)) :])
        again.update(key for name in _names(changed) for key in self._by_ref.get(name, ()))
        touched: list[Episode] = []
        for key in again:
            interview = self._interviews[key]
            home = self._home(interview)
            if key in self._homes:
                before = self._homes[key]
                if before is home and key not in told:
                    continue
                there = self.loose if before is None else before.interviews
                there[:] = [i for i in there if (i.agency, i.interview_id) != key]
                touched += [] if before is None else [before]
            self._homes[key] = home
            insort(self.loose if home is None else home.interviews, interview, key=_at)
            touched += [] if home is None else [home]
        return touched

    def _home(self, interview: Interview) -> Episode | None:
        """The episode that an interview belongs to."""
        if interview.ref is not None and (meant := self._named.get(interview.ref)):
            return min(meant, key=lambda e: (abs(interview.at - (e.ended_at or e.started_at)), e.started_at))
        last = bisect_right(self.ends, interview.at) - 1
        return self.ended[last] if last >= 0 and interview.at - self.ends[last] <= PAIR_US else None


def _place_of(episode: Episode, some: Sequence[Episode], ats: Sequence[int], at: int) -> int:
    """Where an episode stands among some that are in the order of `ats`, where `at` is its own."""
    n = bisect_left(ats, at)
    while some[n] is not episode:
        n += 1
    return n


def _names(episodes: Iterable[Episode]) -> set[str]:
    """Every id by which an agency tells of one of these."""
    return {s.episode_id for e in episodes for s in e.strands}


def _at(interview: Interview) -> tuple[int, str, str]:
    return interview.at, interview.agency, interview.interview_id


def _join(before: list[Episode], strand: Strand) -> None:
    """Let a strand join the episode that it tells of as well; otherwise it is one of its own, after those that are in order."""
    same = _near(before, strand)
    if same is None:
        before.append(Episode([strand], strand.type, strand.started_at, strand.ended_at))
        return
    same.strands.append(strand)
    same.type = same.type or strand.type
    ends = [e for e in (same.ended_at, strand.ended_at) if e is not None]
    same.ended_at = min(ends) if ends else None


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
    done = [i.at for i in episode.interviews if i.counts]
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
