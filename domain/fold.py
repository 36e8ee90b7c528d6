"""The child view: a pure function of a set of entries, `as_of` (what was true) and `known_at` (what we knew).

The document is described in docs/child-view.md. Order, duplicates and late corrections cannot change it; the same inputs
give the same bytes (I2). Instants are µs since 1970, UTC.

A defect of ours never takes a child's facts from those who need them: where a rule or a section fails, the document holds
what was told and decided, `evaluated_at` is null, and so is every section that had to be worked out (null is not "none").
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain import meetings, messages, missing, missing_view, risk
from domain.calendar import midnight, next_midnight
from domain.chronology import chronology, currency
from domain.education import SCHOOL_DAYS, education, school_days
from domain.identity_view import header, identity, latest_birth_date, merged_into, possible_matches
from domain.involvement import cpis, grades, involved, practice, statuses, vpas
from domain.labelling import rest_on_ids
from domain.model import Conclusion, Fact, History, Json, Link, Presentation
from domain.policy import Reference
from domain.seen import Seen
from domain.selection import Known, openly, select
from domain.signals import Situation
from domain.times import DAY_US


@dataclass(frozen=True, slots=True)
class Folded:
    """The parts of a fold that conclusions are drawn from, beside the document itself. It holds until its fold goes on."""

    known: Known
    situation: Situation
    seen: Seen
    risk: risk.Risk
    recommendations: list[meetings.Recommendation]
    owed: list[meetings.Recommendation]
    messages: messages.Sent


class Fold:
    """The fold of one child, which goes on when something comes that only adds to what is known.

    The same as folding all of it anew (`parts`), for what is new alone: decisions cost as much for a child of whom a thousand
    facts are known as for one of whom ten are.
    """

    def __init__(self, known: Known, reference: Reference) -> None:
        self._known, self._reference = known, reference
        self._situation = Situation(known, reference)
        self._seen = Seen(known, reference)
        self._by_id: dict[str, meetings.Recommendation] | None = None
        self._learnt: list[Conclusion] = []
        self._raised: list[meetings.Recommendation] = []
        self._owed: list[meetings.Recommendation] = []
        self._sent: messages.Sent | None = None
        self._folded: Folded | None = None

    def take(self, fact: Fact) -> bool:
        """Let a fact join in that was accepted last; False when it does more than join in: then this fold is of no more use."""
        self._folded = None
        if not self._known.take(fact):
            return False
        self._seen.take(fact)
        return True

    def meet(self, shown: Presentation, link: Link) -> bool:
        """Let a presentation join in that nobody had shown before, its facts after it; False as for `take`: with another birth
        date rules look at facts otherwise.
        """
        self._folded = None
        before = latest_birth_date(self._known)
        self._known.meet(shown, link)
        return latest_birth_date(self._known) == before

    def learn(self, conclusion: Conclusion) -> bool:
        """Let a conclusion join in that was drawn last; False as for `take`."""
        self._folded = None
        if "message_id" in conclusion.data:
            self._sent = None
        if not self._known.learn(conclusion):
            return False
        if "recommendation_id" in conclusion.data:
            self._learnt.append(conclusion)
            if self._known.conclusions[-1] is not conclusion:  # of one entry, but told before others
                self._by_id = None
        return True

    def at(self, as_of: int) -> Folded:
        """Select, pair and evaluate, without writing the document. `as_of` (µs UTC) never goes back."""
        known = self._known
        if self._folded is None or known.as_of != as_of:
            known.as_of = as_of
            found = risk.evaluate(self._situation, self._reference.policy)
            if self._by_id is None or self._learnt:
                self._raised = self._recommendations()
                self._owed = [r for r in self._raised if r.owed]
            if self._sent is None:
                self._sent = messages.messages(known)
            self._folded = Folded(known, self._situation, self._seen, found, self._raised, self._owed, self._sent)
        return self._folded

    def _recommendations(self) -> list[meetings.Recommendation]:
        found, self._by_id = self._by_id, None  # should one fail, nothing is left half done
        if found is None:
            found = meetings.by_id(self._known)
        else:
            for conclusion in self._learnt:
                meetings.learn(found, conclusion)
        self._by_id, self._learnt = found, []
        return meetings.in_order(found)


def fold(history: History, reference: Reference, as_of: int, known_at: int | None = None) -> Json:
    """The view of one child, as true at `as_of` and as known at `known_at` (None: everything the history holds)."""
    try:
        folded = parts(history, reference, as_of, known_at)
    except Exception:  # a defect of ours, of any kind: whoever stores or shows the view raises the alarm
        return bare(history, reference, as_of, known_at)
    return document(history, folded, reference)


def parts(history: History, reference: Reference, as_of: int, known_at: int | None = None) -> Folded:
    """The parts of a view, folded from nothing."""
    return Fold(select(history, as_of, known_at), reference).at(as_of)


def document(history: History, folded: Folded, reference: Reference) -> Json:
    """The document of docs/child-view.md."""
    try:
        told = _told(history, folded.known, reference, folded.recommendations, folded.messages)
        whole = told | _worked_out(folded, reference, told["currency"])
        if not folded.known.sealed:
            return whole
        situation = Situation(openly(folded.known), reference)
        situation.look()
        return whole | {"openly": _openly(situation, reference), "changes_at": changes_at(folded, situation)}
    except Exception:  # as in `fold`
        return bare(history, reference, folded.known.as_of, folded.known.known_at)


def bare(history: History, reference: Reference, as_of: int, known_at: int | None = None) -> Json:
    """The document without evaluation: who the child is, what was told, what was decided. `WORKED_OUT` is null."""
    known = select(history, as_of, known_at)
    raised = meetings.recommendations(known)
    told = _told(history, known, reference, raised, messages.messages(known))
    return told | dict.fromkeys(WORKED_OUT) | {"due_at": min(meetings.dues(raised), default=None)}


def _told(
    history: History, known: Known, reference: Reference, raised: list[meetings.Recommendation], sent: messages.Sent
) -> Json:
    """What is said by facts and acts themselves: no rule has a part in it."""
    who = identity(known, history)
    # after an undo, what a recommendation rested on may be another child's: it is not told here (I5)
    here = {i: f for i, f in known.everything.items() if f.presentation_id in known.links}
    return {
        "child_id": known.child_id, "as_of": known.as_of, "known_at": known.known_at, "version": known.version,
        "policy": {"id": reference.policy.id, "title": reference.policy.title, "authority": reference.policy.authority},
        "not_evaluated": _not_evaluated(known),
        "merged_into": merged_into(known, history), **header(who), "identity": who, **possible_matches(known, history),
        "currency": currency(known, reference), "chronology": chronology(known, reference),
        "recommendations": [meetings.shown(r, reference, here) for r in reversed(raised)],
        "messages": [messages.shown(m, known) for m in reversed(sent.every)], "case": meetings.case(known),
        "defects": [
            {"event_id": c.data["event_id"], "defect": c.data["defect"], **rest_on_ids([c.data["event_id"]], known.everything)}
            for c in known.conclusions
            if c.kind == "quality_defect"
        ],
    }  # fmt: skip


WORKED_OUT = (
    "evaluated_at", "involved", "status", "status_history", "practice", "missing", "interviews_unpaired", "vpas", "cpis",
    "education", "grades", "grade_differences", "risk", "changes_at", "due_at",
)  # fmt: skip
"""Keys of the document that rules have a part in."""


def _worked_out(folded: Folded, reference: Reference, current: list[Json]) -> Json:
    return {
        "evaluated_at": folded.known.as_of, **_sections(folded.known, folded.situation, reference),
        "risk": risk.shown(folded.risk, folded.situation, reference.policy, current),
        "changes_at": changes_at(folded), "due_at": due_at(folded.situation, folded.owed, folded.messages),
    }  # fmt: skip


def _sections(known: Known, situation: Situation, reference: Reference) -> Json:
    """What is told by several facts together, but for risk."""
    today = situation.today
    told, present = statuses(known, today, reference)
    held, differ = grades(known, reference)
    return {
        "involved": involved(known, today, reference),
        "status": present, "status_history": told, "practice": practice(known, today),
        "missing": [missing_view.shown(e, known, reference) for e in reversed(situation.missing.every)],
        "interviews_unpaired": [missing_view.interview_shown(i, None, reference) for i in situation.missing.loose],
        "vpas": vpas(known, reference), "cpis": cpis(known, reference), "education": education(known, today, reference),
        "grades": held, "grade_differences": differ,
    }  # fmt: skip


def _openly(situation: Situation, reference: Reference) -> Json:
    """The sections without sealed facts, for readers from whom these are hidden: nothing in them shows that one is there."""
    told = {"unknown": risk.unknown(situation), "protective": risk.protective(situation)}
    return _sections(situation.known, situation, reference) | {"risk": told}


def _not_evaluated(known: Known) -> list[str]:
    return sorted({c.data["event_id"] for c in known.conclusions if c.kind == "not_evaluated" and c.data["event_id"]})


def changes_at(folded: Folded, *openly_told: Situation) -> int | None:
    """The next instant after `as_of` at which the view may be another with nothing new said; None when it never will.

    `openly_told`: what the view tells besides, without sealed facts: an episode whose end is sealed goes on there.
    """
    known = folded.known
    ahead = [at for s in (folded.situation, *openly_told) for at in (*_days(s), *_turns(s))]
    if folded.risk.changes_at is not None:
        ahead.append(folded.risk.changes_at)
    if known.next_fact_at is not None:
        ahead.append(known.next_fact_at)
    return min((t for t in ahead if t > known.as_of), default=None)


def _turns(s: Situation) -> Iterable[int]:
    """When an episode next says something else by itself."""
    as_of = s.known.as_of
    for e in s.missing.unsettled:
        if e.ended_at is None:
            yield from (missing.next_overnight(as_of), as_of + DAY_US - (as_of - e.started_at) % DAY_US)
        elif e.due_at is not None:
            yield e.due_at


def _days(s: Situation) -> Iterable[int]:
    """Midnights at which something that is told in days next begins, ends or counts on."""
    for record, first, last in SPANS:
        if record not in s.known.current:
            continue
        yield from _begins(s, record, first)
        if last is not None:
            ends = s.known.by_day(record, last).ats
            if (n := bisect_left(ends, s.today)) < len(ends):
                yield next_midnight(ends[n])
    if s.gaps():
        yield next_midnight(s.today)


def _begins(s: Situation, record: str, name: str) -> Iterable[int]:
    """The next midnight at which something of a record begins."""
    if (day := s.known.next_day(record, name, s.today)) is not None:
        yield midnight(day)


def _counts_on(s: Situation) -> bool:
    """A span without education is short of the highest tier: another school day may give points."""
    if not (spans := s.gaps()):
        return False
    rules = s.reference.policy.asked(GAPS)
    top = max((at_least for r in rules if r.kind == "no_provision" for at_least, _ in r.tiers), default=0)
    days = s.reference.register.calendars[SCHOOL_DAYS]
    return any(school_days(gap, s.today, days) < top for gap in reversed(spans))  # the last begun is the shortest


GAPS: Final = frozenset({"NoSchoolProvision"})
"""Records that tell of spans without education."""

SPANS = (
    ("WorkerAllocated", "from_date", "to_date"),
    ("InvolvementRecorded", "from_date", "to_date"),
    ("CpisStatusChanged", "start_date", "end_date"),
    ("GpRegistration", "registered_from", None),
    ("SocialCareStatus", "from_date", None),
)
"""Records whose being current depends on the day."""


BEGIN = (("CpisStatusChanged", "start_date"), ("GpRegistration", "registered_from"), ("SocialCareStatus", "from_date"))
"""Records that something may be concluded from on the day they begin: a plan or status (`graded_while`), a practice (GP)."""


def due_at(s: Situation, owed: Iterable[meetings.Recommendation], sent: messages.Sent) -> int | None:
    """The next instant at which something may have to be concluded; in the past when it already is and nobody has."""
    due = meetings.dues(owed) + sent.dues
    ahead = [e.due_at for e in s.missing.unsettled if e.ended_at is not None and e.due_at is not None]
    ahead += [missing.next_overnight(e.started_at) for e in s.missing.unsettled if e.ended_at is None]
    if s.known.next_fact_at is not None:
        ahead.append(s.known.next_fact_at)
    for record, first in BEGIN:
        if record in s.known.current:
            ahead += _begins(s, record, first)
    if _counts_on(s):
        ahead.append(next_midnight(s.today))
    return min([*due, *(t for t in ahead if t > s.known.as_of)], default=None)
