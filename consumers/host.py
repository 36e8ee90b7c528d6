"""The exactly-once host: a kafka-python consumer group whose positions live in PostgreSQL, fenced by an epoch.

Each assignment takes an epoch per partition and seeks to the database's position; each batch moves the position
`where epoch = mine and next_offset = what I last read or wrote`, in one transaction with all its effects (I4). Whatever
interrupts a batch leaves nothing behind; the host reconnects, forgets, waits until the database has applied the ledger's
end, and goes on from the database's position (I6). A record that fails by itself is set apart, and the others go on.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from consumers.faults import GONE, RETRIED, of_one_record
from domain.problems import SightlineError
from producers.kafka_link import end_offsets, first_offsets
from projections.driver import execute
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess

log = structlog.get_logger()

SESSION_TIMEOUT_MS: Final = 6_000
"""A frozen worker loses its partitions after this long."""

POLL_MS: Final = 100
BACKOFF_S_MAX: Final = 2.0
ASK_MS: Final = 5_000
"""For the ends of partitions: kafka-python would wait for half a minute."""

CLOSE_MS: Final = 2_000
"""Closing a consumer says goodbye to brokers that may not be there."""

LOOK_S: Final = 1.0
"""How often an idle worker looks whether its database is still the one it decided in."""

FETCHED_BYTES: Final = 600
"""From each partition at a time, for each record of a batch: most are about so long, and some twenty partitions wait in memory.
One that is longer comes by itself.
"""

ASSIGNORS: Final = (RoundRobinPartitionAssignor, RangePartitionAssignor)
"""Partitions go round among all workers: by range the first two get both of every topic's, and a third has nothing to do. A group
takes the first that all of it know, so workers of an older release may be among them.
"""

ROWS_PER_BATCH: Final = 500

SORTING_S: Final = 20.0
"""So long a batch is sorted into records that fail and others, before its worker polls again and stays a member of its group."""

PAUSE_S_MAX: Final = 5.0
"""The longest wait after a record that had to be set apart, when those before it were too: a defect of ours that fails on
every record then refuses some hundreds an hour until somebody sees the alarm, not the whole intake within seconds."""


class PositionLost(SightlineError):
    """The intake no longer holds a stored position: facts are missing from it, and somebody has to know."""


STANDS_ELSEWHERE: Final = (
    "another worker owns a partition of this worker, or its position is not where it was left: stopping, having written nothing"
)


class Fenced(SightlineError):
    """Another worker owns a partition now: stop, having written nothing."""


@dataclass(frozen=True, slots=True)
class Intake:
    """One record as it lies in the intake. `topic` is without prefix; `appended_at` is the broker's time, µs."""

    topic: str
    partition: int
    offset: int
    appended_at: int
    value: bytes


Batch = TypeVar("Batch")


class Handler(Protocol[Batch]):
    """What a host does with a batch."""

    def ready(self, conn: Connection) -> bool:
        """May decisions be made on this database? Called on every new connection until it says yes."""

    def prepare(self, conn: Connection, batch: Sequence[Intake]) -> Batch:
        """What needs no lock and can be done twice: called before the transaction, for the whole batch.

        `conn` may be read from, in a transaction that ends in here.
        """

    def handle(self, conn: Connection, ready: Batch) -> None:
        """Do all of it inside the transaction of `conn`."""

    def set_apart(self, record: Intake, failure: Exception) -> Batch:
        """This record alone, prepared to be refused: preparing or handling it, alone in its batch, raised `failure`.

        Raises:
            RegistryUnavailable: try again later.
        """

    def lock(self, conn: Connection) -> None:
        """Take the locks under which positions move."""

    def forget(self) -> None:
        """Drop what was remembered from an earlier connection."""


Hook = Callable[[str], None]
"""Called at named points (`polled`, `in-transaction`, `committed`); tests put faults there."""


class Host(ConsumerRebalanceListener):
    """Runs a handler over topics until stopped."""

    def __init__(
        self, access: KafkaAccess, group: str, topics: Sequence[str], engine: Engine, handler: Handler[Any],
        *, instance: str, rows: int = ROWS_PER_BATCH, hook: Hook = lambda _: None, beat: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._access, self._group, self._topics, self._engine, self._handler = access, group, topics, engine, handler
        self._owner, self._hook, self._rows, self._beat = instance, hook, rows, beat
        self._stopping = False
        self._conn: Connection | None = None
        self._expected: dict[TopicPartition, int] = {}
        self._epoch: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()
        self._failures = 0
        self._apart = 0
        self._looked = 0.0
        self._consumer: Any = self._joined()

    # -- group membership -------------------------------------------------------------------------------------------

    def _joined(self) -> Any:
        """A consumer that is a member of the group under this worker's name: the next of that name takes its place."""
        prefix = self._access.prefix
        consumer = KafkaConsumer(
            **self._access.options(), group_id=prefix + self._group, group_instance_id=prefix + self._owner,
            enable_auto_commit=False, auto_offset_reset="earliest", max_poll_records=self._rows,
            session_timeout_ms=SESSION_TIMEOUT_MS, heartbeat_interval_ms=500, fetch_max_wait_ms=20,
            max_partition_fetch_bytes=self._rows * FETCHED_BYTES, client_id=prefix + self._owner,
            partition_assignment_strategy=ASSIGNORS,
        )  # fmt: skip
        consumer.subscribe([self._access.topic(t) for t in self._topics], listener=self)
        return consumer

    def _leave(self) -> None:
        """Give the consumer up; the next step joins anew.

        kafka-python's may wait for ever for brokers that are there again (seen once in some twenty times that two of three were
        killed): whatever it asked them of its partitions timed out, time after time.
        """
        consumer, self._consumer = self._consumer, None
        self._assigned.clear()
        self._expected.clear()
        if consumer is not None:
            with contextlib.suppress(KafkaError):
                consumer.close(timeout_ms=CLOSE_MS)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing is under way between polls, so there is nothing to finish.

        kafka-python goes on naming these in `assignment()` until the join is over: they are another's to claim from here on.
        """
        for tp in revoked:
            self._assigned.discard(tp)
            self._epoch.pop(tp, None)
            self._expected.pop(tp, None)

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """These are to be claimed: take the epoch of each, which fences every earlier owner; seek to the database's position."""
        for tp in assigned:
            self._assigned.add(tp)
            self._epoch.pop(tp, None)

    # -- running ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish the batch under way, then return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Poll and handle until `stop`.

        Raises:
            Fenced: another worker has taken over.
        """
        try:
            while not self._stopping:
                self._step()
        finally:
            self._drop()
            self._leave()

    def _step(self) -> None:
        try:
            if self._consumer is None:
                self._consumer = self._joined()
            records = self._consumer.poll(POLL_MS)
            self._finish_joining()
            if not self._claimed():
                self._seek_back(records)
                return
            if not records:
                self._look()
            elif mine := {tp: rs for tp, rs in records.items() if self._contiguous(tp, rs)}:
                self._hook("polled")
                self._work(self._fewer(mine))
                self._failures = 0
                self._seek_back(tp for tp, rs in mine.items() if self._expected.get(tp) != rs[-1].offset + 1)
            self._beat()
        except (DBAPIError, RegistryUnavailable, KafkaError, PoolTimeoutError) as err:
            self._recover(err)

    def _finish_joining(self) -> None:
        """Have the next poll take up a join that this one left under way.

        kafka-python 3.0.12 forgets one that began because metadata had changed and took longer than a poll: once the leader has
        assigned, it sees no reason to join, never takes its assignment, and sends no heartbeat: the group goes on without it, for
        good. Seen in one start of some fifty on a busy machine.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001  there is no other way in
        if coordinator.rejoining and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _look(self) -> None:
        """Nothing to do: does the database still stand where this worker left it? A restored one lacks what was decided since.

        Raises:
            Fenced: it does not.
        """
        if time.monotonic() - self._looked < LOOK_S or self._conn is None or not self._epoch:
            return
        with self._conn.begin():
            held = self._conn.execute(_HELD, self._rows_of(self._epoch)).scalar_one()
        if held != len(self._epoch):
            raise Fenced(STANDS_ELSEWHERE)
        self._looked = time.monotonic()

    def _seek_back(self, records: Iterable[TopicPartition]) -> None:
        """What was polled and not worked on is polled again: the consumer's own position is never what counts."""
        for tp in records:
            if tp in self._expected:
                self._consumer.seek(tp, self._expected[tp])

    def _fewer(self, records: Mapping[TopicPartition, Sequence[Any]]) -> dict[TopicPartition, Sequence[Any]]:
        """The first of these; half as many after each failure: what is too much for one transaction is not tried for ever."""
        left = max(1, self._rows >> self._failures)
        some: dict[TopicPartition, Sequence[Any]] = {}
        for tp, rs in records.items():
            if left > 0:
                some[tp] = rs[:left]
                left -= len(some[tp])
        return some

    def _contiguous(self, tp: TopicPartition, records: Sequence[Any]) -> bool:
        """These records begin where the database stands; else they are polled again.

        Raises: PositionLost.
        """
        if tp not in self._epoch:
            return False
        if records[0].offset == self._expected[tp]:
            return True
        self._check_held([tp])
        self._seek_back([tp])
        return False

    def _check_held(self, tps: Sequence[TopicPartition]) -> None:
        """The intake goes on at the database's positions: never skip silently, nor wait for offsets that are taken already.

        Raises:
            PositionLost: retention has passed a position, or the broker has lost its end (I1).
            KafkaError: not now.
        """
        firsts, ends = first_offsets(self._consumer, tps, ASK_MS), end_offsets(self._consumer, tps, ASK_MS)
        for tp in tps:
            name, stands = f"{self._access.short(tp.topic)}[{tp.partition}]", self._expected[tp]
            if firsts[tp] > stands:
                raise PositionLost(
                    f"{name}: offsets {stands} to {firsts[tp] - 1} are no longer in the intake; ask the agency to send that "
                    "period again, then set the position by hand"
                )
            if ends[tp] < stands:
                raise PositionLost(
                    f"{name} ends at {ends[tp]} and was worked on up to {stands}: the broker has lost records or is "
                    "another one; `sightline down`, then `sightline up` lets the intake go on where the ledger stopped"
                )

    def _claimed(self) -> bool:
        """Own an epoch and stand at the database's position for every assigned partition; False: poll anew."""
        conn = self._connection()
        if conn is None:
            return False
        fresh = sorted(tp for tp in self._assigned if tp not in self._epoch)
        if not fresh:
            return True
        with conn.begin():
            self._handler.lock(conn)
            for tp in fresh:
                key = {"t": self._access.short(tp.topic), "p": tp.partition, "o": self._owner}
                self._expected[tp], self._epoch[tp] = conn.execute(_CLAIM, key).one()
        self._check_held(fresh)
        for tp in fresh:
            self._consumer.seek(tp, self._expected[tp])
        log.info("claimed", worker=self._owner, partitions=len(fresh))
        return False

    def _work(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        batch: list[Intake] = []
        for tp, rs in records.items():
            topic = self._access.short(tp.topic)
            batch += [Intake(topic, tp.partition, r.offset, r.timestamp * 1000, r.value or b"") for r in rs]
        self._do(batch, time.monotonic() + SORTING_S)

    def _do(self, batch: Sequence[Intake], until: float) -> None:
        """The whole batch, in one transaction; without the records that fail by themselves, if there are such.

        Halved until the guilty one is alone, then refused: whatever goes wrong with one record stops no other. What is not
        done by `until` is polled again.
        """
        try:
            self._commit(batch, lambda conn: self._handler.prepare(conn, batch))
            self._apart = 0
        except Exception as err:  # of any kind: a rule of ours, a value that a table does not take
            if not of_one_record(err):
                raise
            self._handler.forget()
            if len(batch) == 1:
                self._refuse(batch[0], err)
                return
            middle = len(batch) // 2
            self._do(batch[:middle], until)
            if time.monotonic() < until and not self._stopping:
                self._do(batch[middle:], until)

    def _refuse(self, record: Intake, err: Exception) -> None:
        """Refuse one record that cannot be decided about. If even that fails, the record is not to blame: it is raised."""
        kind = type(err.orig if isinstance(err, DBAPIError) else err).__name__
        self._commit([record], lambda _: self._handler.set_apart(record, err))
        log.error("record-set-apart", topic=record.topic, partition=record.partition, offset=record.offset, kind=kind, alarm=True)
        time.sleep(min(PAUSE_S_MAX, 0.01 * 2 ** min(self._apart, 10)))
        self._apart += 1

    def _commit(self, batch: Sequence[Intake], prepare: Callable[[Connection], Any]) -> None:
        conn = self._connection()
        assert conn is not None
        ends = {(i.topic, i.partition): i.offset + 1 for i in batch}
        moved = {TopicPartition(self._access.topic(topic), partition): end for (topic, partition), end in ends.items()}
        ready = prepare(conn)
        with conn.begin():
            self._handler.lock(conn)
            self._move(conn, moved)
            self._handler.handle(conn, ready)
            self._hook("in-transaction")
        self._hook("committed")
        self._expected |= moved

    def _move(self, conn: Connection, moved: Mapping[TopicPartition, int]) -> None:
        if execute(conn, _MOVE, self._rows_of(moved) | {"n": list(moved.values())}).rowcount != len(moved):
            raise Fenced(STANDS_ELSEWHERE)
        self._looked = time.monotonic()

    def _rows_of(self, tps: Collection[TopicPartition]) -> dict[str, list[Any]]:
        return {
            "t": [self._access.short(tp.topic) for tp in tps], "p": [tp.partition for tp in tps],
            "e": [self._epoch[tp] for tp in tps], "x": [self._expected[tp] for tp in tps],
        }  # fmt: skip

    # -- connections and failures -----------------------------------------------------------------------------------

    def _connection(self) -> Connection | None:
        """A connection whose database has applied the ledger's end; None while it has not."""
        if self._conn is None:
            self._handler.forget()
            self._epoch.clear()
            conn = self._engine.connect()
            try:
                with conn.begin():
                    ready = self._handler.ready(conn)
            except BaseException:
                conn.close()
                raise
            if not ready:
                conn.close()
                time.sleep(0.05)
                return None
            self._conn = conn
        return self._conn

    def _recover(self, err: DBAPIError | RegistryUnavailable | KafkaError | PoolTimeoutError) -> None:
        """Everything of the failed batch is rolled back: forget, and stand at the database's position again."""
        self._failures += 1
        code = getattr(err.orig, "sqlstate", None) if isinstance(err, DBAPIError) else None
        kind = type(err.orig if isinstance(err, DBAPIError) else err).__name__
        log.warning("batch-failed", worker=self._owner, sqlstate=code, kind=kind, failures=self._failures)
        if isinstance(err, DBAPIError) and not (
            code is None or err.connection_invalidated or code in RETRIED or code.startswith(GONE)
        ):
            raise err
        if code not in RETRIED and isinstance(err, DBAPIError):
            self._drop()
        if isinstance(err, KafkaError) and self._failures > 1:
            self._leave()
        self._handler.forget()
        self._epoch.clear()
        time.sleep(min(BACKOFF_S_MAX, 0.02 * 2 ** min(self._failures, 8)) * (0.5 + random.random() / 2))  # noqa: S311  no secret

    def _drop(self) -> None:
        if self._conn is not None:
            self._conn.invalidate()
            self._conn.close()
            self._conn = None
        self._engine.dispose()


_CLAIM = text(
    "insert into position (topic, partition, next_offset, epoch, owner) values (:t, :p, 0, 1, :o) "
    "on conflict (topic, partition) do update set epoch = position.epoch + 1, owner = excluded.owner returning next_offset, epoch"
)
_ARRAYS: Final = "cast(:t as text[]), cast(:p as int[]), cast(:e as bigint[]), cast(:x as bigint[])"
_SAME: Final = "position.topic = u.t and position.partition = u.p and position.epoch = u.e and position.next_offset = u.x"
_MOVE = text(
    f"update position set next_offset = u.n from unnest({_ARRAYS}, cast(:n as bigint[])) as u(t, p, e, x, n) where {_SAME}"
)
_HELD = text(f"select count(*) from position join unnest({_ARRAYS}) as u(t, p, e, x) on {_SAME}")
