"""The kinds of rule: each finds, in what is known, the facts a rule rests on, its points now, and when that changes by itself.

A window is open while `as_of < happened + window`. A harm trigger of a live fact runs from when it was told, if that is
later: a disclosure told late is still told (R1). Of an imported (historic) fact it runs from when it happened.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any, Final

from domain import missing
from domain.calendar import midnight, next_midnight
from domain.chronology import day
from domain.education import SCHOOL_DAYS, Gap, days_from, gaps, rate, school_days, weeks
from domain.identity_view import latest_birth_date
from domain.involvement import NO_END, PLANNED, begins, by_begin, plans, status_facts
from domain.missing import Episode
from domain.model import Fact
from domain.policy import LISTS, OF_SIGNALS, Policy, Reference, Rule
from domain.selection import Known, Line, happened, in_time
from domain.times import DAY_US, NEVER, local_date_of

SESSIONS_MIN: Final = 10
"""An absence rate needs a school week of sessions: one missed day alone is not a rate."""


@dataclass(eq=False, slots=True)
class Hit:
    """A rule that holds: on which facts, and with how many points (harm triggers have none).

    `found` are the facts as they were found, some perhaps twice; `ats` when each happened, where they are in that order.
    """

    rule: Rule
    found: Sequence[Fact]
    points: int
    ats: Sequence[int] = ()
    _facts: tuple[Fact, ...] = ()
    _agencies: tuple[str, ...] = ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The facts behind it, in order of time."""
        if not self._facts:
            self._facts = _sorted(self.found)
        return self._facts

    @property
    def agencies(self) -> tuple[str, ...]:
        """The agencies behind it, in alphabetical order."""
        if not self._agencies:
            self._agencies = tuple(sorted({f.agency for f in self.found}))
        return self._agencies

    def since(self, at: int) -> Iterable[tuple[int, Fact]]:
        """Its facts that happened after an instant, each with when it did."""
        if self.ats:
            n = bisect_right(self.ats, at)
            return zip(self.ats[n:], self.found[n:], strict=True)
        return ((when, f) for f in self.found if (when := happened(f)) > at)


def _same(one: Hit | None, other: Hit | None) -> bool:
    """Do both rest on the same facts?"""
    if one is None or other is None:
        return one is other
    return one.found == other.found and one.ats == other.ats


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule said, and until when it says so if nothing comes."""

    hit: Hit | None
    until: int


class Situation:
    """What rules look at, and what they said last: they are asked again when they may answer differently.

    It goes on with what is known (`Known.take`, a later `as_of`): the same as looking at all of it anew.
    """

    def __init__(self, known: Known, reference: Reference) -> None:
        self.known, self.reference = known, reference
        self.today = ""
        self.missing = missing.Episodes(reference.interview_hours)
        self._joined = 0
        self._fresh: frozenset[str] = frozenset()
        self._turned = False
        self._rules: tuple[Rule, ...] = ()
        self._answers: dict[str, Answer] = {}
        self._soonest = NEVER
        self._spans: dict[str, tuple[int, list[str], list[Any]]] = {}
        self._until = NEVER

    def look(self) -> None:
        """Bring what rules look at to what is known now."""
        known, today, first = self.known, local_date_of(self.known.as_of), not self.today
        self.today = today
        self._fresh = frozenset(known.current if first else known.joined[self._joined :])
        self._joined = len(known.joined)
        self._turned = self.missing.look(known, told=first or not self._fresh.isdisjoint(missing.TOLD))

    def ahead(self, at: int) -> None:
        """The answer under way may be another from this instant on, which is after `as_of`."""
        self._until = min(self._until, at)

    def ask(self, policy: Policy) -> tuple[list[Hit], int | None]:
        """Every rule that holds, harm triggers first, in the policy's order; when one may next answer differently (µs UTC)."""
        self.look()
        answers, now = self._answers, self.known.as_of
        if self._fresh or not answers:
            self._rules = policy.asked(frozenset(self.known.current))
        due: Iterable[Rule] = self._rules
        if answers:  # otherwise nothing has been asked yet: all is
            again, lapsed = policy.again(self._fresh, turned=self._turned), self._soonest <= now
            due = [r for r in due if r.id in again or r.kind == OF_SIGNALS or (lapsed and answers[r.id].until <= now)]
        signalled = False
        for rule in due:
            before = answers.get(rule.id)
            if before is not None and rule.kind == OF_SIGNALS and not signalled and before.until > now:
                continue
            self._until = NEVER
            hit = MATCHERS[rule.kind](rule, self)
            answers[rule.id] = Answer(hit, self._until)
            signalled = signalled or (rule.signal and not _same(hit, None if before is None else before.hit))
        said = [answers[rule.id] for rule in self._rules]
        self._soonest = min([answer.until for answer in said], default=NEVER)
        return [answer.hit for answer in said if answer.hit is not None], None if self._soonest == NEVER else self._soonest

    def signals(self, after: int) -> list[tuple[int, Fact]]:
        """What happened after an instant and lets a rule hold that gives weak signals, in order of time; some more than once."""
        found: list[tuple[int, Fact]] = []
        for answer in self._answers.values():
            if answer.hit is not None and answer.hit.rule.signal:
                found += answer.hit.since(after)
        return sorted(found, key=itemgetter(0))

    def line(self, rule: Rule, since: Callable[[Rule, Fact, Situation], int | None]) -> Line:
        """The facts that a rule is about, by when they begin to count (`since`; None: they do not)."""
        return self.known.line(rule.id, rule.looks_at, lambda fact: since(rule, fact, self))

    def within(self, ats: Sequence[int], days: int, later: int | None = None) -> tuple[int, int]:
        """Which of these instants, in order, lie less than so many days ago, and not less than `later` days: from, to."""
        first = bisect_right(ats, self.known.as_of - days * DAY_US)
        last = len(ats) if later is None else bisect_right(ats, self.known.as_of - later * DAY_US)
        if first < last:
            self.ahead(ats[first] + days * DAY_US)
        return first, last

    def gaps(self) -> list[Gap]:
        """Spans without full-time education that have not ended (`education.gaps`)."""
        return self._lasting("NoSchoolProvision", gaps, lambda gap: gap.last, self.today)

    def plans(self, since: str) -> list[Fact]:
        """The newest telling of each CP-IS plan (`involvement.plans`) that had not ended before a day."""
        return self._lasting("CpisStatusChanged", plans, lambda plan: plan.body.get("end_date"), since)

    def _lasting(
        self, record: str, spans: Callable[[Known], Iterable[Any]], last: Callable[[Any], str | None], since: str
    ) -> list[Any]:
        """Of the spans that facts of a record tell of, those whose last day (None: no end) is not before the day `since`."""
        told, held = len(self.known.current.get(record, ())), self._spans.get(record)
        if held is None or held[0] != told:
            by_end = sorted(((last(span) or NO_END, span) for span in spans(self.known)), key=itemgetter(0))
            held = self._spans[record] = (told, [day for day, _ in by_end], [span for _, span in by_end])
        return held[2][bisect_left(held[1], since) :]


def _codes_in(fact: Fact, rule: Rule) -> list[tuple[str, str]]:
    """(code list, code) for each code of the fact that the rule looks for; every code when it lists none."""
    return [
        (LISTS[name], code)
        for name in rule.records.get(fact.record, ())
        for code in fact.body.get(name) or ()
        if not rule.codes or code in rule.codes
    ]


def _named(fact: Fact, names: tuple[str, ...]) -> frozenset[str]:
    """Every code in these fields of a fact: kept with it, as the fields that rules look at are the contract's."""
    kept: tuple[tuple[str, ...], frozenset[str]] | None = fact.memo.get("coded")
    if kept is None or kept[0] is not names:
        kept = fact.memo["coded"] = (names, frozenset(c for n in names for c in fact.body.get(n) or ()))
    return kept[1]


def _codes(rule: Rule, s: Situation) -> Hit | None:
    line = s.line(rule, _coded)
    first, last = s.within(line.ats, rule.window_days)
    if first < last:
        return Hit(rule, line.facts[first:last], rule.points, () if rule.trigger else line.ats[first:last])
    if not rule.older_points:
        return None
    first, last = s.within(line.ats, rule.older_days, rule.window_days)
    return Hit(rule, line.facts[first:last], rule.older_points, line.ats[first:last]) if first < last else None


def _coded(rule: Rule, fact: Fact, s: Situation) -> int | None:
    """From when a fact counts that names a code of the rule."""
    named = _named(fact, s.reference.records[fact.record].coded)
    if not named or (rule.codes and rule.codes.isdisjoint(named)) or not _codes_in(fact, rule):
        return None
    if rule.age_under and not _under(fact, rule, s):
        return None
    return _told(fact) if rule.trigger else happened(fact)


def _told(fact: Fact) -> int:
    """From when a harm trigger runs: when it happened, or, of a live fact, when it was told if that is later."""
    return happened(fact) if fact.historic else max(happened(fact), fact.accepted_at)


def _under(fact: Fact, rule: Rule, s: Situation) -> bool:
    """Under the rule's age when it happened, by the latest birth date anyone gives; not known is listed as unknown."""
    born = latest_birth_date(s.known)
    return born is not None and age_on(born, local_date_of(fact.occurred_at)) < rule.age_under


def age_on(born: str, on: str) -> int:
    """Whole years from day `born` to day `on` (ISO 8601)."""
    b, d = date.fromisoformat(born), date.fromisoformat(on)
    return d.year - b.year - ((d.month, d.day) < (b.month, b.day))


def values(rule: Rule, facts: Sequence[Fact], points: int, reference: Reference) -> dict[str, object]:
    """What a rule's text may say about the facts it rests on (in order of time); also for a reason recorded long ago."""
    found: dict[str, object] = {"date": day(facts[-1].occurred_at), "what": "", "count": _times(len(facts), rule.kind)}
    if rule.kind in ("codes", "codes_under_age"):
        named = dict.fromkeys(reference.label(lst, c) for f in facts for lst, c in _codes_in(f, rule))
        found["what"] = ", ".join(x[:1].lower() + x[1:] for x in named)
    elif rule.kind == "graded_while":
        found["status"] = "on a child protection plan" if _plan(facts) else "looked after"
        at = max((f.occurred_at for f in facts if f.record == "MissingEpisodeGraded"), default=facts[-1].occurred_at)
        # a child who was away already when the status began
        found["date"] = day(midnight(since) if (since := _since(facts)) > local_date_of(at) else at)
    elif rule.kind == "absence":
        worst = _worst(facts)
        found |= {"rate": round(rate(worst)), "weeks": weeks(worst)}
    elif rule.kind == "no_provision":
        found["count"] = next((at_least for at_least, p in rule.tiers if p == points), 0)
    return found


def _times(count: int, kind: str) -> object:
    if kind != "missing_count":
        return count
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _sorted(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(sorted({(f.agency, f.event_id): f for f in facts}.values(), key=in_time))


def _graded_while(rule: Rule, s: Situation) -> Hit | None:
    line = s.line(rule, _graded)
    first, last = s.within(line.ats, rule.window_days)
    if first == last:
        return None
    found: list[Fact] = []
    statuses = by_begin(s.known)
    for fact in line.facts[first:last]:
        since, upto = s.missing.days(fact, s.today)
        if upto >= s.today:  # away still: tomorrow is looked at, too
            s.ahead(next_midnight(s.today))
        if held := status_facts(statuses, s.plans(since), since, upto, rule.statuses):
            found += [fact, *held]
    return Hit(rule, found, 0) if found else None


def _graded(rule: Rule, fact: Fact, _: Situation) -> int | None:
    return _told(fact) if fact.body["grade"] in rule.codes else None


def _since(held: Iterable[Fact]) -> str:
    """The first day of the statuses and plans among these; empty when that is not known."""
    told = [begins(f) for f in held if f.record == "SocialCareStatus"]
    told += [str(f.body.get("start_date") or "") for f in held if f.record == "CpisStatusChanged"]
    return min(told, default="")


def _plan(held: Iterable[Fact]) -> bool:
    return any("CP" in (f.body.get("status"), PLANNED.get(f.body.get("plan_type", ""))) for f in held)


def _recent_episodes(rule: Rule, s: Situation) -> list[Episode]:
    first, _ = s.within(s.missing.starts, rule.window_days)
    return s.missing.every[first:]


def _first(episodes: Iterable[Episode]) -> list[Fact]:
    """One fact an episode, of who told it first: two tellings of one absence are not two agencies' signals."""
    return [min(e.begun, key=in_time) for e in episodes]


def _missing_count(rule: Rule, s: Situation) -> Hit | None:
    found = _recent_episodes(rule, s)
    points = rule.tier(len(found))
    return Hit(rule, _first(found), points) if points else None


def _missing_overnight(rule: Rule, s: Situation) -> Hit | None:
    found = [e for e in _recent_episodes(rule, s) if e.overnight]
    return Hit(rule, _first(found), rule.points) if found else None


def _missing_repeat(rule: Rule, s: Situation) -> Hit | None:
    gap = rule.within_days * DAY_US
    found = []
    for e in _recent_episodes(rule, s):
        returns = bisect_right(s.missing.ends, e.started_at) - bisect_left(s.missing.ends, e.started_at - gap)
        own = e.ended_at is not None and 0 <= e.started_at - e.ended_at <= gap  # told as ended before it began
        if returns > own:
            found.append(e)
    return Hit(rule, _first(found), rule.points) if found else None


def _interview(rule: Rule, s: Situation) -> Hit | None:
    first, _ = s.within(s.missing.ends, rule.window_days)
    found = [e for e in s.missing.ended[first:] if e.clock in rule.states]
    facts = [f for e in found for f in (*(f for x in e.strands for f in x.ends), *(f for i in e.interviews for f in i.facts))]
    return Hit(rule, facts, rule.points) if facts else None


def _count(rule: Rule, s: Situation) -> Hit | None:
    line = s.line(rule, lambda _, fact, __: happened(fact))
    first, last = s.within(line.ats, rule.window_days)
    points = rule.tier(last - first)
    return Hit(rule, line.facts[first:last], points, line.ats[first:last]) if points else None


def _absence(rule: Rule, s: Situation) -> Hit | None:
    """Points by the worst; every absence that reaches a tier is a signal: an older one must not hide a recent one."""
    line = s.line(rule, _absent)
    first, last = s.within(line.ats, rule.window_days)
    if first == last:
        return None
    found = line.facts[first:last]
    return Hit(rule, found, rule.tier(rate(_worst(found))), line.ats[first:last])


def _absent(rule: Rule, fact: Fact, _: Situation) -> int | None:
    return happened(fact) if fact.body["sessions_possible"] >= SESSIONS_MIN and rule.tier(rate(fact)) else None


def _worst(absences: Iterable[Fact]) -> Fact:
    """The highest rate; of equal ones the latest."""
    return max(absences, key=lambda f: (rate(f), in_time(f)))


def _no_provision(rule: Rule, s: Situation) -> Hit | None:
    days = s.reference.register.calendars[SCHOOL_DAYS]
    best: tuple[int, Gap] | None = None
    for gap in sorted(s.gaps(), key=lambda gap: (gap.fact.body["from_date"], gap.fact.agency)):
        if best is not None and days_from(gap.fact.body["from_date"], s.today, days) <= best[0]:
            break  # no span that began as late as this is longer
        count = school_days(gap, s.today, days)
        if best is None or count > best[0]:
            best = (count, gap)
    if best is None:
        return None
    count, gap = best
    if gap.last is not None or any(count < at_least for at_least, _ in rule.tiers):  # or it stays the longest, and gives no more
        s.ahead(next_midnight(s.today))
    points = rule.tier(count)
    return Hit(rule, (gap.fact,), points) if points else None


def _corroboration(rule: Rule, s: Situation) -> Hit | None:
    """The most agencies whose signals lie within `within_days` of one another, and every signal that is part of such a span."""
    window, span = rule.window_days * DAY_US, rule.within_days * DAY_US
    ordered = s.signals(s.known.as_of - window)
    ats, facts = [at for at, _ in ordered], [f for _, f in ordered]
    if ats:
        s.ahead(ats[0] + window)
    inside: dict[str, int] = {}
    found: list[Fact] = []
    most = upto = given = 0
    for n, at in enumerate(ats):
        before, upto = upto, bisect_right(ats, at + span, upto)
        for fact in facts[before:upto]:
            inside[fact.agency] = inside.get(fact.agency, 0) + 1
        if upto > before and len(inside) > 1:
            most = max(most, len(inside))
            found += facts[max(n, given) : upto]
            given = upto
        own = facts[n].agency
        inside[own] -= 1
        if not inside[own]:
            del inside[own]
    points = rule.tier(most)
    return Hit(rule, found, points) if points else None


MATCHERS: Final[Mapping[str, Callable[[Rule, Situation], Hit | None]]] = {
    "codes": _codes, "codes_under_age": _codes, "graded_while": _graded_while, "missing_count": _missing_count,
    "missing_overnight": _missing_overnight, "missing_repeat": _missing_repeat, "interview": _interview, "count": _count,
    "absence": _absence, "no_provision": _no_provision, "corroboration": _corroboration,
}  # fmt: skip
