"""Where benches play: facts ready to send, a deployment on real servers, and real worker processes of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import psutil
import psycopg
from kafka import KafkaConsumer, TopicPartition

from consumers.unify import INTAKE_TOPICS
from infra import assembly
from infra.processes import Identity, end, spawn
from producers.facts import key_of
from producers.kafka_link import open_producer
from schemas.catalogue import spec
from schemas.codec import HEADER, MAGIC, encode_body
from schemas.topics import topics
from tests.bench.workload import SEED, Workload, workload
from tests.services import Deployment

ROOT: Final = Path(__file__).parents[2]
FACTS_FULL: Final = 40_000
FACTS: Final = int(os.environ.get("SIGHTLINE_BENCH_FACTS", FACTS_FULL))
"""Facts through the whole path; the other benches scale with it. Fewer, and docs/benchmarks.md stays as it is."""

BAR_MEMORY_MB: Final = 250
"""Of a worker."""

KEY_SECRET: Final = b"the secret of a bench, of sixteen bytes or more"
PARTITIONS: Final = {t.name: t.partitions for t in topics()}
LOOK_S: Final = 0.1
WAIT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A fact as it goes to Kafka: topic without prefix, key, value."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Script:
    """The facts of a bench, and what they are."""

    workload: Workload
    ready: list[Ready]
    seed: int


def script(deployment: Deployment, count: int, seed: int = SEED) -> Script:
    """`count` facts, encoded as `AgencyClient` would."""
    made = workload(count, seed)
    codec = assembly.codec(deployment.settings)
    ready = []
    for fact in made.facts:
        record = spec(fact.record)
        head = HEADER.pack(MAGIC, codec.schema_id(record.subject, record.text))
        key = key_of(KEY_SECRET, fact.agency, fact.value["envelope"]["subject"]["local_id"]).encode()
        ready.append(Ready(f"facts.{fact.agency}", key, head + encode_body(record, fact.value)))
    return Script(made, ready, seed)


def fill(deployment: Deployment, facts: Sequence[Ready]) -> None:
    """Put facts into the intake, in order, and wait until the broker has them."""
    access = deployment.access("admin")
    producer = open_producer(access)
    for fact in facts:
        producer.send(deployment.prefix + fact.topic, fact.value, key=fact.key)
    producer.flush(60)
    producer.close(timeout=5)


class Workers:
    """Worker processes as `sightline worker` runs them; ended with the bench."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment, self._folder = deployment, folder
        self.running: dict[str, psutil.Process] = {}

    def start(self, name: str, instance: int = 0) -> psutil.Process:
        """Start one worker."""
        return self.run(f"{name}-{instance}", "infra.command", "worker", name, env={"SIGHTLINE_INSTANCE": str(instance)})

    def run(self, label: str, module: str, *words: str, env: Mapping[str, str] = MappingProxyType({})) -> psutil.Process:
        """Start a module as a process of the deployment."""
        popen = spawn(
            [sys.executable, "-m", module, *words], log=self._folder / f"{label}.log", cwd=ROOT,
            env=self._deployment.environment() | {"PYTHONPATH": str(ROOT), **env},
        )  # fmt: skip
        self.running[label] = psutil.Process(popen.pid)
        return self.running[label]

    def stop(self, label: str) -> None:
        """End one in good order."""
        identity = Identity.of(self.running.pop(label).pid)
        if identity is not None:
            end(identity, grace_s=10)

    def stop_all(self) -> None:
        """End every one."""
        for label in list(self.running):
            self.stop(label)


@contextmanager
def workers(deployment: Deployment, folder: Path) -> Iterator[Workers]:
    """Workers that end with the block."""
    made = Workers(deployment, folder)
    try:
        yield made
    finally:
        made.stop_all()


def wait_for(what: str, condition: Callable[[], bool], seconds: float = WAIT_S) -> None:
    """Look until `condition` holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(LOOK_S)


def take_over(deployment: Deployment, crew: Workers) -> None:
    """Let the relay make the deployment's first incarnation, then end it: as every deployment begins."""
    crew.start("relay")
    with psycopg.connect(deployment.views_dsn, autocommit=True) as conn:
        wait_for("the relay takes over", lambda: value(conn, "select coalesce(max(incarnation), 0) from counter") > 0, 60)
    crew.stop("relay-0")


def value(conn: psycopg.Connection[Any], query: str) -> int:
    """The one number that `query` gives."""
    row = conn.execute(query).fetchone()
    return int(row[0]) if row is not None else 0


def decided(conn: psycopg.Connection[Any]) -> int:
    """Intake records decided so far, of every partition."""
    return value(conn, "select coalesce(sum(next_offset), 0) from position")


def intake_reader(deployment: Deployment) -> KafkaConsumer:
    """A consumer of the whole intake from its beginning, without a group."""
    access = deployment.access("admin")
    reader = KafkaConsumer(
        **access.options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20,
        max_poll_records=500, max_partition_fetch_bytes=1_500_000,
    )  # fmt: skip
    tps = [TopicPartition(deployment.prefix + t, p) for t in INTAKE_TOPICS for p in range(PARTITIONS[t])]
    reader.assign(tps)
    reader.seek_to_beginning(*tps)
    return reader
