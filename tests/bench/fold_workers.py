"""The worker processes of the host's bench: the real host with a small handler, and a plain loop beside it.

What both have to do for the fold is one class, `Folding`; so what differs between them is the host. A worker is started
with its job in JSON, waits at its gate, and leaves what it measured in a file when it is told to stop.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from sqlalchemy import Connection

from consumers.host import SESSION_TIMEOUT_MS, Host, Intake
from infra import assembly, stores
from infra.settings import Settings
from producers.kafka_link import open_producer
from schemas.topics import KafkaAccess
from tests.bench.fold import Fact, Recommendation, decode, fold

Kind = Literal["plain", "host"]

DDL: Final = """
drop table if exists ev, st, rec;
create table ev (event_id uuid primary key);
create table st (child text primary key, s bytea not null) with (fillfactor = 70);
create table rec (id text primary key, part int not null, child text not null, body bytea not null,
    sent bool not null default false);
create index on rec (part) where not sent;
delete from position
"""
"""States, event ids and the outbox, beside the deployment's `position`, which both kinds of worker use."""

LINGER_MS: Final = 5


@dataclass(frozen=True, slots=True)
class Job:
    """What one worker does. Topics and group are full names; `gate` and `result` are files; `rows` the most of a batch."""

    kind: Kind
    group: str
    instance: int
    topic: str
    out: str
    rows: int
    gate: str
    result: str

    def text(self) -> str:
        """As an argument of the command."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Result:
    """What one worker measured, by the monotonic clock in µs: its first fact, its last commit, (sent, took) of each fact."""

    first: int = 0
    last: int = 0
    took: list[tuple[int, int]] = field(default_factory=list)


def now_us() -> int:
    """The monotonic clock, which all processes of a machine share, in µs."""
    return time.monotonic_ns() // 1000


class Gate:
    """Closed until its file says when to begin: so both workers begin at one instant, as members of their group."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def passed(self) -> bool:
        """False while it is closed; when it is about to open, at that instant."""
        if not self._path.exists():
            return False
        time.sleep(max(0.0, float(self._path.read_text()) - time.monotonic()))
        return True


class Folding:
    """The fold's part of a batch. Recommendations go to an outbox, and to Kafka after the commit.

    No worker is killed here, so each sends what it put into the outbox itself.
    """

    def __init__(self, access: KafkaAccess, dsn: str, out: str, result: Result) -> None:
        self._out, self._result = out, result
        self._producer: Any = open_producer(access, linger_ms=LINGER_MS)
        self._aside = psycopg.connect(dsn, autocommit=True)
        self._facts: Sequence[tuple[int, Fact]] = ()
        self._fresh: list[tuple[str, int, str, bytes]] = []
        self._sent: list[str] = []

    def prepare(self, values: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, Fact]]:
        """Decode (partition, value); what was recommended before is acknowledged meanwhile."""
        self._result.first = self._result.first or now_us()
        found = [(partition, decode(value)) for partition, value in values]
        if self._sent:
            self._producer.flush()
        return found

    def apply(self, conn: psycopg.Connection[Any], facts: Sequence[tuple[int, Fact]]) -> None:
        """Fold them inside the transaction of `conn`."""
        ids = [fact["event_id"] for _, fact in facts]
        fresh = {row[0].hex for row in conn.execute(_NEW, (ids,))}
        states = dict(conn.execute(_STATES, (list({fact["child_id"] for _, fact in facts}),), binary=True).fetchall())
        changed: dict[str, bytes] = {}
        self._facts, self._fresh = facts, []
        for partition, fact in facts:
            if fact["event_id"] not in fresh:
                continue
            fresh.discard(fact["event_id"])
            child = fact["child_id"]
            after = fold(states.get(child), fact)
            if after is None:
                continue
            states[child] = changed[child] = after[0]
            if after[1] is not None:
                self._fresh.append(_row(after[1], partition))
        if changed:
            conn.execute(_SAVE, (list(changed), list(changed.values())))
        if self._fresh:
            conn.execute(_OUTBOX, [list(column) for column in zip(*self._fresh, strict=True)])
        if self._sent:
            conn.execute(_SENT, (self._sent,))

    def committed(self) -> None:
        """The batch is: note when, and send what it recommends."""
        self._result.last = now = now_us()
        self._result.took += [(sent, now - sent) for _, fact in self._facts if (sent := fact["sent_at"])]
        self._sent = []
        for id_, _, child, body in self._fresh:
            self._producer.send(self._out, body, key=child.encode())
            self._sent.append(id_)

    def settle(self) -> None:
        """Nothing else to do: wait until Kafka has what was sent, and note that."""
        if self._sent:
            self._producer.flush()
            self._aside.execute(_SENT, (self._sent,))
            self._sent = []


_NEW: Final = "insert into ev select unnest(%s::uuid[]) on conflict do nothing returning event_id"
_STATES: Final = "select child, s from st where child = any(%s)"
_SAVE: Final = "insert into st select * from unnest(%b::text[], %b::bytea[]) on conflict (child) do update set s = excluded.s"
_OUTBOX: Final = "insert into rec (id, part, child, body) select * from unnest(%b::text[], %b::int[], %b::text[], %b::bytea[])"
_SENT: Final = "update rec set sent = true where id = any(%s)"


def _row(recommendation: Recommendation, partition: int) -> tuple[str, int, str, bytes]:
    return recommendation.id, partition, recommendation.child_id, recommendation.body()


class FoldHandler:
    """The fold as the exactly-once host runs it."""

    def __init__(self, folding: Folding, gate: Gate) -> None:
        self._folding, self._gate = folding, gate
        self._worked = False

    def ready(self, conn: Connection) -> bool:
        """Not before the gate opens."""
        return self._gate.passed()

    def prepare(self, conn: Connection, batch: Sequence[Intake]) -> Sequence[tuple[int, Fact]]:
        """Decode."""
        return self._folding.prepare([(i.partition, i.value) for i in batch])

    def lock(self, conn: Connection) -> None:
        """Positions move under their own row locks."""

    def handle(self, conn: Connection, ready: Sequence[tuple[int, Fact]]) -> None:
        """Fold, by the statements that the plain loop uses."""
        driver: Any = conn.connection.driver_connection
        self._folding.apply(driver, ready)

    def set_apart(self, record: Intake, failure: Exception) -> Sequence[tuple[int, Fact]]:
        """No fact of this bench fails by itself."""
        raise failure

    def forget(self) -> None:
        """Nothing is remembered."""

    def hook(self, point: str) -> None:
        """The host's named points."""
        if point == "committed":
            self._folding.committed()
            self._worked = True

    def beat(self) -> None:
        """After each step; one without a batch is idle."""
        if not self._worked:
            self._folding.settle()
        self._worked = False


class PlainLoop(ConsumerRebalanceListener):
    """A consumer group's loop of one transaction a batch, without anything that is not needed while all goes well."""

    def __init__(self, access: KafkaAccess, dsn: str, job: Job, folding: Folding, gate: Gate) -> None:
        self._folding, self._gate, self._owner = folding, gate, f"{job.group}-{job.instance}"
        self._conn: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self._conn.execute("set idle_in_transaction_session_timeout = 5000")
        self._epoch: dict[TopicPartition, int] = {}
        self._stopping = self._open = False
        self._consumer = KafkaConsumer(
            **access.options(), group_id=job.group, enable_auto_commit=False, auto_offset_reset="earliest",
            max_poll_records=job.rows, session_timeout_ms=SESSION_TIMEOUT_MS, heartbeat_interval_ms=500, fetch_max_wait_ms=100,
            isolation_level="read_committed",
        )  # fmt: skip
        self._consumer.subscribe([job.topic], listener=self)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing is under way between polls."""
        self._epoch.clear()

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Take the epoch of each partition, and go to the database's position."""
        with self._conn.transaction():
            for tp in sorted(assigned):
                row = self._conn.execute(_CLAIM, (tp.topic, tp.partition, self._owner)).fetchone()
                assert row is not None
                self._consumer.seek(tp, row[0])
                self._epoch[tp] = row[1]
        if not self._open:
            self._consumer.pause(*assigned)

    def stop(self) -> None:
        """Finish the batch under way, then return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Poll and fold until `stop`."""
        while not self._stopping:
            records = self._consumer.poll(50)
            if not self._open:
                self._wait()
            elif mine := {tp: rs for tp, rs in records.items() if tp in self._epoch}:
                self._batch(mine)
            else:
                self._folding.settle()
        self._consumer.close()

    def _wait(self) -> None:
        self._open = self._gate.passed()
        if self._open:
            self._consumer.resume(*self._consumer.paused())

    def _batch(self, records: dict[TopicPartition, list[Any]]) -> None:
        facts = self._folding.prepare([(tp.partition, r.value) for tp, rs in records.items() for r in rs])
        moves = [(tp.topic, tp.partition, rs[-1].offset + 1, self._epoch[tp], rs[0].offset) for tp, rs in records.items()]
        with self._conn.transaction():
            moved = self._conn.execute(_MOVE, [list(column) for column in zip(*moves, strict=True)]).rowcount
            assert len(moves) == moved, "another worker owns a partition"
            self._folding.apply(self._conn, facts)
        self._folding.committed()


_CLAIM: Final = (
    "insert into position (topic, partition, next_offset, epoch, owner) values (%s, %s, 0, 1, %s) on conflict (topic, partition) "
    "do update set epoch = position.epoch + 1, owner = excluded.owner returning next_offset, epoch"
)
_MOVE: Final = (
    "update position set next_offset = u.n from unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "as u(t, p, n, e, f) where topic = u.t and partition = u.p and epoch = u.e and next_offset <= u.f"
)


def _host(access: KafkaAccess, dsn: str, job: Job, folding: Folding, gate: Gate) -> Host:
    handler, name = FoldHandler(folding, gate), f"{job.group}-{job.instance}"
    return Host(
        access, job.group, [job.topic], stores.engine(dsn, name), handler, instance=name, rows=job.rows, hook=handler.hook,
        beat=handler.beat,
    )  # fmt: skip


MAKE: Final[dict[Kind, Callable[[KafkaAccess, str, Job, Folding, Gate], assembly.Stoppable]]] = {
    "plain": PlainLoop,
    "host": _host,
}


def main(job: Job, settings: Settings) -> None:
    """Run the worker until it is told to stop; write what it measured."""
    access, result = settings.admin(), Result()
    folding = Folding(access, settings.views_dsn, job.out, result)
    assembly.until_stopped(MAKE[job.kind](access, settings.views_dsn, job, folding, Gate(job.gate)))
    folding.settle()
    Path(job.result).write_text(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])), Settings.load())
