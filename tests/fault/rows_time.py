"""Rows about time: clocks that are wrong, a practice long away, an outage longer than a due time (8, 19, 23)."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

import orjson
import psycopg

from consumers.clock import TICK_S
from domain.times import HOUR_US, SECOND_US
from tests.fault.compare import HARM_DUE_HOURS
from tests.fault.deeds import ENDING
from tests.fault.effects import owed
from tests.fault.evidence import views
from tests.fault.harness import House
from tests.fault.rows_workers import BUSY_MACHINE, WORKER_S
from tests.fault.story import tell
from tests.fault.trial import LEAST, Trial

SUNDAYS: Final = (datetime(2026, 10, 25, 0, 40, tzinfo=UTC), datetime(2027, 3, 28, 0, 40, tzinfo=UTC))
"""Twenty minutes before London's clocks go back, and before they go forward."""

QUARTER_US: Final = HOUR_US // 4
"""From what is said until it is looked at less than this passes on the machine."""

USES: Final = 4
"""In a tick the clock waits for the broker once at most, then it pauses: so many uses of its session hold a whole tick."""


def clock_skew(trial: Trial) -> None:
    """Row 8."""
    with trial.house("skew") as house:
        waves = house.story.waves(5)
        for wave, shift_us in zip(waves, (HOUR_US, -HOUR_US, 30 * 60 * SECOND_US, -90 * SECOND_US, 0), strict=True):
            house.shift(shift_us)  # each a step of the clock under running workers, forward and back
            with house.talking(wave, 80):
                house.resumes(f"clock at {shift_us // SECOND_US:+} s", time.monotonic(), WORKER_S)
            house.settle()
        house.reviewed(trial.oracle(house).people.answer)
        trial.suited(falls_due(house, 6 * HOUR_US), "nothing falls due")
        assert not falls_due(house, 5 * HOUR_US), "DUE: called overdue by a clock that went back"
        trial.holds(house, truth=False)  # an hour back, facts of the last hour are "ahead": the oracle has one clock
    for sunday in SUNDAYS:
        at = round(sunday.timestamp() * 1e6)
        story = tell(trial.seed, at // HOUR_US * HOUR_US, 60)
        with trial.house(f"sunday {sunday:%d %B}", story=story) as house:
            house.shift(at - time.time_ns() // 1000)
            turn_of_the_clocks(trial, house)


def turn_of_the_clocks(trial: Trial, house: House) -> None:
    """Facts, decisions and due times before and after 1:00 UTC of that Sunday: four hours are four hours."""
    rest, first = house.story.waves(2)  # the later half has what asks for a discussion
    before, answer = int(house.offset_file.read_text()), trial.oracle(house).people.answer
    house.publish(first)
    house.flush(first)
    house.reviewed(answer)
    house.people.decide(0.3)
    house.shift(before + HOUR_US)  # now it is after the change
    with house.talking(rest, 60):
        house.people.decide(0.3)
        house.resumes("the clocks changed", time.monotonic(), WORKER_S * BUSY_MACHINE)
    house.reviewed(answer)
    assert not falls_due(house, before + 4 * HOUR_US - QUARTER_US), "DUE: overdue within four hours"
    trial.suited(falls_due(house, before + 4 * HOUR_US + QUARTER_US), "nothing of before the change falls due")
    trial.suited(falls_due(house, before + 72 * HOUR_US), "nothing falls due after a working day")
    trial.holds(house, least=dict(LEAST) | {"accepted": 40})


def undecided(house: House) -> dict[str, int]:
    """The recommendations on which a decision is owed, with the instant by which.

    That is four hours after harm was first told, and never later for what is told after it. What the house says of working days,
    and of recommendations that were joined, is believed.
    """
    raised: dict[str, list[int]] = defaultdict(list)
    for about, at, data in house.rows("select about, accepted_at, data from conclusion where kind = 'recommended'"):
        said = orjson.loads(bytes(data))
        raised[about].append(at + HARM_DUE_HOURS * HOUR_US if said["basis"] == "HARM" else said["due_at"])
    found: dict[str, int] = {}
    for listed in (v["recommendations"] for v in views(house).values()):
        joined = any(r["state"] == "JOINED" for r in listed)
        found |= {
            r["recommendation_id"]: r["due_at"] if joined else min(raised[r["recommendation_id"]]) for r in listed if r["open"]
        }
    return found


def overdue(house: House) -> set[str]:
    """Recommendations that were called overdue."""
    return {a for (a,) in house.rows("select about from conclusion where kind = 'recommendation_overdue'")}


def falls_due(house: House, shift_us: int) -> set[str]:
    """Step the clock: what nobody has decided on in time is called overdue then, and nothing else. Which were, and not before."""
    owed, before = undecided(house), overdue(house)
    house.shift(shift_us)
    due = {r for r, at in owed.items() if at <= house.now_us()} - before
    house.wait("DUE: what fell due is called overdue", lambda: due <= overdue(house))
    ticked(house)
    house.settle()
    early = overdue(house) - before - {r for r, at in owed.items() if at <= house.now_us()}
    assert not early, f"DUE: called overdue too early: {sorted(early)[:3]}"
    return due


def ticked(house: House) -> None:
    """Wait until the clock has looked at its time at least once from now on, as its session in the database shows."""
    query = (
        "select extract(epoch from state_change)::float from pg_stat_activity "
        "where datname = current_database() and application_name = 'clock'"
    )
    used: list[float] = [float(house.rows("select extract(epoch from clock_timestamp())::float")[0][0])]

    def look() -> bool:
        used.extend(at for (at,) in house.rows(query) if at > used[-1] + TICK_S / 2)
        return len(used) > USES

    house.wait("the clock ticks", look)


DELIVERIES: Final = """
create table watching.delivery
  (seq bigint generated always as identity, number bigint, message_id text, practice_ods text, change text);
create function watching.deliver() returns trigger language plpgsql as $$
begin
  insert into watching.delivery (number, message_id, practice_ods, change)
    values (new.number, new.message_id, new.practice_ods, new.change);
  return null;
end $$;
create trigger watched after insert or update on gp_inbox for each row execute function watching.deliver();
"""
"""The database writes down whatever comes into the practices' inbox."""


def practice_away(trial: Trial) -> None:
    """Row 19."""
    with trial.house("practice") as house:
        with psycopg.connect(house.deployment.views_dsn, autocommit=True) as conn:
            conn.execute(DELIVERIES)
        waves = house.story.waves(4)
        house.publish(waves[0])
        house.flush(waves[0])
        house.settle()
        before = house.rows("select next_offset from delivery where topic = 'gp.messages'")
        house.crew.rest("deliver")
        for n, wave in enumerate(waves[1:]):  # a week, in two-day steps
            house.shift((n + 1) * 56 * HOUR_US)
            house.publish(wave)
            house.flush(wave)
            house.wait("the rest goes on without the practices", lambda: house.lag() == 0)
        stood = house.rows("select next_offset from delivery where topic = 'gp.messages'")
        assert stood == before
        waiting = owed(house)[stood[0][0] if stood else 0 :]
        trial.suited({"WAITING", "WITHDRAWN"} <= {change for *_, change in waiting}, "too little waits for the practices")
        house.crew.wake("deliver")
        house.took("practice back", house.wait("the practices have everything", house.settled, 60), WORKER_S * BUSY_MACHINE)
        delivered_in_order(house)
        house.people.decide(1.0)
        house.settle()
        house.people.decide(1.0)
        house.settle()
        seen = trial.holds(house, truth=False)  # messages unread for three days became exceptions; receipts came late
        assert seen.get("gp_receipt", 0) > 0, seen
        delivered_in_order(house)


def delivered_in_order(house: House) -> None:
    """What came into the inbox is what the ledger concluded, in its order, each once."""
    came, due = house.rows("select number, message_id, practice_ods, change from watching.delivery order by seq"), owed(house)
    differ = next((n for n, (a, b) in enumerate(zip_longest(came, due)) if a != b), None)
    assert differ is None, f"I3: delivery {differ} was {came[differ : differ + 1]}, owed was {due[differ : differ + 1]}"


def long_outage(trial: Trial) -> None:
    """Row 23."""
    with trial.house("outage") as house:
        house.publish(house.story.facts)
        house.flush(house.story.facts)
        house.reviewed(trial.oracle(house).people.answer)
        waiting = undecided(house)
        trial.suited(len(waiting) > 2, "too little is recommended")
        for name in ("unify-0", "unify-1"):
            house.crew.rest(name)
        house.people.decide(1.0)
        sent = [e.details for e in house.history.of("act") if e.details["record"] in ENDING]
        in_time = {d["value"]["recommendation_id"] for d in sent}
        assert in_time & waiting.keys(), "nobody decided"
        house.crew.rest("clock")  # it has forgotten what it waited for
        said = house.ends(["clock"])
        house.shift(96 * HOUR_US)
        house.crew.wake("clock")
        house.crew.kill("relay")
        left = {r for r, at in waiting.items() if at <= house.now_us()} - in_time
        trial.suited(left, "nothing falls due that nobody decided on")
        ticked(house)
        assert house.ends(["clock"]) == said, "DUE: the clock fired while decisions lay unread"
        for name in ("unify-0", "unify-1"):
            house.crew.wake(name)
        since = time.monotonic()
        with house.talking(house.story.facts[:30], 30):
            house.resumes("outage longer than a due time", since, WORKER_S * BUSY_MACHINE)
        house.wait("DUE: what nobody decided on is called overdue", lambda: left <= overdue(house))
        house.settle()
        late = overdue(house) & in_time
        assert not late, f"DUE: called overdue although decided in time: {sorted(late)[:3]}"
        seen = trial.holds(house)
        assert seen.get("convened", 0) + seen.get("declined", 0) > 0, seen
