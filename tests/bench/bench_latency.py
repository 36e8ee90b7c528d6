"""Fact to committed view, open loop: facts are due at fixed instants, and late ones count from when they were due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest

from infra import assembly
from producers.kafka_link import open_producer
from projections.collecting import collect_rarely
from tests.bench.report import Report, histogram, quantile
from tests.bench.stage import FACTS, Ready, decided, fill, intake_reader, script, take_over, wait_for, workers
from tests.services import Deployment

pytestmark = pytest.mark.timeout(600)

RATES: Final = (500, 1_000)
SECONDS: Final = max(4, FACTS // 2_000)
WARM_S: Final = 3
"""The first seconds are played and not counted: caches fill, and the JVM compiles."""

BEFORE: Final = FACTS // 10
"""Facts that are worked off first: a partition's first record of all waits for its files."""

P50_MS, P99_MS = 60, 250
STEPS_MS: Final = (10, 20, 30, 40, 60, 80, 120, 160, 250, 500, 1_000)


class Watcher:
    """Learns when positions move, as anybody may who reads `views`: at each notification, and what it then sees is committed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.seen: dict[tuple[str, int], list[tuple[int, float]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            conn.execute("listen ledger")
            while not self._stopping.is_set():
                for _ in conn.notifies(timeout=0.2, stop_after=1):
                    pass
                rows = conn.execute("select topic, partition, next_offset from position").fetchall()
                now = time.monotonic()
                for topic, partition, offset in rows:
                    steps = self.seen.setdefault((topic, partition), [])
                    if not steps or steps[-1][0] < offset:
                        steps.append((offset, now))

    def instant(self, topic: str, partition: int, offset: int) -> float:
        """When the record's consequences were first seen committed."""
        return next(at for upto, at in self.seen[topic, partition] if upto > offset)


class TestLatency:
    """Two workers and the relay run; one producer sends at the intended instants."""

    def test_open_loop(self, report: Report, new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
        """500 and 1,000 facts a second, on one deployment, one after the other."""
        house = new_deployment()
        counts = [rate * (SECONDS + WARM_S) for rate in RATES]
        made = script(house, BEFORE + sum(counts))
        first, ready = made.ready[:BEFORE], made.ready[BEFORE:]
        collect_rarely()  # as an agency's program, which does not hold all that it will say
        section = report.section(
            "Fact to committed consequences, open loop",
            "From the instant at which a fact was due to be sent (not when it could be) until another connection sees it "
            "committed with all that was concluded from it; a view is folded when read: see the last row. The limit is until "
            f"a plain consumer has polled and decoded it. {BEFORE:,} facts are worked off first; {SECONDS} s played at each rate "
            f"after {WARM_S} s not counted. The producer is `AgencyClient`'s "
            f"(idempotent, acks=all, linger 20 ms) without its spool. Two `unify` workers and the relay run. {made.workload}.",
        )
        at = 0
        limit = _limit(new_deployment(), first, ready[: counts[0]], RATES[0])
        section.add(f"limit at {RATES[0]:,} facts/s: polled and decoded, p50, p99", "{:.0f}, {:.0f} ms".format(*limit))
        with workers(house, tmp_path) as crew:
            take_over(house, crew)
            for n in range(2):
                crew.start("unify", n)
            crew.start("relay")
            with psycopg.connect(house.views_dsn, autocommit=True) as conn:
                wait_for("both workers own partitions", lambda: _owners(conn) >= 2, 60)
                fill(house, first)
                wait_for("what came first is decided", lambda: decided(conn) >= BEFORE)
                for rate, count in zip(RATES, counts, strict=True):
                    found = sorted(_play(house, conn, ready[at : at + count], rate, BEFORE + at))
                    at += count
                    p50, p99 = quantile(found, 0.5), quantile(found, 0.99)
                    section.add(f"{rate:,} facts/s: p50", f"{p50:.0f} ms", f"< {P50_MS} ms", met=p50 < P50_MS)
                    section.add(f"{rate:,} facts/s: p99", f"{p99:.0f} ms", f"< {P99_MS} ms", met=p99 < P99_MS)
                    more = f"{found[-1]:.0f} ms; {len(found):,}; {p50 / limit[0]:.1f}"
                    section.add(f"{rate:,} facts/s: max; facts; p50 as a multiple of the limit's", more)
                    section.drawings.append(f"{rate:,} facts/s\n{histogram(found, STEPS_MS, 'ms')}")
        folds = sorted(_folds(house))
        figures = f"{quantile(folds, 0.5):.1f}, {quantile(folds, 0.99):.1f} ms"
        section.add(f"reading a child's view: {len(folds)} children, p50, p99", figures)


def _limit(house: Deployment, first: Sequence[Ready], facts: Sequence[Ready], rate: int) -> tuple[float, float]:
    """p50 and p99 (ms) until a plain consumer in this process has polled and decoded a fact."""
    reader, codec = intake_reader(house), assembly.codec(house.settings)
    seen: dict[tuple[str, int, int], float] = {}
    stopping = threading.Event()

    def read() -> None:
        while not stopping.is_set():
            for records in reader.poll(50).values():
                for r in records:
                    codec.decode(r.value)
                    seen[r.topic, r.partition, r.offset] = time.monotonic()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    fill(house, first)
    wait_for("what came first is polled", lambda: len(seen) >= len(first), 60)
    begun, sent = _send(house, facts, rate)
    wait_for("every fact is polled", lambda: len(seen) >= len(first) + len(facts), 60)
    stopping.set()
    thread.join(5)
    reader.close()
    found = sorted(
        (seen[m.topic, m.partition, m.offset] - due) * 1000 for due, _, f in sent if due >= begun + WARM_S for m in (f.get(10),)
    )
    return quantile(found, 0.5), quantile(found, 0.99)


def _folds(house: Deployment) -> list[float]:
    """How long (ms) reading takes, of a sample of children, in one process that does nothing else."""
    reading = assembly.reading(house.settings)
    with psycopg.connect(house.views_dsn) as conn:
        ids = [r[0] for r in conn.execute("select child_id from child order by child_id limit 300")]
    took = []
    for child in ids:
        begun = time.monotonic()
        assert reading.child_view(child) is not None
        took.append((time.monotonic() - begun) * 1000)
    return took


def _owners(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("select count(distinct owner) from position where epoch > 0").fetchone()
    return int(row[0]) if row else 0


def _play(house: Deployment, conn: psycopg.Connection[Any], facts: Sequence[Ready], rate: int, before: int) -> list[float]:
    """Latencies in ms of the facts that were due after the warm-up."""
    with Watcher(house.views_dsn) as watcher:
        begun, sent = _send(house, facts, rate)
        wait_for("every fact is decided", lambda: decided(conn) >= before + len(facts))
        time.sleep(0.5)  # the watcher looks at least every 0.2 s
    metadata = [(due, topic, future.get(10)) for due, topic, future in sent]
    counted = [m for m in metadata if m[0] >= begun + WARM_S]
    return [(watcher.instant(topic, m.partition, m.offset) - due) * 1000 for due, topic, m in counted]


def _send(house: Deployment, facts: Sequence[Ready], rate: int) -> tuple[float, list[tuple[float, str, Any]]]:
    """Each fact at its instant, acknowledged; when it began, and (due, topic, future) of each."""
    producer: Any = open_producer(house.access("admin"))
    sent = []
    begun = time.monotonic() + 0.2
    for n, fact in enumerate(facts):
        due = begun + n / rate
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        sent.append((due, fact.topic, producer.send(house.prefix + fact.topic, fact.value, key=fact.key)))
    producer.flush(60)
    producer.close(timeout=5)
    return begun, sent
