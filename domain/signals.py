"""The kinds of rule: each finds, in what is known, the facts a rule rests on, its points now, and when that changes by itself.

A window is open while `as_of < happened + window`. A harm trigger of a live fact runs from when it was told, if that is
later: a disclosure told late is still told (R1). Of an imported (historic) fact it runs from when it happened.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from domain.chronology import day
from domain.education import SCHOOL_DAYS, gaps, rate, school_days, weeks
from domain.identity_view import latest_birth_date
from domain.involvement import status_facts
from domain.missing import Episode
from domain.model import Fact
from domain.policy import LISTS, Policy, Reference, Rule
from domain.selection import Known, happened
from domain.times import DAY_US, local_date_of

SESSIONS_MIN: Final = 10
"""An absence rate needs a school week of sessions: one missed day alone is not a rate."""


@dataclass(slots=True)
class Situation:
    """What rules look at. `changes` collects instants after `as_of` at which some rule may answer differently."""

    known: Known
    episodes: list[Episode]
    today: str
    reference: Reference
    changes: list[int] = field(default_factory=list)
    signals: list[tuple[int, Fact]] = field(default_factory=list)
    coded: dict[str, list[tuple[Fact, frozenset[str]]]] = field(default_factory=dict)

    def ahead(self, at: int) -> bool:
        """Is the instant still ahead of `as_of`? Then it is when something changes."""
        if at > self.known.as_of:
            self.changes.append(at)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds: on which facts, and with how many points (harm triggers have none)."""

    rule: Rule
    facts: tuple[Fact, ...]
    points: int

    @property
    def agencies(self) -> list[str]:
        """The agencies behind it, in alphabetical order."""
        return sorted({f.agency for f in self.facts})


def hits(situation: Situation, policy: Policy) -> list[Hit]:
    """Every rule that holds, harm triggers first, in the policy's order."""
    found = []
    for rule in policy.asked(frozenset(situation.known.current)):
        hit = MATCHERS[rule.kind](rule, situation)
        if hit is not None:
            found.append(hit)
            if rule.signal:
                situation.signals += [(happened(f), f) for f in hit.facts]
    return found


def _codes_in(fact: Fact, rule: Rule) -> list[tuple[str, str]]:
    """(code list, code) for each code of the fact that the rule looks for; every code when it lists none."""
    return [
        (LISTS[name], code)
        for name in rule.records.get(fact.record, ())
        for code in fact.body.get(name) or ()
        if not rule.codes or code in rule.codes
    ]


def _coded(record: str, s: Situation) -> list[tuple[Fact, frozenset[str]]]:
    """The record's facts that name any code at all, with all of them: most rules then need one look."""
    found = s.coded.get(record)
    if found is None:
        names = s.reference.records[record].coded
        s.coded[record] = found = [(f, named) for f in s.known.current[record] if (named := _named(f, names))]
    return found


def _named(fact: Fact, names: tuple[str, ...]) -> frozenset[str]:
    """Every code in these fields of a fact: kept with it, as the fields that rules look at are the contract's."""
    kept: tuple[tuple[str, ...], frozenset[str]] | None = fact.memo.get("coded")
    if kept is None or kept[0] is not names:
        kept = fact.memo["coded"] = (names, frozenset(c for n in names for c in fact.body.get(n) or ()))
    return kept[1]


def _codes(rule: Rule, s: Situation) -> Hit | None:
    recent: list[Fact] = []
    older: list[Fact] = []
    current = s.known.current
    for record in rule.records:
        for fact, named in _coded(record, s) if record in current else ():
            if rule.codes and rule.codes.isdisjoint(named):
                continue
            if not _codes_in(fact, rule) or (rule.age_under and not _under(fact, rule, s)):
                continue
            since = happened(fact)
            if rule.trigger and not fact.historic:
                since = max(since, fact.accepted_at)
            if s.ahead(since + rule.window_days * DAY_US):
                recent.append(fact)
            elif rule.older_points and s.ahead(since + rule.older_days * DAY_US):
                older.append(fact)
    found = recent or older
    if not found:
        return None
    return Hit(rule, _sorted(found), rule.points if recent else rule.older_points)


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
        found["date"] = day(
            max((f.occurred_at for f in facts if f.record == "MissingEpisodeGraded"), default=facts[-1].occurred_at)
        )
    elif rule.kind == "absence":
        found |= {"rate": round(rate(facts[-1])), "weeks": weeks(facts[-1])}
    elif rule.kind == "no_provision":
        found["count"] = next((at_least for at_least, p in rule.tiers if p == points), 0)
    return found


def _times(count: int, kind: str) -> object:
    if kind != "missing_count":
        return count
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _sorted(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(sorted({(f.agency, f.event_id): f for f in facts}.values(), key=lambda f: (f.occurred_at, f.event_id, f.agency)))


def _graded_while(rule: Rule, s: Situation) -> Hit | None:
    graded = []
    for fact in s.known.current.get("MissingEpisodeGraded", ()):
        if fact.body["grade"] in rule.codes:
            since = happened(fact) if fact.historic else max(happened(fact), fact.accepted_at)
            if s.ahead(since + rule.window_days * DAY_US):
                graded.append(fact)
    if not graded:
        return None
    held = status_facts(s.known, s.today, rule.statuses)
    if not held:
        return None
    return Hit(rule, _sorted([*graded, *held]), 0)


def _plan(held: Iterable[Fact]) -> bool:
    return any(f.body.get("status") == "CP" or f.body.get("plan_type") in ("CPPI", "UCPI") for f in held)


def _recent_episodes(rule: Rule, s: Situation) -> list[Episode]:
    return [e for e in s.episodes if s.ahead(e.started_at + rule.window_days * DAY_US)]


def _first(episodes: Iterable[Episode]) -> list[Fact]:
    """One fact an episode, of who told it first: two tellings of one absence are not two agencies' signals."""
    return [min(e.begun, key=lambda f: (f.occurred_at, f.event_id)) for e in episodes]


def _missing_count(rule: Rule, s: Situation) -> Hit | None:
    found = _recent_episodes(rule, s)
    points = rule.tier(len(found))
    return Hit(rule, _sorted(_first(found)), points) if points else None


def _missing_overnight(rule: Rule, s: Situation) -> Hit | None:
    found = [e for e in _recent_episodes(rule, s) if e.overnight]
    return Hit(rule, _sorted(_first(found)), rule.points) if found else None


def _missing_repeat(rule: Rule, s: Situation) -> Hit | None:
    gap = rule.within_days * DAY_US
    ends = sorted(p.ended_at for p in s.episodes if p.ended_at is not None)
    found = []
    for e in _recent_episodes(rule, s):
        returns = bisect_right(ends, e.started_at) - bisect_left(ends, e.started_at - gap)
        own = e.ended_at is not None and 0 <= e.started_at - e.ended_at <= gap  # told as ended before it began
        if returns > own:
            found.append(e)
    return Hit(rule, _sorted(_first(found)), rule.points) if found else None


def _interview(rule: Rule, s: Situation) -> Hit | None:
    found = [
        e
        for e in s.episodes
        if e.ended_at is not None and s.ahead(e.ended_at + rule.window_days * DAY_US) and e.clock in rule.states
    ]
    facts = [f for e in found for f in (*(f for x in e.strands for f in x.ends), *(f for i in e.interviews for f in i.facts))]
    return Hit(rule, _sorted(facts), rule.points) if facts else None


def _count(rule: Rule, s: Situation) -> Hit | None:
    found = [
        f for record in rule.records for f in s.known.current.get(record, ()) if s.ahead(happened(f) + rule.window_days * DAY_US)
    ]
    points = rule.tier(len(found))
    return Hit(rule, _sorted(found), points) if points else None


def _absence(rule: Rule, s: Situation) -> Hit | None:
    found = [
        f
        for f in s.known.current.get("SchoolAbsence", ())
        if f.body["sessions_possible"] >= SESSIONS_MIN and s.ahead(happened(f) + rule.window_days * DAY_US)
    ]
    if not found:
        return None
    worst = max(found, key=lambda f: (rate(f), f.occurred_at, f.event_id))
    points = rule.tier(rate(worst))
    return Hit(rule, (worst,), points) if points else None


def _no_provision(rule: Rule, s: Situation) -> Hit | None:
    days = s.reference.register.calendars[SCHOOL_DAYS]
    best: tuple[int, Fact] | None = None
    for fact, last in gaps(s.known):
        if last is not None and last < s.today:
            continue
        count = school_days(fact, last, s.today, days)
        if best is None or count > best[0]:
            best = (count, fact)
    points = rule.tier(best[0]) if best else 0
    if best is None or not points:
        return None
    return Hit(rule, (best[1],), points)


def _corroboration(rule: Rule, s: Situation) -> Hit | None:
    """The most agencies whose signals lie within `within_days` of one another, and every signal that is part of such a span."""
    seen = {(f.agency, f.event_id): (at, f) for at, f in s.signals if at + rule.window_days * DAY_US > s.known.as_of}
    ordered = sorted(seen.values(), key=lambda x: (x[0], x[1].event_id, x[1].agency))
    span, most = rule.within_days * DAY_US, 0
    facts: list[Fact] = []
    for n, (at, _) in enumerate(ordered):
        inside = [f for t, f in ordered[n:] if t - at <= span]
        agencies = {f.agency for f in inside}
        if len(agencies) > 1:
            most = max(most, len(agencies))
            facts += inside
    for at, _ in ordered:
        s.ahead(at + rule.window_days * DAY_US)
    points = rule.tier(most)
    return Hit(rule, _sorted(facts), points) if points else None


MATCHERS: Final[Mapping[str, Callable[[Rule, Situation], Hit | None]]] = {
    "codes": _codes, "codes_under_age": _codes, "graded_while": _graded_while, "missing_count": _missing_count,
    "missing_overnight": _missing_overnight, "missing_repeat": _missing_repeat, "interview": _interview, "count": _count,
    "absence": _absence, "no_provision": _no_provision, "corroboration": _corroboration,
}  # fmt: skip
