"""clock: what falls due, or rises by itself, is said on topic `clock`, once everything said before is read.

A due time fires only when every intake position has reached the end that the intake had after the due instant. Agencies' facts
are waited for at most five minutes, and who is behind is named. What people and practices did (`decisions`, `receipts`) is waited
for as long as it takes, because it can only be unread while nothing is decided: what they did in time is never called overdue,
also after an outage longer than the due time. One who acted in time, but whose act reached the intake later still, takes the
escalation back when it is read (`domain.acts`, `overdue_withdrawn`).

A due time that stays due although it was said (our own rule failed on it) is said again every hour, under another id. One that
was said before a child was folded anew as of an earlier time (a rebuild) is not: where the child stands is brought up to it.
One that was decided about before it had come, by a worker whose clock is behind this one's, let nothing be concluded: it does not
count as said, and is said again every minute until it has come for whoever decides.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from domain.model import make_id
from domain.times import SECOND_US
from producers.kafka_link import end_offsets
from projections.entries import header
from projections.folding import Applier
from schemas.topics import AGENCIES, KafkaAccess

log = structlog.get_logger()

TICK_S: Final = 1.0
WAIT_US_MAX: Final = 300 * SECOND_US
"""Five minutes: the longest a due time waits for a source that is behind (design, idea 6)."""

AGAIN_US: Final = 3600 * SECOND_US
"""A due time that was said and is due still is said again after an hour: our own rule may have failed on it, and be mended."""

SOON_US: Final = 60 * SECOND_US
"""A due time that was decided about too early is said again after a minute: clocks that differ much cost a record a minute."""

BATCH: Final = 200
"""Children a tick: a wave of due times (a new policy) is spread out, so that people's facts pass between."""

SKEW_US: Final = SECOND_US
"""A due time is said a second after: it has passed for whoever decides, too, whose clock may be a little behind this one's."""

ACTS: Final = frozenset({"decisions", "receipts"})
"""What answers a due time: never fired over."""

INTAKE: Final = (*(f"facts.{a}" for a in AGENCIES), *sorted(ACTS))
Ends = Mapping[tuple[str, int], int]
Hook = Callable[[str], None]
"""Called at named points (`firing`, `fired`); tests put faults there."""


class Speaking(Protocol):
    """Puts an act on its topic."""

    def send(self, record_name: str, value: Mapping[str, Any]) -> str:
        """Send, acknowledged."""


def behind(ends: Ends, positions: Ends) -> list[str]:
    """Topics of which something that lay in the intake by `ends` is not decided yet."""
    return sorted({t for (t, p), end in ends.items() if positions.get((t, p), 0) < end})


def intake_ends(consumer: KafkaConsumer, access: KafkaAccess) -> Ends:
    """One past the last record of every partition of the intake.

    Raises:
        KafkaError: not now; of a topic no partition is known yet: what lies there unread is not fired over.
    """
    tps = list[TopicPartition]()
    for topic in map(access.topic, INTAKE):
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise UnknownTopicOrPartitionError(topic)
        tps += [TopicPartition(topic, p) for p in sorted(partitions)]
    return {(access.short(tp.topic), tp.partition): end for tp, end in end_offsets(consumer, tps).items()}


def must_wait(unread: Collection[str], waited_us: int) -> bool:
    """May a due time not fire yet, with these topics behind?"""
    return bool(ACTS & set(unread)) or (bool(unread) and waited_us < WAIT_US_MAX)


class Said:
    """The due times said within the last hour, by child: none is said twice meanwhile, and none is kept from being said again."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, int]] = {}

    def note(self, child: str, due_at: int, now: int) -> None:
        """It was said."""
        self._at[child] = (due_at, now)

    def too_early(self, child: str, now: int) -> None:
        """What was said of it was decided about too early: it may be said again a minute after."""
        if child in self._at and now - self._at[child][1] >= SOON_US:
            del self._at[child]

    def recent(self, now: int) -> dict[str, int]:
        """Child and due time of what was said since an hour ago; what is older is forgotten."""
        self._at = {c: (due, at) for c, (due, at) in self._at.items() if now - at < AGAIN_US}
        return {c: due for c, (due, _) in self._at.items()}


def clock_id(child: str, due_at: int, version: int, *too_early: int) -> str:
    """The id of a clock record. Two clocks say it once; after anything new on the child, be it our own failure, it is another.

    So it is after an entry that decided about it `too_early`, by that entry's number.
    """
    return make_id("clock", child, due_at, version, *too_early)


@dataclass(frozen=True, slots=True)
class Saying:
    """The id to say a due time under; was it decided about in time, was it decided about too early before?"""

    event_id: str
    in_time: bool
    too_early: bool


def sayings(conn: Connection, due: Mapping[str, tuple[int, int]]) -> dict[str, Saying]:
    """What was said so far of each child's (due time, version). One decided about before it had come is followed to the next."""
    found = dict[str, Saying]()
    asked = {clock_id(child, *of): (child, False) for child, of in due.items()}
    while asked:
        rows = {r.event_id: r for r in conn.execute(_DECIDED, {"ids": list(asked)})}
        after = dict[str, tuple[str, bool]]()
        for event_id, (child, again) in asked.items():
            entry = rows.get(event_id)
            if entry is not None and header(bytes(entry.value))["accepted_at"] < due[child][0]:
                after[clock_id(child, *due[child], entry.number)] = (child, True)
            else:
                found[child] = Saying(event_id, entry is not None, again)
        asked = after
    return found


@dataclass(frozen=True, slots=True)
class Due:
    """Children due, and the intake's ends noted after their due instants."""

    children: Collection[str]
    ends: Ends
    noted_at: int


class Clock:
    """One a deployment; a second does no harm (the same due time has the same id)."""

    def __init__(  # noqa: PLR0917  its parts, each used once
        self, access: KafkaAccess, engine: Engine, speaking: Speaking, applier: Applier, now_us: Callable[[], int], policy: str,
        beat: Callable[[], None] = lambda: None, hook: Hook = lambda _: None,
    ) -> None:  # fmt: skip
        """`policy`: fingerprint of the one in force."""
        self._beat = beat
        self._access, self._engine, self._speaking, self._applier, self._now = access, engine, speaking, applier, now_us
        self._hook = hook
        self._policy, self._since, self._visited = policy, 0, ""
        self._said = Said()
        self._waiting: Due | None = None
        self._alarmed_at = 0
        self._stopping = False

    def stop(self) -> None:
        """Return from `run` after this tick."""
        self._stopping = True

    def run(self) -> None:
        """Tick until stopped; whatever fails, begin again."""
        while not self._stopping:
            try:
                consumer = KafkaConsumer(**self._access.options(), group_id=None, enable_auto_commit=False)
                with contextlib.closing(consumer):
                    while not self._stopping:
                        started = time.monotonic()
                        self.tick(consumer)
                        self._beat()
                        time.sleep(max(0.05, TICK_S - (time.monotonic() - started)))
            except (DBAPIError, KafkaError) as err:
                log.warning("clock-interrupted", kind=type(err).__name__)
                self._engine.dispose()
                self._waiting = None
                time.sleep(TICK_S)

    def tick(self, consumer: KafkaConsumer) -> None:
        """Fire what is due, or begin or go on to wait for who is behind."""
        with self._engine.connect() as conn:
            self._waiting = self._fire(conn, self._waiting) if self._waiting else self._look(conn, consumer)
            self._under_a_new_policy(conn)

    def _under_a_new_policy(self, conn: Connection) -> None:
        """Children last judged under an earlier policy: a clock record each, a batch a tick, once each time it comes into force.

        It is due for no instant (0), so that nothing is called overdue by it: it only lets what the new policy says be concluded.
        The policy is in force from its entry on; when another has been in force since, from its next.
        """
        with conn.begin():
            since = conn.execute(_SINCE, {"p": self._policy}).scalar_one_or_none() or 0
            if since != self._since:
                self._since, self._visited = since, ""
            rows = conn.execute(_OLDER, {"since": since, "after": self._visited, "n": BATCH}).all()
            acts = {make_id("policy", r.child_id, self._policy, since): r.child_id for r in rows}
            said = conn.execute(_SAID, {"ids": list(acts)}).scalars().all() if acts else []
        for event_id, child in acts.items():
            if event_id not in said:
                act = {
                    "event_id": event_id, "actor_id": "clock", "actor_role": "clock", "child_id": child,
                    "acted_at": self._now(), "based_on": None, "correlation_id": None,
                }  # fmt: skip
                self._speaking.send("ClockFired", {"act": act, "due_at": 0, "behind": []})
        if rows:
            self._visited = rows[-1].child_id
            log.info("policy-changed", children=len(acts) - len(said))

    def _look(self, conn: Connection, consumer: KafkaConsumer) -> Due | None:
        now = self._now()
        with conn.begin():
            said = self._said.recent(now)
            rows = conn.execute(_DUE, {"now": now - SKEW_US, "c": list(said), "d": list(said.values()), "n": BATCH}).all()
            again = conn.execute(_BEFORE, {"c": list(said), "d": list(said.values())}).all()
            before = self._said_before(conn, [*rows, *again], now)
        self._go_on(conn, before)
        due = [r.child_id for r in rows if r.child_id not in before]
        if not due:
            return None
        return self._fire(conn, Due(due, intake_ends(consumer, self._access), now))

    def _said_before(self, conn: Connection, due: Sequence[Any], now: int) -> dict[str, int]:
        """Those that stand as of before their due time, which was said and decided about all the same: child and due time."""
        stand = {r.child_id: (r.due_at, r.version) for r in due if r.as_of < r.due_at}
        said = sayings(conn, stand)
        for child, so_far in said.items():
            if so_far.too_early and not so_far.in_time:
                self._said.too_early(child, now)
        return {child: stand[child][0] for child, so_far in said.items() if so_far.in_time}

    def _go_on(self, conn: Connection, before: Mapping[str, int]) -> None:
        """Bring these children up to what was said of them; under the counter's lock, so that no decision is overwritten."""
        if not before:
            return
        with conn.begin():
            conn.execute(text("select 1 from counter where id = 1 for update"))
            rows = conn.execute(_BEFORE, {"c": list(before), "d": list(before.values())}).all()
            as_of = {r.child_id: r.due_at for r in rows}
            self._applier.refold(conn, as_of, as_of)
        log.info("clock-went-on", children=len(before))

    def _fire(self, conn: Connection, due: Due) -> Due | None:
        with conn.begin():
            rows = conn.execute(text("select topic, partition, next_offset from position"))
            positions = {(r.topic, r.partition): r.next_offset for r in rows}
            still = self._still_due(conn, due)
            said = sayings(conn, still)
        unread, waited_us = behind(due.ends, positions), self._now() - due.noted_at
        if still and must_wait(unread, waited_us):
            self._alarm(unread, waited_us)
            return due
        self._hook("firing")
        for child, (due_at, _) in still.items():
            act = {
                "event_id": said[child].event_id, "actor_id": "clock", "actor_role": "clock", "child_id": child,
                "acted_at": due_at, "based_on": None, "correlation_id": None,
            }  # fmt: skip
            self._speaking.send("ClockFired", {"act": act, "due_at": due_at, "behind": unread})
            self._hook("fired")
            self._said.note(child, due_at, self._now())
        log.info("clock-fired", children=len(still), behind=unread)
        if early := sum(s.too_early for s in said.values()):
            log.warning("clock-ahead", children=early)
        return None

    def _still_due(self, conn: Connection, due: Due) -> dict[str, tuple[int, int]]:
        """Those of the waiting that nobody has answered meanwhile: (due time, version). The ends were noted after each."""
        sql = "select child_id, due_at, version from child where child_id = any(:c) and due_at <= :at order by due_at, child_id"
        rows = conn.execute(text(sql), {"c": list(due.children), "at": due.noted_at})
        said = self._said.recent(self._now())
        return {r.child_id: (r.due_at, r.version) for r in rows if said.get(r.child_id) != r.due_at}

    def _alarm(self, unread: Collection[str], waited_us: int) -> None:
        """People's acts have waited longer than facts may: nothing is decided, and somebody has to know."""
        if waited_us >= WAIT_US_MAX and self._now() - self._alarmed_at >= WAIT_US_MAX:
            self._alarmed_at = self._now()
            log.error("due-times-wait", behind=unread, waited_s=waited_us // SECOND_US, alarm=True)


_SINCE: Final = text("select number from reference where kind = 'policy' and fingerprint = :p")
_OLDER: Final = text(
    "select child_id from child c where child_id > :after and version < :since "
    "and exists (select 1 from presentation p where p.child_id = c.child_id) order by child_id limit :n"
)
_DUE: Final = text(
    "select child_id, as_of, due_at, version from child where due_at <= :now and not exists (select 1 from "
    "unnest(cast(:c as text[]), cast(:d as bigint[])) as said(child_id, due_at) "
    "where said.child_id = child.child_id and said.due_at = child.due_at) order by due_at, child_id limit :n"
)
"""What was said lately is left out before the limit: it must not keep the others waiting."""

_BEFORE: Final = text(
    "select child_id, as_of, due_at, version from child "
    "join unnest(cast(:c as text[]), cast(:d as bigint[])) as u(child_id, due_at) using (child_id, due_at) where as_of < due_at"
)
"""Of these children with their due times, those that stand as of before it."""

_SAID: Final = text("select event_id from act where topic = 'clock' and event_id = any(cast(:ids as text[]))")
_DECIDED: Final = text(
    "select a.event_id, a.number, l.value from act a join ledger l using (number) "
    "where a.topic = 'clock' and a.event_id = any(cast(:ids as text[]))"
)
