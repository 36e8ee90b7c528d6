"""Real SIGKILLs of real processes; afterwards I1 to I5 and I7 hold and the views are what the oracle says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.checker import check
from tests.fault.compare import compare
from tests.fault.harness import OUTPUTS, House, Point
from tests.fault.oracle import Oracle
from tests.fault.story import Story, tell
from tests.services import Services

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

CHILDREN = 220
"""Some 250 facts."""

POISON = ("not-avro-wire-format", "unknown-schema-id", "corrupt", "unknown-code")
COMPARED = ("facts", "superseded", "retracted", "episodes", "interviews", "reasons", "recommendations", "messages")


@contextlib.contextmanager
def said_on_failure(house: House) -> Iterator[None]:
    """Name the seed, whatever goes wrong."""
    try:
        yield
    except BaseException:
        print(f"again: SIGHTLINE_FAULT_SEED={house.story.seed} SIGHTLINE_FAULT_END={house.story.end}; logs in {house.folder}")
        raise


def all_holds(house: House, oracle: Oracle) -> dict[str, int]:
    """Every check; how much was looked at, none of it nothing."""
    found, seen = check(house)
    beside = compare(house, oracle)
    print(
        f"seed {house.story.seed}, end {house.story.end}: {seen}; compared {dict(beside.counts)}; "
        f"struck {house.struck()}; resumed {house.resumed_s}"
    )
    assert [str(v)[:800] for v in (*found, *beside.violations)] == []
    assert min(seen[k] for k in ("accepted", "duplicate", "conflict", "refused", "acts", "recommendations", "gp.messages")) > 0
    assert min(beside.counts[k] for k in COMPARED) > 0, dict(beside.counts)
    return seen


def speak(house: House, story: Story, wave: int, waves: int = 8) -> None:
    """One part of the story; poison and a contradiction beside it."""
    facts = story.waves(waves)[wave]
    house.publish(facts)
    house.spoil(facts[0], POISON[wave % len(POISON)])
    house.flush(facts)
    if wave % 3 == 0:
        house.contradict(facts[-1])


def rebuilding_sends_nothing(house: House, story: Story) -> None:
    """A rebuild beside the living leaves the end of every output topic where it was; what is said next is told once."""
    before = house.ends(OUTPUTS)
    assert house.rebuild() > 100
    fact = next(f for f in story.facts if f.key in house.acknowledged[f.agency] and f.key not in house.conflicts)
    house.publish([fact])
    house.flush([fact])
    house.settle()
    after = house.ends(OUTPUTS)
    moved = {t: after[t] - n for t, n in before.items() if after[t] != n}
    assert {(f"outcomes.{fact.agency}", 0): 1} == moved, "nothing but the outcome of what was said since"


ARMED: dict[str, list[Point]] = {
    "unify-0": [("polled", 3), ("in-transaction", 2), ("committed", 2)],
    "unify-1": [("in-transaction", 3), ("committed", 2), ("polled", 2)],
    "relay": [("read", 3), ("ledger-sent", 2), ("sent", 2)],
}
"""After poll; in the transaction; between database commit and relay (`committed`, `read`); after send before mark."""


def test_workers_killed_at_every_named_point(services: Services, tmp_path: Path, seed: int, end: int) -> None:
    """kill -9 of a unify worker and of the relay at each point, and one worker frozen and thawed: nothing lost, nothing twice."""
    story = tell(seed, end, CHILDREN)
    oracle = Oracle(story.facts, story.truth.holders)
    with House(services, story, tmp_path, armed=ARMED) as house, said_on_failure(house):
        for wave in range(8):
            speak(house, story, wave)
            if wave == 4:
                house.freeze("unify-0")
                house.review(oracle.people.answer)
                time.sleep(0.5)  # the fault itself: frozen for a while, not a wait for luck
                house.thaw("unify-0")
            house.settle()
            house.review(oracle.people.answer)
        house.reviewed(oracle.people.answer)
        for n in range(40):  # until every point was passed: each round is some more batches
            if house.struck() == ARMED:
                break
            facts = story.waves(20)[n % 20]
            house.publish(facts)
            house.flush(facts)
            house.settle()
        assert ARMED == house.struck()
        all_holds(house, oracle)


def test_servers_killed_and_databases_lost(services: Services, tmp_path: Path, seed: int, end: int) -> None:
    """Broker killed, PostgreSQL killed, `views` dropped, an older backup put in its place, each in mid-stream; then a rebuild."""
    story = tell(seed + 1, end, CHILDREN)
    oracle = Oracle(story.facts, story.truth.holders)
    with House(services, story, tmp_path) as house, said_on_failure(house):
        speak(house, story, 0)
        speak(house, story, 1)
        house.reviewed(oracle.people.answer)

        house.publish(story.waves(8)[2])
        services.kill("kafka")
        house.publish(story.waves(8)[3])
        services.restart("kafka")
        since = time.monotonic()
        house.flush([*story.waves(8)[2], *story.waves(8)[3]])
        house.settle()
        house.resumed("broker", since)
        house.review(oracle.people.answer)
        dump = house.back_up()

        house.publish(story.waves(8)[4])
        services.kill("postgres")
        services.restart("postgres")
        since = time.monotonic()
        house.flush(story.waves(8)[4])
        house.settle()
        house.resumed("postgres", since)
        house.review(oracle.people.answer)

        house.publish(story.waves(8)[5])
        house.deployment.drop_views()
        since = time.monotonic()
        house.flush(story.waves(8)[5])
        house.settle()
        house.resumed("views dropped", since)
        house.review(oracle.people.answer)

        house.publish(story.waves(8)[6])
        house.restore(dump)
        since = time.monotonic()
        house.flush(story.waves(8)[6])
        house.settle()
        house.resumed("older backup restored", since)
        speak(house, story, 7)
        house.reviewed(oracle.people.answer)
        rebuilding_sends_nothing(house, story)
        all_holds(house, oracle)
