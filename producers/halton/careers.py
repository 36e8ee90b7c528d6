"""A child's way through social care, and what every agency says on the way. Spells are [from, to) in µs UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from domain.times import DAY_US, HOUR_US, local_date_of
from producers.halton import rates
from producers.halton.facts import Scribe
from producers.halton.population import HALTON, OTHER_LAS, PRACTICES, Child, new_address, weighted
from producers.halton.signals import LA_CONTACT, WORKERS, school_concern, vpas

YEAR_US: Final = 365 * DAY_US
TEAMS: Final = {"EARLY_HELP": "Early help", "CIN": "Children in need", "CP": "Child protection", "LAC": "Children in care"}
CPIS: Final = {"CP": "CPPI", "LAC": "LACI"}
OPEN: Final = ("EARLY_HELP", "CIN", "CP", "LAC")


@dataclass(frozen=True, slots=True)
class Spell:
    """A status from one instant to another (µs UTC)."""

    status: str
    since: int
    until: int


@dataclass(slots=True)
class Career:
    """A child known to somebody: spells with social care in the span, and what else shapes the child's year."""

    child: Child
    spells: list[Spell] = field(default_factory=list)
    missing: int = 0
    contact: str | None = None
    yjs: bool = False
    probation: bool = False
    exploited: bool = False

    def status_at(self, at: int) -> str | None:
        """The status at `at` (µs UTC); None when not open to social care."""
        return next((s.status for s in self.spells if s.since <= at < s.until and s.status != "CLOSED"), None)


def spells(rng: Random, status: str, since: int, start: int, end: int) -> list[Spell]:
    """The spells of a child whose first one, `status`, began at `since`; they go on until `end`. Nothing ends before `start`."""
    out: list[Spell] = []
    while status != "CLOSED" and since < end:
        length = round(rng.expovariate(rates.LEAVE_A_YEAR[status]) * YEAR_US)
        until = max(since, start) + max(length, 3 * DAY_US)
        until -= until % DAY_US - 10 * HOUR_US - rng.randrange(6 * HOUR_US)
        out.append(Spell(status, since, until))
        status, since = weighted(rng, rates.NEXT_STATUS[status]), until
    if status == "CLOSED" and since < end:
        out.append(Spell(status, since, end + YEAR_US))
    return out


def tell_career(scribe: Scribe, career: Career, start: int, end: int) -> None:
    """What social care and health say about a child's spells: status, worker, CP-IS, practice; and what led to the referral."""
    placed_in = _placed_in(scribe, career)
    for n, spell in enumerate(career.spells):
        if spell.since >= end:
            break
        first = n == 0
        if first and spell.since >= start:
            _referral(scribe, spell.since)
        _status(scribe, spell, placed_in)
        if spell.status != "CLOSED":
            _worker(scribe, spell, start, end, always=first or career.spells[n - 1].status == "EARLY_HELP")
        if first:
            _practice(scribe, spell.since, start, end, placed_in is not None)
        _cpis(scribe, spell, end, placed_in)
        if first and scribe.rng.random() < rates.MOVES:
            _move(scribe, max(spell.since, start), end)


def _placed_in(scribe: Scribe, career: Career) -> tuple[str, str] | None:
    """The authority that placed the child here, for some looked-after children; their number and practice come from there."""
    if career.spells[0].status != "LAC" or scribe.rng.random() >= rates.PLACED_IN:
        return None
    code, name = scribe.rng.choice(OTHER_LAS)
    scribe.desk.knows["csc"] = {"la_child_id": f"{code}-{scribe.rng.randrange(10**6, 10**7)}"}
    return code, name


def _referral(scribe: Scribe, at: int) -> None:
    roll, before = scribe.rng.random(), at - scribe.rng.randrange(1, 6) * DAY_US
    if roll < rates.REFERRED_BY_POLICE:
        vpas(scribe, before)
    elif roll < rates.REFERRED_BY_POLICE + rates.REFERRED_BY_SCHOOL and scribe.child.school:
        school_concern(scribe, before)


def _status(scribe: Scribe, spell: Spell, placed_in: tuple[str, str] | None) -> None:
    rng = scribe.rng
    body = {"status": spell.status, "from_date": local_date_of(spell.since), "team": TEAMS.get(spell.status)}
    if spell.status == "CP":
        body["cp_category"] = weighted(
            rng, (("NEGLECT", 0.48), ("EMOTIONAL", 0.36), ("PHYSICAL", 0.08), ("SEXUAL", 0.05), ("MULTIPLE", 0.03))
        )
    if spell.status == "LAC":
        body["legal_status"] = weighted(rng, (("C2", 0.55), ("C1", 0.2), ("V2", 0.2), ("E1", 0.05)))
        body["placing_la"] = placed_in[1] if placed_in else None
    scribe.say("csc", "SocialCareStatus", spell.since, body)


def _worker(scribe: Scribe, spell: Spell, start: int, end: int, *, always: bool) -> None:
    rng = scribe.rng
    if always or rng.random() < rates.WORKER_CHANGE:
        _allocate(scribe, spell.since + rng.randrange(2 * DAY_US), spell.status)
    change = max(spell.since, start) + round(rng.expovariate(rates.WORKER_CHANGE) * YEAR_US)
    if change < min(spell.until, end):
        _allocate(scribe, change, spell.status)


def _allocate(scribe: Scribe, at: int, status: str) -> None:
    role = "EARLY_HELP_WORKER" if status == "EARLY_HELP" else "SOCIAL_WORKER"
    body = {"worker_role": role, "worker_name": scribe.rng.choice(WORKERS), "team": TEAMS[status], "contact": LA_CONTACT}
    scribe.say("csc", "WorkerAllocated", at, body | {"from_date": local_date_of(at)})


def _practice(scribe: Scribe, since: int, start: int, end: int, placed_in: bool) -> None:
    """Health says which practice a child known to social care is registered with, and when that changes."""
    rng, desk = scribe.rng, scribe.desk
    before, known = desk.practice_at(since), max(since, start)
    registered = since - rng.randrange(30, 900) * DAY_US
    registered_from = max(local_date_of(registered), scribe.child.born.isoformat())
    scribe.say("health", "GpRegistration", known, {"practice_ods": before, "registered_from": registered_from})
    change = known + round(rng.expovariate(rates.GP_CHANGE * (3 if placed_in else 1)) * YEAR_US)
    if change < end:
        after = rng.choice([p for p in PRACTICES if p != before])
        desk.register(change, after)
        body = {"practice_ods": after, "previous_ods": before, "registered_from": local_date_of(change)}
        scribe.say("health", "GpRegistration", change, body)


def _cpis(scribe: Scribe, spell: Spell, end: int, placed_in: tuple[str, str] | None) -> None:
    if spell.status not in CPIS:
        return
    code, name = (placed_in if spell.status == "LAC" else None) or (HALTON, "Halton")
    contact = LA_CONTACT if name == "Halton" else f"{name} children's services, 0151 496 0999"
    body = {
        "plan_type": CPIS[spell.status], "start_date": local_date_of(spell.since), "la_code": code, "la_name": name,
        "la_contact": contact, "source_ref": f"CPIS-{scribe.new_id()[:13]}",
    }  # fmt: skip
    scribe.say("health", "CpisStatusChanged", spell.since, body)
    if spell.until < end:
        scribe.say("health", "CpisStatusChanged", spell.until, body | {"end_date": local_date_of(spell.until)})


def _move(scribe: Scribe, since: int, end: int) -> None:
    if since + 30 * DAY_US < end:
        scribe.desk.move(scribe.rng.randrange(since + 20 * DAY_US, end), new_address(scribe.rng))
