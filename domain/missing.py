"""Missing episodes (R24, R25; domain.md §2b, §2c): told by one agency or two, with grades, interviews and the 72-hour clock.

- One agency's report, grades and end are one strand by (agency, episode_id).
- Strands of different agencies are one episode when their types agree or are not known, they begin within 12 hours of one
  another, and neither had ended before the other began. Sealed facts never join others.
- The episode begins with the earliest sighting told and ends with the earliest end told: the strictest clock.
- An interview belongs to the episode whose id it names; otherwise to the nearest episode that ended before it, within 30 days.
- The clock runs 72 elapsed hours from the return. A police prevention check never counts; an offer does not stop it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Final

from domain.labelling import rest_on
from domain.model import Fact, Json
from domain.policy import Reference
from domain.selection import Known
from domain.times import DAY_US, HOUR_US, LONDON, bounded, local, to_us

SAME_EPISODE_US: Final = 12 * HOUR_US
"""Two agencies' beginnings this near tell of one episode (default; police and home log the same absence hours apart)."""

PAIR_US: Final = 30 * DAY_US
"""An interview without the episode's reference belongs to a return at most this long before."""

OVERNIGHT: Final = time(4)
"""Away at this London time is overnight: late evenings are not."""


@dataclass(slots=True)
class Interview:
    """One interview, from its offer on. Instants µs UTC."""

    facts: list[Fact] = field(default_factory=list)
    interview_id: str = ""
    ref: str | None = None
    offered_at: int | None = None
    declined: Fact | None = None
    completed: Fact | None = None

    @property
    def at(self) -> int:
        """When it came to what it is: completed, declined or offered."""
        if self.completed is not None:
            return bounded(self.completed.body["completed_at"])
        if self.declined is not None:
            return bounded(self.declined.body["declined_at"])
        return self.offered_at or 0

    @property
    def state(self) -> str:
        """OFFERED, DECLINED or COMPLETED."""
        return "COMPLETED" if self.completed is not None else "DECLINED" if self.declined is not None else "OFFERED"


@dataclass(slots=True)
class Strand:
    """One agency's telling of an episode."""

    agency: str
    episode_id: str
    reports: list[Fact] = field(default_factory=list)
    grades: list[Fact] = field(default_factory=list)
    ends: list[Fact] = field(default_factory=list)

    @property
    def facts(self) -> list[Fact]:
        """All facts, in order of time."""
        return [*self.reports, *self.grades, *self.ends]

    @property
    def type(self) -> str | None:
        """M, A or not known."""
        return str(self.reports[-1].body["episode_type"]) if self.reports else None

    @property
    def started_at(self) -> int:
        """Earliest sighting told; otherwise the beginning as the end tells it, or the first we heard."""
        if self.reports:
            return min(bounded(r.body["last_seen_at"]) for r in self.reports)
        told = [bounded(e.body["started_at"]) for e in self.ends if e.body.get("started_at") is not None]
        return min(told) if told else min(f.occurred_at for f in self.facts)

    @property
    def ended_at(self) -> int | None:
        """The end as last told by this agency."""
        return bounded(self.ends[-1].body["ended_at"]) if self.ends else None

    @property
    def sealed(self) -> bool:
        """Any of its facts is sealed."""
        return any(f.sensitivity == "SEALED" for f in self.facts)


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
    def begun(self) -> list[Fact]:
        """The facts that say it began (or, when nobody reported, that it was at all)."""
        return [f for s in self.strands for f in s.reports] or self.facts


def episodes(known: Known, reference: Reference) -> tuple[list[Episode], list[Interview]]:
    """Episodes by beginning, with their interviews; and the interviews that belong to none."""
    found = _merged(_strands(known))
    loose: list[Interview] = []
    interviews = _interviews(known)
    named: dict[str, list[Episode]] = {}
    for episode in found if interviews else ():
        for strand_id in {s.episode_id for s in episode.strands}:
            named.setdefault(strand_id, []).append(episode)
    for interview in interviews:
        home = _home(interview, found, named)
        (home.interviews if home is not None else loose).append(interview)
    hours = reference.interview_hours * HOUR_US
    for episode in found:
        _clock(episode, known.as_of, hours)
    return found, loose


def _strands(known: Known) -> list[Strand]:
    found: dict[tuple[str, str], Strand] = {}
    for record, where in (("MissingEpisodeReported", 0), ("MissingEpisodeGraded", 1), ("MissingEpisodeEnded", 2)):
        for fact in known.current.get(record, ()):
            key = (fact.agency, fact.body["episode_id"])
            strand = found.get(key)
            if strand is None:
                strand = found[key] = Strand(*key)
            (strand.reports, strand.grades, strand.ends)[where].append(fact)
    return sorted(found.values(), key=lambda s: (s.started_at, s.agency, s.episode_id))


def _merged(strands: Sequence[Strand]) -> list[Episode]:
    out: list[Episode] = []
    for strand in strands:
        began = strand.started_at
        near = takewhile(lambda e: began - e.started_at <= SAME_EPISODE_US, reversed(out))  # noqa: B023  used in this turn only
        same = next((e for e in near if _one(e, strand, began)), None)
        if same is None:
            out.append(Episode([strand], strand.type, began, strand.ended_at))
        else:
            same.strands.append(strand)
            same.type = same.type or strand.type
            ends = [e for e in (same.ended_at, strand.ended_at) if e is not None]
            same.ended_at = min(ends) if ends else None
    return out


def _one(episode: Episode, strand: Strand, began: int) -> bool:
    """Do both tell of one absence? They began near one another."""
    return (
        (episode.type is None or strand.type is None or episode.type == strand.type)
        and all(s.agency != strand.agency for s in episode.strands)
        and (episode.ended_at is None or episode.ended_at > began)
        and episode.strands[0].sealed == strand.sealed
    )


def _interviews(known: Known) -> list[Interview]:
    found: dict[tuple[str, str], Interview] = {}
    for record in ("ReturnHomeInterviewOffered", "ReturnHomeInterviewDeclined", "ReturnHomeInterviewCompleted"):
        for fact in known.current.get(record, ()):
            key = (fact.agency, fact.body["interview_id"])
            at = found.setdefault(key, Interview(interview_id=key[1]))
            at.facts.append(fact)
            at.ref = fact.body.get("episode_ref") or at.ref
            if record.endswith("Offered"):
                told = bounded(fact.body["offered_at"])
                at.offered_at = told if at.offered_at is None else min(at.offered_at, told)
            elif record.endswith("Declined"):
                at.declined = fact
            else:
                at.completed = fact
    return [found[k] for k in sorted(found, key=lambda k: (found[k].at, k))]


def _home(interview: Interview, found: Sequence[Episode], named: Mapping[str, Sequence[Episode]]) -> Episode | None:
    if interview.ref is not None and (meant := named.get(interview.ref)):
        return min(meant, key=lambda e: (abs(interview.at - (e.ended_at or e.started_at)), e.started_at))
    ended = [e for e in found if e.ended_at is not None and 0 <= interview.at - e.ended_at <= PAIR_US]
    return max(ended, key=lambda e: (e.ended_at or 0, e.started_at)) if ended else None


def _clock(episode: Episode, as_of: int, hours_us: int) -> None:
    until = episode.ended_at if episode.ended_at is not None else as_of
    episode.overnight = until >= next_overnight(episode.started_at)
    if episode.ended_at is None:
        return
    episode.due_at = episode.ended_at + hours_us
    done = [bounded(i.completed.body["completed_at"]) for i in episode.interviews if i.completed is not None]
    if done:
        episode.clock = "MET" if min(done) <= episode.due_at else "LATE"
    elif any(i.declined is not None for i in episode.interviews):
        episode.clock = "DECLINED"
    else:
        episode.clock = "RUNNING" if as_of < episode.due_at else "OVERDUE"


@lru_cache(maxsize=16384)
def next_overnight(us: int) -> int:
    """The next instant after `us` at which it is 4 a.m. in London."""
    when = local(us)
    at = to_us(datetime.combine(when.date(), OVERNIGHT, LONDON))
    return at if at > us else to_us(datetime.combine(when.date() + timedelta(days=1), OVERNIGHT, LONDON))


def shown(episode: Episode, known: Known, reference: Reference) -> Json:
    """The episode as the view lists it. What rests on the end or a grade alone is a part, withheld by itself."""
    ends = [f for s in episode.strands for f in s.ends]
    grades = sorted((f for s in episode.strands for f in s.grades), key=lambda f: (f.occurred_at, f.event_id))
    latest = grades[-1] if grades else None
    end = ends[-1] if ends else None
    until = episode.ended_at if episode.ended_at is not None else known.as_of
    first = episode.strands[0]
    outcome = end.body["outcome"] if end else None
    grade = latest.body["grade"] if latest else None
    item: Json = {
        "episode": first.episode_id, "sources": [[s.agency, s.episode_id] for s in episode.strands], "type": episode.type,
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
        "interviews": [interview_shown(i, episode.ended_at, reference) for i in episode.interviews],
        "rhi_clock": {
            "due_at": episode.due_at, "state": episode.clock,
            **rest_on([*(ends or episode.begun), *(f for i in episode.interviews for f in i.facts)]),
        },
        **rest_on(episode.begun),
    }  # fmt: skip
    parts = []
    if ends:
        fields = ["ended_at", "outcome", "outcome_label", "overnight", "days", "found_with", "harm", "contradiction"]
        parts.append({"fields": fields, **rest_on(ends)})
    if grades:
        parts.append({"fields": ["grade", "grade_label", "own_label"], **rest_on(grades)})
    item["parts"] = parts
    return item


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


def interview_shown(interview: Interview, ended_at: int | None, reference: Reference) -> Json:
    """An interview as the view lists it; `in_72h` is null while that cannot be said."""
    done, no = interview.completed, interview.declined
    completed_at = bounded(done.body["completed_at"]) if done else None
    in_time = None
    if completed_at is not None and ended_at is not None:
        in_time = completed_at <= ended_at + reference.interview_hours * HOUR_US
    return {
        "interview_id": interview.interview_id, "state": interview.state, "offered_at": interview.offered_at,
        "completed_at": completed_at, "declined_at": bounded(no.body["declined_at"]) if no else None,
        "reason": no.body["reason"] if no else None,
        "reason_label": reference.label("rhi-declined", no.body["reason"]) if no else None,
        "push": list(done.body["push"]) if done else [], "pull": list(done.body["pull"]) if done else [],
        "push_labels": [reference.label("push-factor", c) for c in (done.body["push"] if done else ())],
        "pull_labels": [reference.label("pull-factor", c) for c in (done.body["pull"] if done else ())],
        "child_words": done.body.get("child_words") if done else None, "in_72h": in_time, **rest_on(interview.facts),
    }  # fmt: skip
