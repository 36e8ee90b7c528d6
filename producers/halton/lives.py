"""One child's span of time, told by everybody who meets the child."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.times import DAY_US, HOUR_US, LONDON, local, to_us
from producers.halton import missing, rates, signals
from producers.halton.agencies import Desk
from producers.halton.careers import CPIS, YEAR_US, Career, tell_career
from producers.halton.facts import Scribe
from producers.halton.notice import TEENS
from producers.halton.population import rng_of

HALF_TERM_ENDS: Final = ((2, 14), (3, 28), (5, 23), (7, 18), (10, 24), (12, 19))
"""Month and day: when schools report the half term's attendance."""


def live_through(seed: int, career: Career, start: int, end: int) -> Scribe:
    """Everything said about a child in [start, end) µs UTC; what follows from it may arrive after `end`."""
    child = career.child
    desk = Desk(seed, child, since=start)
    scribe = Scribe(seed, child, rng_of(seed, "life", child.id), desk=desk, opens_at=start)
    if career.spells:
        tell_career(scribe, career, start, end)
        _signals(scribe, career, start, end)
    if career.contact:
        _contact(scribe, career.contact, start, end)
    if career.missing:
        _missing(scribe, career, start, end)
    return scribe


def _contact(scribe: Scribe, kind: str, start: int, end: int) -> None:
    at = scribe.rng.randrange(start, end)
    if kind == "police":
        signals.vpas(scribe, at)
    else:
        signals.school_concern(scribe, _hours(scribe, at, end))


def _missing(scribe: Scribe, career: Career, start: int, end: int) -> None:
    rng, back = scribe.rng, start
    looked_after = career.status_at(start + 30 * DAY_US) == "LAC"
    if looked_after and rng.random() < rates.RHI_KNOWS_LA_ID:
        scribe.desk.knows["rhi"] = {"la_child_id": scribe.desk.card("csc", start)["la_child_id"]}
    times = missing.episode_times(rng, career.missing, start, end)
    for at, following in zip(times, [*times[1:], end + 7 * DAY_US], strict=True):
        back = missing.absent(scribe, max(at, back + HOUR_US), looked_after=looked_after, until=following)


def _signals(scribe: Scribe, career: Career, start: int, end: int) -> None:
    child, rng = scribe.child, scribe.rng
    age = child.age_at(local(max(start, career.spells[0].since)).date())
    absent = child.school is not None and rng.random() < rates.PERSISTENT_ABSENCE
    for spell in (s for s in career.spells if s.status != "CLOSED"):
        since, until = max(spell.since, start), min(spell.until, end)
        for at in _moments(scribe, rates.VPAS_OPEN, since, until):
            signals.vpas(scribe, at)
        for at in _moments(scribe, rates.CONCERN_OPEN if child.school else 0, since, until):
            signals.school_concern(scribe, _hours(scribe, at, end))
        for at in _half_terms(since, until) if absent else ():
            signals.absence(scribe, at, 6, min(0.9, max(0.1, rng.gauss(0.22, 0.14))))
        if spell.status in CPIS:
            _attendances(scribe, spell.status, since, until)
    first, last = max(career.spells[0].since, start), min(career.spells[-1].until, end)
    if child.school:
        for at in _moments(scribe, rates.NO_PROVISION, first, last)[:1]:
            signals.no_provision(scribe, at, end)
    _services(scribe, career, age, first, end)
    if career.exploited and last - first > 60 * DAY_US:
        _exploited(scribe, first, last)


def _attendances(scribe: Scribe, status: str, since: int, until: int) -> None:
    for n, at in enumerate(_moments(scribe, rates.CPIS_ALERTS / (rates.CP + rates.LAC), since, until)):
        signals.cpis_alert(scribe, at, status, n)


def _services(scribe: Scribe, career: Career, age: int, since: int, end: int) -> None:
    rng = scribe.rng
    at = min(since + rng.randrange(5, 60) * DAY_US, end - 1)
    if age >= 8 and rng.random() < 0.12:
        signals.involvement(scribe, "health", "CAMHS", at)
    elif age < 5 and rng.random() < 0.4:
        signals.involvement(scribe, "health", "HEALTH_VISITING", at)
    elif scribe.child.school and rng.random() < 0.12:
        signals.involvement(scribe, "health", "SCHOOL_NURSING", at)
    elif age >= TEENS and rng.random() < 0.04:
        signals.involvement(scribe, "health", "SUBSTANCE_MISUSE", at)
    for agency, service, held in (("yjs", "YJS", career.yjs), ("probation", "PROBATION", career.probation)):
        if held:
            signals.involvement(scribe, agency, service, at)
            signals.worker(scribe, agency, at)
            signals.risk_graded(scribe, agency, at, rng.choice(("LOW", "MEDIUM", "MEDIUM", "HIGH")), scale="REOFFENDING")


def _exploited(scribe: Scribe, since: int, until: int) -> None:
    """Social care and police grade exploitation, each for itself (R6); CSOG discusses every third such child more than once."""
    rng = scribe.rng
    at = rng.randrange(since, until - 50 * DAY_US)
    grade = rng.choice(("LOW", "MEDIUM", "MEDIUM", "HIGH"))
    signals.risk_graded(scribe, "csc", at, grade)
    other = grade if rng.random() < 0.7 else {"LOW": "MEDIUM", "MEDIUM": "HIGH", "HIGH": "MEDIUM"}[grade]
    signals.risk_graded(scribe, "police", at + rng.randrange(10 * DAY_US), other)
    if rng.random() < 0.5:
        lower = {"LOW": "LOW", "MEDIUM": "LOW", "HIGH": "MEDIUM"}[grade]
        signals.risk_graded(scribe, "csc", until - rng.randrange(1, 20) * DAY_US, lower, previous=grade)
    for n in range(rng.choice((0, 1, 1, 2))):
        held = _hours(scribe, at + (10 + 42 * n) * DAY_US, until)
        if held < until:
            signals.csog_outcome(scribe, held, grade, n + 1)


def _moments(scribe: Scribe, a_year: float, since: int, until: int) -> list[int]:
    """Instants at random, `a_year` on average, in [since, until)."""
    out: list[int] = []
    at = since
    while a_year:
        at += round(scribe.rng.expovariate(a_year) * YEAR_US) + 1
        if at >= until:
            break
        out.append(at)
    return out


def _hours(scribe: Scribe, at: int, end: int) -> int:
    """`at` moved into school hours, or left as it is when that would reach past `end`."""
    moved = signals.in_hours(scribe.rng, at)
    return moved if moved < end else at


def _half_terms(since: int, until: int) -> Iterator[int]:
    for year in range(local(since).year, local(until).year + 1):
        for month, day in HALF_TERM_ENDS:
            at = to_us(
                local(since).replace(
                    year=year, month=month, day=day, hour=15, minute=30, second=0, microsecond=0, fold=0, tzinfo=LONDON
                )
            )
            if since + 14 * DAY_US <= at < until:
                yield at
