"""The exactly-once host alone, beside a plain loop of the same work: how fast it drains, how soon it has committed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
import psycopg
import pytest
from kafka.errors import CoordinatorNotAvailableError

from infra.provision import admin_client, provision, withdraw
from producers.kafka_link import assign, open_consumer, open_producer
from schemas.topics import DAYS_90_MS, Topic
from tests.bench.fold import FACTS_ALL, SEED, Recommendation, Reference, digest, facts, stamped
from tests.bench.fold_workers import DDL, Job, Kind, Result, now_us
from tests.bench.meters import Meter, server_processes
from tests.bench.report import Report, Section, histogram, quantile, split
from tests.bench.stage import FACTS, FACTS_FULL, Workers, decided, value, wait_for, workers
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(1_500)

DRAINED: Final = FACTS_ALL * min(FACTS, FACTS_FULL) // FACTS_FULL
TIMED: Final = max(6_000, DRAINED // 10)
RATE: Final = 1_000
WARM_S: Final = 4
"""The first seconds are played and not counted."""

ROWS_DRAINED, ROWS_TIMED = 2_000, 500
"""The most records of a batch: large for throughput; for answering, the host's own."""

ORDER: Final[tuple[tuple[Kind, int], ...]] = (("plain", 0), ("host", 0), ("host", 1), ("plain", 1), ("plain", 2), ("host", 2))
"""Neither kind is always first, and neither always has the warmer servers."""

AGAIN: Final = 3
"""Of the plain loop, should one of its processes have left the group before its first fact: kafka-python's consumer does so
in one run of some twenty. The host has no second try.
"""

TIMED_RUN: Final = 9
GATE_S: Final = 0.5
"""By then both workers have seen that their gate will open."""

PARTITIONS: Final = 6
PAIR: Final = 2
LINGER_MS: Final = 0
"""Of the producer that plays: what it would wait is not the loop's."""

BAR_RATIO: Final = 0.85
SET_BY: Final = (30_752, 33_240)
"""What the plain loop drained, facts/s, on the machine and the day on which the absolute bars of every bench were set."""

P50_MS, P99_MS = 15, 40
STEPS_MS: Final = (2, 5, 10, 15, 20, 30, 40, 60, 100, 250)

KINDS: Final[tuple[Kind, ...]] = ("plain", "host")
NAMES: Final[dict[Kind, str]] = {"plain": "plain loop", "host": "host"}
RUNS: Final = (*ORDER, *(("plain", n + AGAIN) for n in range(AGAIN)), *((kind, TIMED_RUN) for kind in KINDS))
TOPICS: Final = tuple(
    Topic(name, partitions, DAYS_90_MS, (), ())
    for name, partitions in (
        ("facts", PARTITIONS),
        *((f"facts-{kind}", PARTITIONS) for kind in KINDS),
        *((f"recommended-{kind}-{n}", 1) for kind, n in RUNS),
    )
)

Timed = list[tuple[bytes, bytes]]
"""Keys and values."""


class TestHostAlone:
    """Two workers of each kind, one kind after the other, on one deployment; what they write is checked."""

    def test_drain_and_answer(
        self, services: Services, report: Report, new_deployment: Callable[..., Deployment], tmp_path: Path
    ) -> None:
        """Facts that wait are drained; then facts come at a steady rate."""
        house = new_deployment(only=[])
        section = report.section(
            "The host alone, beside a plain loop",
            f"A small fold (dedupe, a window of 90 days, a threshold) of {DRAINED:,} facts by the seed {SEED}, in a topic of "
            f"{PARTITIONS} partitions, by {PAIR} processes: `consumers.host` with a small handler, and a plain loop of "
            "kafka-python and psycopg. Both do the same fold by the same statements, one transaction a batch of at most "
            f"{ROWS_DRAINED:,} ({ROWS_TIMED:,} when latency is measured), commits synchronous, recommendations to Kafka after "
            "the commit. Drained three times each in turn, from the first fact polled to the last commit: median, least and "
            "most. CPU is user and system time. Latency is from the instant at which a fact was due to be sent to its commit, "
            f"open loop, the first {WARM_S} s not counted; the producer does not linger. States and recommendations of every "
            "run are those of the reference.",
        )
        with _topics(house), workers(house, tmp_path) as crew:
            whole, part, timed = _fill(house)
            _drains(services, section, lambda kind, n: Pair(house, crew, tmp_path, kind, n, "facts", ROWS_DRAINED), whole)
            took = {
                kind: _answers(section, Pair(house, crew, tmp_path, kind, TIMED_RUN, f"facts-{kind}", ROWS_TIMED), timed, part)
                for kind in KINDS
            }
            multiples = ", ".join(f"{host / plain:.2f}" for host, plain in zip(took["host"], took["plain"], strict=True))
            section.add("the host's p50, p99 as multiples of the plain loop's", multiples)


class Pair:
    """Two workers of one kind on fresh tables, and an output topic of their own."""

    def __init__(  # noqa: PLR0917
        self, house: Deployment, crew: Workers, folder: Path, kind: Kind, number: int, topic: str, rows: int
    ) -> None:
        self.house, self.kind, self.topic = house, kind, house.prefix + topic
        self._crew, self._name = crew, f"{kind}-{number}"
        self._group = f"{house.prefix}fold.{self._name}"
        self._out = f"{house.prefix}recommended-{self._name}"
        self._gate = folder / f"{self._name}.gate"
        self._jobs = [
            Job(kind, self._group, n, self.topic, self._out, rows, str(self._gate), str(folder / f"{self._name}-{n}.json"))
            for n in range(PAIR)
        ]

    def start(self) -> list[psutil.Process]:
        """Returns when both are members of their group and wait at their gate."""
        with psycopg.connect(self.house.views_dsn) as conn:
            conn.execute(DDL)
        started = [self._crew.run(f"{self._name}-{job.instance}", "tests.bench.fold_workers", job.text()) for job in self._jobs]
        with admin_client(self.house.access("admin")) as client:
            wait_for("both workers are members", lambda: _members(client, self._group) == PAIR, 60)
        return started

    def open(self, in_s: float) -> None:
        """Let both begin at the instant `in_s` from now."""
        written = self._gate.with_suffix(".new")
        written.write_text(str(time.monotonic() + in_s))
        written.rename(self._gate)

    def stop(self) -> list[Result]:
        """End both in good order; what they measured."""
        for job in self._jobs:
            self._crew.stop(f"{self._name}-{job.instance}")
        return [Result(**json.loads(Path(job.result).read_text())) for job in self._jobs]

    def check(self, reference: Reference) -> None:
        """The states are the reference's; each recommendation is there, and what is there twice is the same twice."""
        with psycopg.connect(self.house.views_dsn) as conn:
            states = conn.execute("select child, s from st").fetchall()
            assert reference.facts == decided(conn)
            assert 0 == value(conn, "select count(*) from rec where not sent")
        assert digest(reference.states.items()) == digest(states)
        sent = _recommended(self.house, self._out)
        assert sorted(reference.lines) == sorted({r.line() for r in sent})
        assert len(reference.lines) == len({r.id for r in sent})


@contextmanager
def _topics(house: Deployment) -> Iterator[None]:
    """The bench's own, as long as it runs."""
    admin = house.settings.admin()
    provision(admin, house.prefix, TOPICS, {}, replication=house.settings.replication)
    try:
        yield
    finally:
        withdraw(admin, house.prefix, TOPICS, ())


def _fill(house: Deployment) -> tuple[Reference, Reference, Timed]:
    """Put the facts into the topic; what must come of all, and of the first, which are also given back."""
    whole, part, timed = Reference(), Reference(), Timed()
    producer: Any = open_producer(house.access("admin"))
    for key, fact in islice(facts(), max(DRAINED, TIMED)):
        if whole.facts < DRAINED:
            producer.send(house.prefix + "facts", fact, key=key)
            whole.add(fact)
        if part.facts < TIMED:
            timed.append((key, fact))
            part.add(fact)
    producer.flush(60)
    producer.close(timeout=5)
    whole.check()
    part.check()
    return whole, part, timed


def _members(client: Any, group: str) -> int:
    """Members that have partitions, once the group has settled; before that 0."""
    try:
        found = client.describe_groups([group])[group]
    except CoordinatorNotAvailableError:  # a broker's first group
        return 0
    return sum(1 for m in found["members"] if m["member_assignment"]) if found["group_state"] == "Stable" else 0


def _drains(services: Services, section: Section, pair: Callable[[Kind, int], Pair], reference: Reference) -> None:
    rates: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    used: dict[Kind, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for kind, n in ORDER:
        found = _drain(services, pair(kind, n), reference)
        if found is None and kind == "plain":
            section.add("a run of the plain loop in which one process had no fact was made again", f"run {n}")
            found = _drain(services, pair(kind, n + AGAIN), reference)
        assert found is not None, "both workers had facts"
        rates[kind].append(found[0])
        used[kind].append(found[1])
    typical = {kind: median(rates[kind]) for kind in KINDS}
    budget = {kind: {name: median(u[name] for u in used[kind]) for name in used[kind][0]} for kind in KINDS}
    for kind in KINDS:
        spread = f"{min(rates[kind]):,.0f} to {max(rates[kind]):,.0f}"
        section.add(f"{NAMES[kind]}, {PAIR} workers: drain", f"{typical[kind]:,.0f} facts/s ({spread})")
        section.add("of it CPU µs a fact", split(budget[kind], DRAINED))
    here = typical["plain"] / (sum(SET_BY) / len(SET_BY))
    set_by = "the machine that set the absolute bars drained {:,} to {:,} facts/s: this one is".format(*SET_BY)
    section.add(set_by, f"{here:.2f} of it")
    ratio = typical["host"] / typical["plain"]
    section.add("ratio to the plain loop", f"{ratio:.1%}", f">= {BAR_RATIO:.0%}", met=ratio >= BAR_RATIO)
    section.add(
        "the workers' CPU as a multiple of the plain loop's", f"{budget['host']['workers'] / budget['plain']['workers']:.2f}"
    )


def _drain(services: Services, pair: Pair, reference: Reference) -> tuple[float, dict[str, float]] | None:
    """Facts/s, and CPU seconds by kind of process; None when one worker had no fact: that is no run of two."""
    meter = Meter({"workers": pair.start(), **{n: [p] for n, p in server_processes(services).items()}})
    pair.open(in_s=GATE_S)
    time.sleep(GATE_S)
    meter.start()
    with psycopg.connect(pair.house.views_dsn, autocommit=True) as conn:
        wait_for("every fact is folded", lambda: decided(conn) >= DRAINED)
        used = meter.used()
    found = pair.stop()
    pair.check(reference)
    if not all(result.first for result in found):
        return None
    return DRAINED / (max(r.last for r in found) - min(r.first for r in found)) * 1e6, used


def _answers(section: Section, pair: Pair, timed: Timed, reference: Reference) -> list[float]:
    """p50 and p99 from due to committed, ms."""
    pair.start()
    pair.open(in_s=GATE_S)
    with psycopg.connect(pair.house.views_dsn, autocommit=True) as conn:
        wait_for("every partition is owned", lambda: value(conn, "select count(*) from position") == PARTITIONS, 60)
        begun = _play(pair, timed)
        wait_for("every fact is folded", lambda: decided(conn) >= TIMED)
    took = [fact for result in pair.stop() for fact in result.took]
    pair.check(reference)
    assert TIMED == len(took)
    found = sorted(after / 1_000 for sent, after in took if sent >= begun + WARM_S * 1_000_000)
    answers = list[float]()
    for name, share, bar in (("p50", 0.5, P50_MS), ("p99", 0.99, P99_MS)):
        ms, what = quantile(found, share), f"{NAMES[pair.kind]} at {RATE:,} facts/s: {name}"
        answers.append(ms)
        if pair.kind == "host":
            section.add(what, f"{ms:.1f} ms", f"< {bar} ms", met=ms < bar)
        else:
            section.add(what, f"{ms:.1f} ms")
    section.drawings.append(f"{NAMES[pair.kind]} at {RATE:,} facts/s\n{histogram(found, STEPS_MS, 'ms')}")
    return answers


def _play(pair: Pair, timed: Timed) -> int:
    """Each fact at its instant; when the first was due (µs of the monotonic clock)."""
    producer: Any = open_producer(pair.house.access("admin"), linger_ms=LINGER_MS)
    begun = now_us() + 200_000
    for n, (key, fact) in enumerate(timed):
        due = begun + n * 1_000_000 // RATE
        if (early := due - now_us()) > 0:
            time.sleep(early / 1_000_000)
        producer.send(pair.topic, stamped(fact, due), key=key)
    producer.flush(60)
    producer.close(timeout=5)
    return begun


def _recommended(house: Deployment, topic: str) -> list[Recommendation]:
    """Everything in an output topic, as who reads only what is committed sees it."""
    access = house.access("admin")
    reader: Any = open_consumer(access, isolation_level="read_committed", auto_offset_reset="earliest")
    (tp,) = assign(reader, access, [topic])
    reader.seek_to_beginning(tp)
    found: list[Recommendation] = []
    end = reader.end_offsets([tp])[tp]

    def read() -> bool:
        found.extend(Recommendation(**json.loads(r.value)) for r in reader.poll(100).get(tp, ()))
        return bool(reader.position(tp) >= end)

    wait_for("the output topic is read", read, 60)
    reader.close()
    return found
