"""relay: ledger rows go to the ledger topic in number order, and what follows from each to the output topics.

Nothing leaves the house before its entry is acknowledged by the ledger topic. What was sent is known from the topics
themselves: each output carries its entry's number, so a new relay continues after the last one there (I3). Taking over, a
relay appends a takeover record, then brings the database up to the ledger's end; readers ignore what an older relay sends
after that. A relay that was superseded notices before it sends an output: its entries no longer lie one behind the other in the
ledger. The incarnation rises when the ledger holds what the database lacks (a restored or dropped `views`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import psycopg
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from consumers.ledger import ENTRY, TAKEOVER, LedgerReader, headers
from domain.problems import SightlineError
from producers.kafka_link import Reopened, end_offsets, first_offsets
from projections.entries import header
from projections.folding import Applier
from projections.keyring import KeysAbsent
from schemas.codec import Codec
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess, topics

log = structlog.get_logger()

ROWS: Final = 500
IDLE_S: Final = 0.25
"""A notification wakes the relay at once; this is how long it waits should one be lost."""

GATHER_S: Final = 0.05
"""Entries that come so soon after others go out together: at 500 a second, fifteen at a time, sending took a third of a core."""

SEND_TIMEOUT_S: Final = 30

TAIL: Final = 500
"""Records at the end of an output topic among which the last output is looked for: a superseded relay may have repeated some."""

EVERY_PLACE: Final = 1 << 30
SUPERSEDED: Final = "another relay has taken over: stopping"

Hook = Callable[[str], None]
OUTPUTS: Final = tuple(t for t in topics() if t.writers == ("relay",) and t.name != "ledger")


class Diverged(SightlineError):
    """Ledger topic and database disagree about an entry: stop, and let a person look."""


class NotReady(SightlineError):
    """What has to be there before a relay can take over is not yet: it tries again."""


class Superseded(SightlineError):
    """Another relay has taken over."""


@dataclass(slots=True)
class _Lease:
    incarnation: int
    epoch: int
    relayed: int
    offset: int = 0
    """Where this relay's next record comes to lie in the ledger topic, unless another has taken over."""

    sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The last output that each output topic has had: its entry's number and its place among that entry's outputs."""

    ends: dict[str, int] = field(default_factory=dict)
    """One past the last record of each output topic."""


class Relay:
    """The one sender of a deployment."""

    def __init__(
        self, access: KafkaAccess, engine: Engine, codec: Codec, applier: Applier, *, owner: str,
        prepare: Callable[[], None] = lambda: None, now_us: Callable[[], int], hook: Hook = lambda _: None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._access, self._engine, self._codec, self._applier = access, engine, codec, applier
        self._owner, self._prepare, self._now, self._hook, self._beat = owner, prepare, now_us, hook, beat
        self._stopping = False
        self._link = Reopened(self._open)

    def stop(self) -> None:
        """Return from `run` after what is under way."""
        self._stopping = True

    def run(self) -> None:
        """Take over, relay until stopped; whatever fails, take over again.

        Raises:
            Superseded, Diverged, LedgerGap.
        """
        failures = 0
        while not self._stopping:
            try:
                self._prepare()
                with contextlib.closing(self._engine.connect()) as conn:
                    lease = self._take_over(conn)
                    failures = 0
                    while not self._stopping:
                        sent = self._once(conn, lease)
                        if sent == 0:
                            self._wait(conn)
                        elif sent < ROWS:
                            time.sleep(GATHER_S)
                        self._beat()
            except (DBAPIError, KafkaError, RegistryUnavailable, NotReady, KeysAbsent) as err:
                failures += 1
                kind = type(err.orig if isinstance(err, DBAPIError) else err).__name__
                why = {"why": str(err)} if isinstance(err, SightlineError) else {}  # others' texts may hold what they were about
                log.warning("relay-interrupted", kind=kind, failures=failures, **why)
                self._link.close()
                self._engine.dispose()
                time.sleep(min(2.0, 0.05 * 2 ** min(failures, 6)))
        self._link.close()

    # -- taking over ------------------------------------------------------------------------------------------------

    def _take_over(self, conn: Connection) -> _Lease:
        with contextlib.closing(LedgerReader(self._access)) as reader:
            number, incarnation, epoch = reader.end()
            with conn.begin():
                conn.execute(text("insert into counter values (1, 0, 0, 0) on conflict do nothing"))
                conn.execute(text("insert into relay values (1, 0, '', 0, 0, false) on conflict do nothing"))
                mine = conn.execute(text("select number, incarnation from counter where id = 1 for update")).one()
                behind = mine.number < number or mine.incarnation < incarnation
                lease = _Lease(max(incarnation, mine.incarnation) + (1 if behind or incarnation == 0 else 0), 0, number)
                lease.epoch, served, ends = conn.execute(_TAKE, {"o": self._owner, "e": epoch, "c": behind}).one()
            stop = lease.offset = self._append_takeover(lease, number) + 1
            if behind:
                log.warning("catching-up", database=mine.number, ledger=number, incarnation=lease.incarnation)
            values = (s.value for s in reader.entries(mine.number, stop))
            self._applier.catch_up(conn, values, lease.incarnation, resumed=mine.incarnation < incarnation)
            lease.relayed = reader.end()[0]
            self._check_last(conn, reader, lease.relayed)
        with conn.begin():
            conn.execute(_CAUGHT_UP, {"r": lease.relayed, "n": self._now(), "e": lease.epoch})
        self._find_sent(conn, lease, served, orjson.loads(ends))
        self._send_owed(conn, lease)
        self._mark(conn, lease)
        log.info("relay-took-over", incarnation=lease.incarnation, epoch=lease.epoch, relayed=lease.relayed)
        return lease

    def _append_takeover(self, lease: _Lease, number: int) -> int:
        """From its offset on, which is returned, every older relay's entries are ignored."""
        value = {"incarnation": lease.incarnation, "epoch": lease.epoch, "after": number, "at": self._now()}
        head = headers(TAKEOVER, lease.incarnation, lease.epoch, number)
        sent = self._send("ledger", "", self._codec.encode(TAKEOVER, value), head).get(SEND_TIMEOUT_S)
        return int(sent.offset)

    def _check_last(self, conn: Connection, reader: LedgerReader, number: int) -> None:
        """The database's entry of the ledger's last number is the ledger's own."""
        if number == 0:
            return
        ours = conn.execute(text("select value from ledger where number = :n"), {"n": number}).scalar_one_or_none()
        conn.rollback()
        theirs = reader.last_entry()
        if ours is None or theirs is None or bytes(ours) != theirs:
            raise Diverged(
                f"entry {number} differs between the ledger topic and the database; the ledger is right: run `sightline rebuild`"
            )

    def _find_sent(self, conn: Connection, lease: _Lease, served: int, noted: dict[str, int]) -> None:
        """What each output topic has had, by what it holds; and all up to entry `served`, unless it ends before the end that was
        `noted` with that: then it has lost something.

        A topic whose records have all expired says nothing; but what was sent within the retention would still be there, and
        what is older would be gone by now however it had been sent. So entries accepted before it are done.
        """
        consumer = KafkaConsumer(**self._access.options(), group_id=None, enable_auto_commit=False, fetch_max_wait_ms=20)
        try:
            tps = [TopicPartition(self._access.topic(t.name), 0) for t in OUTPUTS]
            begins, ends = first_offsets(consumer, tps), end_offsets(consumer, tps)
            left = {tp for tp in tps if ends[tp] > begins[tp]}
            consumer.assign(sorted(left))
            for tp in left:
                consumer.seek(tp, max(begins[tp], ends[tp] - TAIL))
            found = lease.sent
            deadline = time.monotonic() + SEND_TIMEOUT_S
            while left and time.monotonic() < deadline:
                for tp, records in consumer.poll(200).items():
                    name = self._access.short(tp.topic)
                    found[name] = max(found.get(name, (0, 0)), *(_place(r) for r in records))
                left -= {tp for tp in left if consumer.position(tp) >= ends[tp]}
            if left:
                raise KafkaError("the ends of the output topics could not be read")
        finally:
            consumer.close()
        for topic, tp in zip(OUTPUTS, tps, strict=True):
            if 0 < ends[tp] == begins[tp]:
                before = self._now() - topic.retention_ms * 1000
                found[topic.name] = (self._last_before(conn, lease.relayed, before), EVERY_PLACE)
            elif topic.name in noted and ends[tp] >= noted[topic.name]:
                found[topic.name] = max(found.get(topic.name, (0, 0)), (min(served, lease.relayed), EVERY_PLACE))
        for name, (number, _) in found.items():
            if number > lease.relayed:  # of entries that were lost with the ledger: others bear their numbers now
                log.error("outputs-beyond-ledger", alarm=True, topic=name, sent=number, ledger=lease.relayed)
                found[name] = (lease.relayed, EVERY_PLACE)
        lease.ends = {topic.name: ends[tp] for topic, tp in zip(OUTPUTS, tps, strict=True)}

    def _last_before(self, conn: Connection, number: int, at: int) -> int:
        """The last entry up to `number` that was accepted before `at` (µs); `accepted_at` never decreases."""
        low, high = 0, number
        with conn.begin():
            while low < high:
                middle = (low + high + 1) // 2
                value = conn.execute(text("select value from ledger where number = :n"), {"n": middle}).scalar_one()
                low, high = (middle, high) if header(bytes(value))["accepted_at"] < at else (low, middle - 1)
        return low

    def _send_owed(self, conn: Connection, lease: _Lease) -> None:
        """Entries already in the ledger topic whose outputs an earlier relay did not get to send."""
        first = min(_done(lease.sent.get(t.name, (0, 0))) for t in OUTPUTS)
        while True:
            rows = conn.execute(_OWED, {"a": first, "z": lease.relayed, "n": ROWS * 4}).all()
            conn.rollback()
            if not rows:
                return
            owed = self._outputs(conn, rows)
            self._check_mine(conn, lease)
            self._send_outputs(lease, owed)
            first = rows[-1].number
            self._beat()

    def _outputs(self, conn: Connection, rows: Sequence[Row[Any]]) -> list[tuple[int, Sequence[Any]]]:
        """Each row's number and outputs. Those that a rebuild left out are made here: a topic has lost them.

        Raises: KeysAbsent.
        """
        left_out = [r for r in rows if r.outputs == b""]
        made = iter(self._applier.outputs(conn, [r.value for r in left_out]) if left_out else ())
        return [(r.number, orjson.loads(r.outputs) if r.outputs else next(made)) for r in rows if r.outputs is not None]

    # -- relaying ---------------------------------------------------------------------------------------------------

    def _once(self, conn: Connection, lease: _Lease) -> int:
        """Send what is new; how many entries."""
        rows = conn.execute(_NEW, {"r": lease.relayed, "n": ROWS}).all()
        conn.rollback()
        if not rows:
            return 0
        self._hook("read")
        futures = [
            self._send("ledger", "", bytes(r.value), headers(ENTRY, lease.incarnation, lease.epoch, r.number)) for r in rows
        ]
        for future in futures:
            if future.get(SEND_TIMEOUT_S).offset != lease.offset:
                raise Superseded(SUPERSEDED)
            lease.offset += 1
        self._hook("ledger-sent")
        follows = self._outputs(conn, rows)
        self._check_mine(conn, lease)
        self._send_outputs(lease, follows)
        self._hook("sent")
        lease.relayed = rows[-1].number
        self._mark(conn, lease)
        return len(rows)

    def _mark(self, conn: Connection, lease: _Lease) -> None:
        """Every entry up to here, and its outputs, is acknowledged.

        Raises: Superseded.
        """
        values = {"r": lease.relayed, "x": orjson.dumps(lease.ends), "n": self._now(), "e": lease.epoch}
        with conn.begin():
            done = conn.execute(_MARK, values).rowcount
        if done != 1:
            raise Superseded(SUPERSEDED)

    def _check_mine(self, conn: Connection, lease: _Lease) -> None:
        """One that was frozen since its entries were acknowledged, and superseded meanwhile, sends no output a second time (I3).

        Raises: Superseded.
        """
        epoch = conn.execute(text("select epoch from relay where id = 1")).scalar_one_or_none()
        conn.rollback()
        if epoch != lease.epoch:
            raise Superseded(SUPERSEDED)

    def _send_outputs(self, lease: _Lease, rows: Sequence[tuple[int, Sequence[Any]]]) -> None:
        futures = []
        for number, outputs in rows:
            for place, (topic, key, record, value) in enumerate(outputs):
                if (number, place) > lease.sent.get(topic, (0, 0)):
                    head = [("number", str(number).encode()), ("place", str(place).encode())]
                    futures.append((topic, (number, place), self._send(topic, key, self._codec.encode(record, value), head)))
        for topic, place_sent, future in futures:
            acknowledged = future.get(SEND_TIMEOUT_S)
            lease.sent[topic] = place_sent
            lease.ends[topic] = max(lease.ends[topic], acknowledged.offset + 1)

    def _send(self, topic: str, key: str, value: bytes, head: list[tuple[str, bytes]]) -> Any:
        producer = self._link.get()
        return producer.send(self._access.topic(topic), value, key=key.encode() or None, headers=head, partition=0)

    def _open(self) -> KafkaProducer:
        return KafkaProducer(
            **self._access.options(), acks="all", enable_idempotence=True, linger_ms=2, batch_size=131_072,
            max_request_size=1_500_000, client_id=self._access.prefix + self._owner,
        )  # fmt: skip

    def _wait(self, conn: Connection) -> None:
        """Until unify says there is more, or a moment has passed."""
        raw: Any = conn.connection.driver_connection
        conn.execute(text("listen ledger"))
        conn.commit()
        try:
            for _ in raw.notifies(timeout=IDLE_S, stop_after=1):
                pass
        except psycopg.Error as err:
            conn.invalidate()
            raise DBAPIError("listen ledger", None, err, connection_invalidated=True) from err


def _done(sent: tuple[int, int]) -> int:
    """The last entry all of whose outputs a topic has certainly had."""
    number, place = sent
    return number if place == EVERY_PLACE else number - 1


def _place(record: Any) -> tuple[int, int]:
    """Number and place of an output."""
    head = dict(record.headers)
    return int(head["number"]), int(head["place"])


_TAKE = text(
    "update relay set epoch = greatest(epoch, :e) + 1, owner = :o, catching_up = :c where id = 1 returning epoch, served, ends"
)
_CAUGHT_UP = text("update relay set relayed = :r, relayed_at = :n, catching_up = false where id = 1 and epoch = :e")
_MARK = text("update relay set relayed = :r, served = :r, ends = :x, relayed_at = :n where id = 1 and epoch = :e")
_NEW = text("select number, value, outputs from ledger where number > :r order by number limit :n")
_OWED = text(
    "select number, case when outputs = '' then value end as value, outputs from ledger "
    "where number > :a and number <= :z and outputs is not null order by number limit :n"
)
