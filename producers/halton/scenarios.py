"""Stories with a known point, each a pure function of a seed and an instant: usable alone, in any order of arrival.

`at` (µs UTC) is when the story's decisive fact arrives; everything before lies in the past of that instant. `today` fixes the
children's ages when one story is told twice at different instants (`Borough`); it is the day of `at` when left out.
Event ids depend on the seed and the order of telling alone, never on `at`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from domain.times import DAY_US, HOUR_US, SECOND_US, local, local_date_of
from producers.halton import missing, numbers, signals
from producers.halton.agencies import Desk
from producers.halton.facts import MINUTE_US, Scribe, SimulatedFact
from producers.halton.names import TWINS
from producers.halton.population import OTHER_LAS, PRACTICES, PRACTICES_ELSEWHERE, Child, invent, rng_of

STEP_US: Final = 4 * HOUR_US
"""Between the steps of a story that goes on after `at`."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story: its facts by arrival, the true children, and the keys of the facts that make its point, in order of happening."""

    label: str
    facts: tuple[SimulatedFact, ...]
    children: tuple[Child, ...]
    points: tuple[str, ...]


def r19(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """The child of the inspectors' case study (R19): five weak signals from school and police within 24 days on an open CIN.

    School: absence of 12 % or more, weight loss, unsuitable adults. Police: bad housing, crime; last of all the crime, at `at`.
    Social care and school share a checked UPN, name and birth date. Police know name, birth date and an old address: their facts
    join by a confirmed match only. None of the five is a harm trigger.
    """
    del step_us
    scribe = _scribe(seed, "r19", 14, today or _day(at))
    rng = scribe.rng
    _known(scribe, at, "CIN", rng.randrange(200, 400))
    days = [0]
    for _ in range(4):
        days.append(days[-1] + rng.randrange(3, 7))
    crime, adults, housing, weight, away = (at - d * DAY_US - rng.randrange(1, 9) * HOUR_US * (d > 0) for d in days)
    told = [
        signals.absence(scribe, _before(away), 6, rng.uniform(0.12, 0.45), **_prompt(away)),
        signals.school_concern(scribe, _before(weight), ["WEIGHT_LOSS"], **_prompt(weight)),
        signals.vpas(scribe, _before(housing), ["BAD_HOUSING"], **_prompt(housing)),
        signals.school_concern(scribe, _before(adults), ["UNSUITABLE_ADULTS"], **_prompt(adults)),
        signals.vpas(scribe, _before(crime), ["CRIME_SUSPECT"], **_prompt(crime)),
    ]
    return _scenario("r19", [scribe], told)


def twins(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """Twins: one birth date, family name, address and school; given names near, NHS numbers consecutive.

    At `at` a hospital alert about the second twin arrives under the first one's NHS number: it must not land on the first.
    """
    del step_us
    rng = rng_of(seed, "twins", "names")
    first, second, sex = rng.choice(TWINS)
    if rng.random() < 0.5:
        first, second = second, first
    a, b = (_child(seed, "twins", 12, today or _day(at), member=m, sex=sex) for m in (0, 1))
    a = replace(a, given=first, twin=b.id)
    shared: dict[str, Any] = {
        name: getattr(a, name)
        for name in ("family", "sex", "born", "address", "address_before", "practice", "school", "ethnicity")
    }
    b = replace(b, given=second, twin=a.id, **shared)
    both = [_scribe_of(seed, "twins", child) for child in (a, b)]
    for n, scribe in enumerate(both):
        _known(scribe, at, "CP", 120)
        _cpis(scribe, at - 118 * DAY_US, "CPPI")
        signals.school_concern(scribe, _before(at - (9 + n) * DAY_US), ["CHANGE_IN_BEHAVIOUR"], **_prompt(at - (9 + n) * DAY_US))
    seen = signals.vpas(both[0], _before(at - 5 * DAY_US), ["DOMESTIC_ABUSE"], **_prompt(at - 5 * DAY_US))
    other_desk = both[1].desk.card("health", at)
    mistyped = other_desk | {"local_id": other_desk["local_id"] + "T", "nhs_number": a.nhs}
    alert = signals.cpis_alert(both[1], _before(at), "CP", subject=mistyped, **_prompt(at))
    return _scenario("twins", both, [seen, alert])


def placed_in(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """A child looked after by another authority and placed here, registered with a practice there, reported missing at `at`.

    Graded medium at once, back after two steps, interview offered after three and held after four.
    """
    code, name = rng_of(seed, "placed", "la").choice(OTHER_LAS)
    child = _child(seed, "placed", 15, today or _day(at))
    child = replace(child, home_la=code, placing_la=name, practice=rng_of(seed, "placed", "gp").choice(PRACTICES_ELSEWHERE))
    scribe = _scribe_of(seed, "placed", child)
    _known(scribe, at, "LAC", scribe.rng.randrange(20, 60), legal_status="C2", placing_la=name)
    _cpis(scribe, at - 20 * DAY_US, "LACI", la_code=code, la_name=name)
    opened = missing.report(scribe, _before(at), at - 5 * HOUR_US, **_prompt(at))
    graded = missing.grade_episode(scribe, opened, _before(at + step_us), "MEDIUM", **_prompt(at + step_us))
    ended = missing.end(scribe, opened, _before(at + 2 * step_us), "FRIENDS", **_prompt(at + 2 * step_us))
    offered = missing.offer(scribe, opened, _before(at + 3 * step_us), **_prompt(at + 3 * step_us))
    held = missing.complete(scribe, offered, _before(at + 4 * step_us), scope="PARTNERSHIP", **_prompt(at + 4 * step_us))
    return _scenario("placed", [scribe], [opened, graded, ended, offered, held])


def gp_change(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """A child changes practice while CSOG deals with them: outcome at `at`, the change a step later, the next outcome after two.

    The first message belongs to the old practice until the change, then it is re-routed; the second belongs to the new one.
    """
    scribe = _scribe(seed, "gp", 15, today or _day(at))
    _known(scribe, at, "CIN", 90)
    signals.risk_graded(scribe, "csc", at - 30 * DAY_US, "MEDIUM", **_prompt(at - 29 * DAY_US))
    first = signals.csog_outcome(scribe, _before(at), "MEDIUM", 1, **_prompt(at))
    before = scribe.desk.practice_at(at)
    changed = _before(at + step_us)
    after = scribe.rng.choice([p for p in PRACTICES if p != before])
    scribe.desk.register(changed, after)
    body = {"practice_ods": after, "previous_ods": before, "registered_from": local_date_of(changed)}
    change = scribe.say("health", "GpRegistration", changed, body, **_prompt(at + step_us))
    second = signals.csog_outcome(scribe, changed + step_us, "HIGH", 2, **_prompt(at + 2 * step_us + MINUTE_US * 3))
    return _scenario("gp", [scribe], [first, change, second])


def high_on_plan(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """A child on a child protection plan is missing and graded high at `at`: a harm trigger (domain.md 2f).

    Youth justice hold the child's PNC id and UPN and police hold the PNC id, so police facts join by checked identifiers.
    """
    del step_us
    child = _child(seed, "high", 15, today or _day(at))
    child = replace(child, pnc=child.pnc or _pnc(child))
    scribe = _scribe_of(seed, "high", child)
    scribe.desk.knows["police"] |= {"pnc": child.pnc}
    scribe.desk.knows["yjs"] = {"pnc": child.pnc, "upn": child.upn}
    _known(scribe, at, "CP", 100, cp_category="NEGLECT")
    _cpis(scribe, at - 98 * DAY_US, "CPPI")
    signals.involvement(scribe, "yjs", "YJS", at - 60 * DAY_US, **_prompt(at - 59 * DAY_US))
    reported = at - 10 * SECOND_US
    opened = missing.report(scribe, _before(reported), at - 4 * HOUR_US, **_prompt(reported))
    graded = missing.grade_episode(scribe, opened, _before(at), "HIGH", **_prompt(at))
    return _scenario("high", [scribe], [opened, graded])


def found_with_exploiter(seed: int, at: int, today: date | None = None, step_us: int = STEP_US) -> Scenario:
    """A missing child in need is found at `at` with a suspected exploiter: a harm trigger, whoever the police think it is."""
    del step_us
    scribe = _scribe(seed, "found", 14, today or _day(at))
    _known(scribe, at, "CIN", 150)
    reported, graded = at - 20 * SECOND_US, at - 10 * SECOND_US
    opened = missing.report(scribe, _before(reported), at - 9 * HOUR_US, **_prompt(reported))
    grade = missing.grade_episode(scribe, opened, _before(graded), "MEDIUM", **_prompt(graded))
    ended = missing.end(scribe, opened, _before(at), "EXPLOITER", **_prompt(at))
    return _scenario("found", [scribe], [opened, grade, ended])


Teller = Callable[[int, int, date | None, int], Scenario]

SCENARIOS: Final[dict[str, Teller]] = {
    "r19": r19, "twins": twins, "placed": placed_in, "gp": gp_change, "high": high_on_plan, "found": found_with_exploiter,
}  # fmt: skip
"""Every scenario by label. A label's place is its slot of numbers (`population.invent`): add at the end."""


def _scenario(label: str, scribes: list[Scribe], points: list[SimulatedFact]) -> Scenario:
    facts = sorted((f for s in scribes for f in s.facts), key=lambda f: (f.arrives_at, f.key))
    return Scenario(label, tuple(facts), tuple(s.child for s in scribes), tuple(p.key for p in points))


def _day(at: int) -> date:
    return local(at).date()


def _child(seed: int, label: str, age: int, today: date, *, member: int = 0, sex: str | None = None) -> Child:
    return invent(seed, label, slot=list(SCENARIOS).index(label), member=member, age=age, today=today, sex=sex)


def _scribe(seed: int, label: str, age: int, today: date) -> Scribe:
    return _scribe_of(seed, label, _child(seed, label, age, today))


def _scribe_of(seed: int, label: str, child: Child) -> Scribe:
    """A scribe whose agencies make no slips: the story's point must not hang on chance."""
    strong = {"nhs_number": child.nhs, "nhs_number_status": "01", "upn": child.upn}
    old = {"pnc": None, "address_line": child.address_before.line, "postcode": child.address_before.postcode}
    desk = Desk(seed, child, faithful=True, knows={"csc": strong, "education": {"upn": child.upn}, "police": old})
    return Scribe(seed, child, rng_of(seed, "scenario", child.id), phase="scenario", label=label, desk=desk)


def _known(scribe: Scribe, at: int, status: str, days: int, **more: Any) -> None:
    """The child has been open to social care for `days` days before `at`; worker and practice are known."""
    since = at - days * DAY_US
    soon = _prompt(since + DAY_US)
    scribe.say("csc", "SocialCareStatus", since, {"status": status, "from_date": local_date_of(since), **more}, **soon)
    body = {
        "worker_role": "SOCIAL_WORKER",
        "worker_name": "A. Marsh",
        "contact": signals.LA_CONTACT,
        "from_date": local_date_of(since),
    }
    scribe.say("csc", "WorkerAllocated", since, body, **soon)
    body = {"practice_ods": scribe.child.practice, "registered_from": local_date_of(since - 700 * DAY_US)}
    scribe.say("health", "GpRegistration", since, body, **soon)


def _cpis(scribe: Scribe, since: int, plan: str, **more: Any) -> None:
    body = {
        "plan_type": plan,
        "start_date": local_date_of(since),
        "la_code": "876",
        "la_name": "Halton",
        "la_contact": signals.LA_CONTACT,
    }
    scribe.say("health", "CpisStatusChanged", since, body | more, **_prompt(since + DAY_US))


def _before(arrives_at: int) -> int:
    """When it happened, for a fact told within minutes."""
    return arrives_at - 3 * MINUTE_US


def _prompt(arrives_at: int) -> dict[str, Any]:
    """Recorded a minute before it arrives."""
    return {"recorded_at": arrives_at - MINUTE_US, "arrives_at": arrives_at}


def _pnc(child: Child) -> str:
    return numbers.pnc(child.born.year + 13, child.number % 10_000_000)
