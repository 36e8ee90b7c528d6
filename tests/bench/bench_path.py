"""The whole path, fact to committed view, beside the limit (poll and decode) and a plain loop of the same database work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from infra import assembly, stores
from tests.bench import plain
from tests.bench.meters import Meter, memory_mib, server_processes
from tests.bench.rebuilding import about, rebuilds
from tests.bench.report import Report, Section, split
from tests.bench.stage import (
    BAR_MEMORY_MB,
    FACTS,
    Script,
    Workers,
    decided,
    fill,
    intake_reader,
    script,
    take_over,
    value,
    wait_for,
    workers,
)
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(1_500)

STEADY = (0.15, 0.9)
"""The part of a run that counts as sustained: both workers run, and neither has run out of facts."""

BAR_FACTS = 3_000
BATCH = 500


@dataclass(slots=True)
class Sample:
    """The state of a run at one instant."""

    at: float
    done: int
    cpu: dict[str, float]
    memory: list[float]


class TestWholePath:
    """One deployment: filled, decided by two workers, relayed, rebuilt; then the same rows by a plain loop."""

    def test_sustained(
        self, services: Services, report: Report, new_deployment: Callable[..., Deployment], tmp_path: Path
    ) -> None:
        """Facts wait in the intake; two worker processes decide about them."""
        house = new_deployment()
        made = script(house, FACTS)
        assert 0.09 <= made.workload.presentations / FACTS <= 0.11, "one fact in ten brings a presentation never seen before"
        section = report.section(
            "Whole path: fact to all its consequences committed",
            f"{made.workload}, of {sum(len(r.value) for r in made.ready) / FACTS:.0f} bytes on average, lie in Kafka. Two "
            "`unify` processes decide about them; entries encrypted, synchronous commits, broker and database on one machine. "
            f"Counted from {STEADY[0]:.0%} to {STEADY[1]:.0%} of the facts. CPU is user and system time of the processes. The "
            "limit is one process that polls and decodes the same facts. The plain loop is one process that writes the rows the "
            f"workers wrote, in batches of {BATCH}; it reads, decides and encrypts nothing. The relay sends on afterwards.",
        )
        with workers(house, tmp_path) as crew:
            take_over(house, crew)
            fill(house, made.ready)
            limit = _limit(house)
            section.add("limit: poll and decode, one process", f"{limit:,.0f} facts/s")
            rate = _whole(services, house, section, made, crew)
            section.add("ratio to the limit", f"{rate / limit:.1%}")
            _relay(services, house, section, crew)
        floor, used = _plain(services, new_deployment(only=["ledger"]), house)
        section.add("plain loop of the same database work, one process", f"{floor:,.0f} facts/s")
        section.add("of it CPU µs a fact", split(used, FACTS))
        section.add("ratio to the plain loop", f"{rate / floor:.1%}")
        short = "The bars are for the rebuild of ten years: here the start is one of a few seconds."
        section = report.section("Rebuild", f"{about('the deployment above')} {short}")
        rebuilds(section, services, house, tmp_path, barred=False)


def _limit(house: Deployment) -> float:
    reader, codec = intake_reader(house), assembly.codec(house.settings)
    count, begun = 0, 0.0
    until = time.monotonic() + 120
    while count < FACTS and time.monotonic() < until:
        for records in reader.poll(100).values():
            begun = begun or time.monotonic()
            for record in records:
                codec.decode(record.value)
            count += len(records)
    took = time.monotonic() - begun
    reader.close()
    assert count == FACTS
    return count / took


def _whole(services: Services, house: Deployment, section: Section, made: Script, crew: Workers) -> float:
    pair = [crew.start("unify", n) for n in range(2)]
    meter = Meter({"workers": pair, **{n: [p] for n, p in server_processes(services).items()}})
    meter.start()
    samples: list[Sample] = []
    with psycopg.connect(house.views_dsn, autocommit=True) as conn:

        def look() -> bool:
            samples.append(Sample(time.monotonic(), decided(conn), meter.used(), [memory_mib(p) for p in pair]))
            return samples[-1].done >= FACTS

        wait_for("every fact is decided", look)
        accepted = value(conn, "select count(*) from fact")
        queued = value(conn, "select count(*) from child where owed_at is not null")
    assert accepted > FACTS * 0.98, "the workload is of facts that are accepted"
    first = next(s for s in samples if s.done >= FACTS * STEADY[0])
    last = [s for s in samples if s.done <= FACTS * STEADY[1]][-1]
    facts = last.done - first.done
    rate = facts / (last.at - first.at)
    used = {n: last.cpu[n] - first.cpu[n] for n in last.cpu}
    budget = sum(used.values()) / facts * 1e6
    section.add("whole path, 2 workers, sustained", f"{rate:,.0f} facts/s", f">= {BAR_FACTS:,} facts/s", met=rate >= BAR_FACTS)
    section.add("CPU µs a fact, all processes", f"{budget:.0f}", "about 660", met=budget <= 660)
    section.add("of it", split(used, facts))
    section.add("accepted; children; in the queue", f"{accepted:,}; {made.workload.children:,}; {queued:,}")
    for n, process in enumerate(pair):
        begin, most, end = first.memory[n], max(s.memory[n] for s in samples), samples[-1].memory[n]
        section.add(
            f"memory of worker {n}: at {STEADY[0]:.0%}, most, at the end", f"{begin:.0f}, {most:.0f}, {end:.0f} MiB",
            f"< {BAR_MEMORY_MB} MB (flat: not judged)", met=most * 1.048576 < BAR_MEMORY_MB,
        )  # fmt: skip
        assert process.is_running()
    for n in range(2):
        crew.stop(f"unify-{n}")
    return rate


def _relay(services: Services, house: Deployment, section: Section, crew: Workers) -> None:
    process = crew.start("relay")
    with psycopg.connect(house.views_dsn, autocommit=True) as conn:
        last = value(conn, "select number from counter")
        samples: list[tuple[float, int, dict[str, float]]] = []
        meter = Meter({"relay": [process], **{n: [p] for n, p in server_processes(services).items()}})
        meter.start()

        def look() -> bool:
            samples.append((time.monotonic(), value(conn, "select relayed from relay"), meter.used()))
            return samples[-1][1] >= last

        wait_for("every entry is relayed", look)
    moving = [s for s in samples if last * 0.1 <= s[1] <= last * 0.95] or samples
    (t0, n0, c0), (t1, n1, c1) = moving[0], moving[-1]
    if n1 > n0:
        section.add("relay alone: entries and outcomes to Kafka", f"{(n1 - n0) / (t1 - t0):,.0f} entries/s")
        section.add("of it CPU µs an entry", split({k: c1[k] - c0[k] for k in c1}, n1 - n0))
    crew.stop("relay-0")


def _plain(services: Services, target: Deployment, source: Deployment) -> tuple[float, dict[str, float]]:
    there = stores.long_engine(source.views_dsn, "bench")
    batches = list(plain.captured(there, BATCH))
    there.dispose()
    meter = Meter({"loop": [psutil.Process()], **{n: [p] for n, p in server_processes(services).items() if n == "postgres"}})
    engine = stores.engine(target.views_dsn, "bench")
    meter.start()
    took = plain.run(engine, batches)
    used = meter.used()
    engine.dispose()
    return FACTS / took, used
