"""Rows about our own processes: killed, frozen, too many, racing (1, 2, 13, 14, 17, 18)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, Final

import psycopg

from domain.times import HOUR_US
from producers.halton.facts import SimulatedFact
from tests.fault import databases
from tests.fault.evidence import views
from tests.fault.harness import EVERYTHING, House, Late, Member, Point
from tests.fault.history import Seen
from tests.fault.lives import zombie
from tests.fault.meanwhile import meanwhile
from tests.fault.meeting import deciders, met_by_both, taken_apart
from tests.fault.trial import CHILDREN, Trial

WORKER_S: Final = 5.0
"""I6: a worker is back within this. The keeper starts it at once; the supervisor's pauses are tested where they live."""

ROUNDS: Final = 60
"""Of people deciding, at most, until every armed point has struck."""

STORM_S: Final = 15.0
BUSY_MACHINE: Final = 2.0
"""Bounds are doubled where a row loads the machine by itself (eight more interpreters on two cores)."""

ARMED: Final[dict[str, list[Point]]] = {
    "unify-0": [("polled", 3), ("in-transaction", 2), ("committed", 2)],
    "unify-1": [("in-transaction", 3), ("committed", 2), ("polled", 2)],
    "relay": [("read", 3), ("ledger-sent", 2), ("sent", 2)],
    "clock": [("firing", 1), ("fired", 1)],
    "deliver": [("delivering", 1), ("delivered", 1)],
}
"""After poll; in the transaction; between database commit and relay (`committed`, `read`); after send before mark."""


def killed(trial: Trial) -> None:
    """Row 1."""
    with trial.house("points", armed=ARMED) as house:
        at_every_point(trial, house)
        house.acted()
        seen = trial.holds(house)
        assert min(seen.get(k, 0) for k in ("gp_receipt", "pressed twice", "acts refused")) > 0, seen
        assert seen.get("convened", 0) + seen.get("declined", 0) > 0, seen
    times, children = (14, CHILDREN) if trial.whole else (6, 80)
    with trial.house("random", children=children) as house:
        at_random(trial, house, times)
        house.acted()
        trial.holds(house)


def open_ones(house: House) -> set[str]:
    """Recommendations on which nobody has decided; none while the database is away."""
    decided = "('convened', 'declined', 'closed')"
    query = (
        "select distinct about from conclusion c where kind = 'recommended' and not exists "
        f"(select 1 from conclusion d where d.about = c.about and d.kind in {decided})"
    )
    with suppress(psycopg.Error):
        return {a for (a,) in house.rows(query)}
    return set()


def at_every_point(trial: Trial, house: House) -> None:
    """Talk, decide and let due times pass until every armed point has struck."""
    answer, facts, shifts = trial.oracle(house).people.answer, house.story.facts, 0
    with house.talking(facts, 40, turns=ROUNDS, every=2), house.people.busy():  # often enough that each round says its part
        for n in range(ROUNDS):
            house.more()
            with suppress(psycopg.Error):
                house.review(answer)
            house.people.decide(0.5)
            if n % 6 == 5 and open_ones(house):
                shifts += 1  # due times pass: harm four hours, points a working day, a message three days
                house.shift(shifts * 40 * HOUR_US)
            if house.struck() == ARMED:
                break
            time.sleep(0.4)  # the pace of people, not a wait for luck: the loop ends by what has struck
    with suppress(Late):  # a slow machine has to decide first what was said before a due time
        house.wait("every point has struck", lambda: house.struck() == ARMED, 60)
    house.settle()
    others = {k: v for k, v in house.struck().items() if k != "clock"}
    assert others == {k: v for k, v in ARMED.items() if k != "clock"}, f"struck {house.struck()}"
    trial.suited(house.struck() == ARMED, "too little falls due to strike the clock twice")


def at_random(trial: Trial, house: House, times: int) -> None:
    """Any worker at any moment, work under way; entries flow again soon after each."""
    rng, answer = trial.rng, trial.oracle(house).people.answer
    names = ["unify-0", "unify-1", "relay", "clock", "deliver"]
    with house.talking(house.story.facts, turns=2 * times), house.people.busy():
        house.wait("entries flow", lambda: house.now().relayed > 0)
        for n in range(times):
            time.sleep(rng.random())  # the random moment
            name = names[n % len(names)] if n < len(names) else rng.choice(names)
            members = [house.member(name)] if name.startswith("unify") else []
            in_flight(house)
            house.crew.kill(name)
            since = time.monotonic()
            house.resumes(f"{name} killed at random", since, WORKER_S, *members)
            with suppress(psycopg.Error):
                house.review(answer)
    house.settle()


def in_flight(house: House, least: int = 1) -> None:
    """Wait for a moment at which so much news is said and not decided, so that a fault strikes work."""
    house.more()
    found: list[int] = []

    def look() -> bool:
        found[:] = [house.under_way()]
        return found[0] >= least

    house.wait("news is under way", look, 30)
    house.history.note("struck", news=found[0])


def piled_up(house: House) -> None:
    """Hold unify back until news lies undecided, and let it go: for faults that must strike in mid-stream."""
    names = [n for n in house.crew.workers if n.startswith("unify")]
    for name in names:
        house.freeze(name)
    try:
        in_flight(house, PILE)
    finally:
        for name in names:
            house.thaw(name)


PILE: Final = 5
"""Facts, within a second: whoever is frozen must not lose its place among the workers."""


def not_relayed(house: House) -> int:
    """News that is accepted and that the relay has not sent yet."""
    return int(house.rows("select count(*) from fact where number > (select relayed from relay where id = 1)")[0][0])


def rebuild_killed(trial: Trial) -> None:
    """Row 2."""
    with trial.house("rebuild") as house:
        first, rest = house.story.waves(2)
        house.publish(first)
        house.flush(first)
        house.reviewed(trial.oracle(house).people.answer)
        house.freeze("clock")
        before, shown = house.ends(EVERYTHING), views(house)
        trial.suited(len(shown) > 10, "too few children in the first half")
        struck = 0
        for n in range(2 if not trial.whole else 5):
            with served(house, shown):
                struck += rebuild_struck(house, trial.rng.uniform(0, 0.6 + 0.3 * n))
        assert house.ends(EVERYTHING) == before, "a rebuild that was killed sent something"
        house.thaw("clock")
        with house.talking(rest):
            struck += rebuild_struck(house, trial.rng.uniform(0, 0.4))
            house.resumes("rebuild killed while facts came in", time.monotonic(), WORKER_S)
        assert struck > 0, "every rebuild was over before it was struck"
        house.settle()
        house.freeze("clock")
        before = house.ends(EVERYTHING)
        assert databases.rebuilt(house) > 100
        house.settle()
        assert house.ends(EVERYTHING) == before, "a rebuild sent something"
        house.thaw("clock")
        trial.holds(house)


@contextmanager
def served(house: House, shown: dict[str, Any]) -> Iterator[None]:
    """Somebody reads every child's view all the time, and once more at the end: each time it is what was `shown` before."""
    strange = list[object]()

    def look(enough: threading.Event) -> None:
        while not strange:
            last = enough.is_set()
            try:
                strange.extend(["another view"] if views(house) != shown else [])
            except Exception as err:
                strange.append(err)
            if last:
                return

    with meanwhile("reader", look, 60):
        yield
    assert not strange, f"the old views were not served as they were: {strange[0]}"


def rebuild_struck(house: House, after_s: float) -> bool:
    """Start a rebuild, wait until it works in the database, and so long again; SIGKILL. Was it under way?"""
    query = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'rebuild'"
    one = databases.start_rebuild(house)
    house.wait("the rebuild is under way", lambda: one.poll() is not None or house.rows(query)[0][0] > 0, 60)
    time.sleep(after_s)  # the random moment
    under_way = one.poll() is None
    one.send_signal(signal.SIGKILL)
    one.communicate(timeout=10)
    return under_way


def storm(trial: Trial) -> None:
    """Row 13."""
    rounds = 5 if trial.whole else 2
    with trial.house("storm") as house:
        with house.people.busy(2.0), house.talking(house.story.facts, 30, turns=2 * rounds + 3):
            stormy(trial, house, rounds)
        house.acted()
        house.settle()
        trial.holds(house)


def stormy(trial: Trial, house: House, rounds: int) -> None:
    """Six more join; some leave, some are slow to let go, some die while others recover; the six leave. Each had partitions."""
    bound, since = STORM_S * BUSY_MACHINE, time.monotonic()
    everybody = [f"unify-{n}" for n in range(8)]
    house.wait("entries flow", lambda: house.now().relayed > 0)
    for name in everybody[2:]:
        house.crew.add(house.worker(name))
    for name in everybody:
        house.member(name)
    house.resumes("eight workers have joined", since, bound)
    for _ in range(rounds):
        rebalanced(trial.rng, house, everybody, bound)
    staying = [house.member(name) for name in everybody[:2]]
    in_flight(house)
    for n, name in enumerate(everybody[2:]):
        house.crew.rest(name, kill=bool(n % 2))
    since = time.monotonic()
    house.wait("the two have what the six had", lambda: owners(house) == set(everybody[:2]))
    house.resumes("six workers have left", since, bound, *staying)


def rebalanced(rng: Random, house: House, everybody: Sequence[str], bound_s: float) -> None:
    """One leaves and is missed; when it comes back one is slow to let go for it, one dies, and another while they recover."""
    for name in everybody:
        house.member(name)
    leaving, slow, *dying = rng.sample(everybody, 4)
    house.crew.rest(leaving, kill=False)
    house.wait("others have what it had", lambda: leaving not in owners(house))
    members = [house.member(name) for name in (slow, *dying)]
    in_flight(house)
    house.freeze(slow)  # slow to let go of what it is asked for
    house.crew.wake(leaving)
    for name in dying:
        time.sleep(rng.uniform(0.5, 2.5))  # a second rebalance in the middle of the first
        house.crew.kill(name)
    house.thaw(slow)
    members.append(Member(leaving, members[0].epochs))
    house.resumes("workers left and came back", time.monotonic(), bound_s, *members)


def owners(house: House) -> set[str]:
    """Workers that own partitions."""
    return {o for (o,) in house.rows("select distinct owner from position")}


SLOW_S: Final = 2.0
SLOW_FACTS: Final = 3
SLOW_FACT: Final = """
create function slow_first() returns trigger language plpgsql as $$
begin
  if new.number between {first} and {last} then perform pg_sleep({seconds}); end if;
  return new;
end $$;
create trigger slow_first before insert on ledger for each row execute function slow_first();
"""
"""So many entries take so long each, whenever they are inserted: also when they are tried again."""


def slow_first(trial: Trial) -> None:
    """Row 14."""
    with trial.house("slow") as house:
        first, second, rest = house.story.waves(3)
        house.publish(first)
        house.flush(first)
        house.settle()
        stands = house.now()
        slow = SLOW_FACT.format(first=stands.number + 1, last=stands.number + SLOW_FACTS, seconds=SLOW_S)
        with psycopg.connect(house.deployment.views_dsn, autocommit=True) as conn:
            conn.execute(slow.encode())
        house.publish(second)
        before = set[int]()
        house.wait("the slow fact is under way", lambda: before.update(_sleeping(house)) or bool(before), 30)
        assert ahead(house.now()) <= ahead(stands), "a position passed work in flight"
        for name in ("unify-0", "unify-1"):
            house.crew.kill(name)
        since = time.monotonic()
        house.wait("the slow fact is tried again", lambda: bool(_sleeping(house) - before), 30)
        assert ahead(house.now()) <= ahead(stands), "a position passed work in flight"
        with house.talking(rest, 30):
            house.resumes("killed in a slow fact", since, 2 * SLOW_FACTS * SLOW_S + WORKER_S)
        house.settle()
        with psycopg.connect(house.deployment.views_dsn, autocommit=True) as conn:
            conn.execute("drop trigger slow_first on ledger; drop function slow_first")
        trial.holds(house)


def ahead(seen: Seen) -> int:
    """Positions less entries: it falls with an entry that has no source, and rises when a position passes work not done."""
    return sum(n for n, _ in seen.positions.values()) - seen.number


def _sleeping(house: House) -> set[int]:
    """Servers' processes that sleep in the slow fact; one whose client was killed sleeps on, and what it did is rolled back."""
    query = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
    return {pid for (pid,) in house.rows(query)}


def frozen(trial: Trial) -> None:
    """Row 17."""
    least = 60.0 if trial.whole else 0.0
    stop = {"SIGHTLINE_FAULT_SIGNAL": "SIGSTOP"}
    with trial.house("worker frozen", armed={"unify-0": [("polled", 3)]}, environment=stop) as house:
        with house.talking(house.story.facts, 30, turns=3):
            house.wait("unify-0 has stopped itself", lambda: house.crew.stopped("unify-0"), 60)
            in_flight(house, PILE)
            member = house.member("unify-0")
            zombie(house, least)
            in_flight(house)
            house.resumes("worker thawed", time.monotonic(), WORKER_S * BUSY_MACHINE, member)
        deaths = house.crew.deaths().get("unify-0", [])
        assert deaths and deaths[0] > 0, f"the thawed worker was to stop by itself: {deaths}"
        trial.holds(house)
    armed = {"relay": [("read", 3), ("ledger-sent", 20)]}
    with trial.house("relay frozen", armed=armed, environment=stop, children=80) as house:
        with house.talking(house.story.facts, 30, turns=3 * len(armed["relay"])):
            for n, (point, _) in enumerate(armed["relay"]):
                relay_frozen(house, f"relay-{n + 1}", f"relay frozen at {point}", least)
        assert house.struck() == armed, f"stopped at {house.struck()}"
        trial.holds(house)


def relay_frozen(house: House, other: str, what: str, least_s: float) -> None:
    """The relay stops itself; another takes over; then the first goes on, and must find that it has been superseded."""
    house.wait("the relay has stopped itself", lambda: house.crew.stopped("relay"), 60)
    house.more()
    house.wait("news waits for the relay", lambda: not_relayed(house) >= PILE, 30)
    since = time.monotonic()
    house.crew.add(house.worker(other))
    house.resumes(what, since, 15)
    time.sleep(max(0.0, least_s - (time.monotonic() - since)))  # the fault itself
    before, deaths = house.now().relayed, len(house.crew.workers["relay"].deaths)
    house.thaw("relay")
    house.wait("the old relay has stopped by itself", lambda: len(house.crew.workers["relay"].deaths) > deaths, 30)
    house.crew.rest(other)
    house.resumes(f"{what}, then thawed", time.monotonic(), WORKER_S * BUSY_MACHINE)
    assert house.now().relayed > before


REVIEWS: Final = 12


def one_child(trial: Trial) -> None:
    """Row 18."""
    with trial.house("one child") as house:
        answer = trial.oracle(house).people.answer
        by_child: dict[str, list[SimulatedFact]] = {}
        for fact in house.story.facts:
            by_child.setdefault(fact.child, []).append(fact)
        several = [f for fs in by_child.values() if len({x.agency for x in fs}) > 1 for f in fs]
        assert len({f.child for f in several}) > 10
        house.wait("both workers have facts to decide", lambda: deciders(house) == {"unify-0", "unify-1"})
        queues = [[f for f in several if f.agency == a] for a in sorted({f.agency for f in several})]
        with ThreadPoolExecutor(len(queues)) as pool:  # every agency at once: the same new children through both workers
            list(pool.map(house.publish, queues))
        house.flush(several)
        house.settle()
        met = met_by_both(house)
        trial.counts["children met by both workers"] = met
        assert met > 0, "no child was met by both workers at once"
        rest = [f for f in house.story.facts if f not in several]
        undone, ever = list[str](), set[str]()
        with house.talking([*rest, *several], 120, turns=1 + REVIEWS):
            house.resumes("two met one child", time.monotonic(), WORKER_S)
            for n in range(REVIEWS):
                house.more()
                house.review(answer)
                if n % 4 == 1:
                    undone += house.people.undo()
                    ever |= set(undone)
                elif n % 4 == 3 and undone:
                    house.people.confirm(undone)
                    undone = []
                time.sleep(0.3)  # the pace of the reviewer
        house.settle()
        house.people.confirm(undone)
        house.reviewed(answer)
        house.people.confirm(taken_apart(trial, house, ever))
        house.settle()
        seen = trial.holds(house)
        assert min(seen.get(k, 0) for k in ("match_confirmed", "match_undone")) > 0, seen
