"""Rows about time: clocks that are wrong, a practice long away, an outage longer than a due time (8, 19, 23)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

import psycopg

from domain.times import HOUR_US, SECOND_US
from tests.fault.effects import owed
from tests.fault.harness import House
from tests.fault.rows_workers import BUSY_MACHINE, WORKER_S, open_ones
from tests.fault.story import tell
from tests.fault.trial import LEAST, Trial

SUNDAYS: Final = (datetime(2026, 10, 25, 0, 40, tzinfo=UTC), datetime(2027, 3, 28, 0, 40, tzinfo=UTC))
"""Twenty minutes before London's clocks go back, and before they go forward."""


def clock_skew(trial: Trial) -> None:
    """Row 8."""
    with trial.house("skew") as house:
        waves = house.story.waves(5)
        for wave, shift_us in zip(waves, (HOUR_US, -HOUR_US, 30 * 60 * SECOND_US, -90 * SECOND_US, 0), strict=True):
            house.shift(shift_us)  # each a step of the clock under running workers, forward and back
            with house.talking(wave, 80):
                house.resumes(f"clock at {shift_us // SECOND_US:+} s", time.monotonic(), WORKER_S)
            house.settle()
        trial.holds(house, truth=False)  # an hour back, facts of the last hour are "ahead": the oracle has one clock
    for sunday in SUNDAYS:
        at = round(sunday.timestamp() * 1e6)
        story = tell(trial.seed, at // HOUR_US * HOUR_US, 60)
        with trial.house(f"sunday {sunday:%d %B}", story=story) as house:
            house.shift(at - time.time_ns() // 1000)
            turn_of_the_clocks(trial, house)


def turn_of_the_clocks(trial: Trial, house: House) -> None:
    """Facts, decisions and due times before and after 1:00 UTC of that Sunday."""
    first, rest = house.story.waves(2)
    house.publish(first)
    house.flush(first)
    house.reviewed(trial.oracle(house).people.answer)
    house.people.decide(0.5)
    house.shift(int(house.offset_file.read_text()) + HOUR_US)  # now it is after the change
    with house.talking(rest, 60):
        house.people.decide(0.5)
        house.resumes("the clocks changed", time.monotonic(), WORKER_S * BUSY_MACHINE)
    house.settle()
    trial.holds(house, least=dict(LEAST) | {"accepted": 40})


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
        waiting = open_ones(house)
        trial.suited(len(waiting) > 2, "too little is recommended")
        for name in ("unify-0", "unify-1"):
            house.crew.rest(name)
        house.people.decide(1.0)
        sent = [e.details for e in house.history.of("act") if e.details["record"] == "RecommendationDecided"]
        in_time = {d["value"]["recommendation_id"] for d in sent}
        assert in_time & waiting, "nobody decided"
        house.crew.kill("clock")  # it has forgotten what it waited for
        house.shift(96 * HOUR_US)
        house.wait("the clock has looked", lambda: len(house.crew.deaths().get("clock", [])) > 0)
        house.crew.kill("relay")
        time.sleep(4.0)  # ticks of a clock that must wait: nothing is to happen
        assert house.ends(["clock"])[("clock", 0)] == 0, "DUE: the clock fired while decisions lay unread"
        for name in ("unify-0", "unify-1"):
            house.crew.wake(name)
        since = time.monotonic()
        with house.talking(house.story.facts[:30], 30):
            house.resumes("outage longer than a due time", since, WORKER_S * BUSY_MACHINE)
        house.settle()
        late = {a for (a,) in house.rows("select about from conclusion where kind = 'recommendation_overdue'")}
        assert not late & in_time, f"DUE: called overdue although decided in time: {sorted(late & in_time)[:3]}"
        seen = trial.holds(house)
        assert seen.get("convened", 0) + seen.get("declined", 0) > 0, seen
