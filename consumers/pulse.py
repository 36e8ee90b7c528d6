"""pulse: facts an hour by agency and record, counted by a Faust worker and published to `pulse` for the live screens.

Never authoritative: no view, recommendation or message rests on a count (docs/adr/0003). It reads the intake as bytes and
never decodes a fact: the agency is the topic's, the record the CloudEvents type in the header, the hour the broker's own.

Once a second a checkpoint sends the counts that changed to the table's changelog and to `pulse`, waits until the broker has
them, and only then acknowledges the facts. So a crash delivers facts again, and none is lost; and as each count carries the
offset it has counted up to, a fact delivered again is not counted again.

One process: a second one would be given other partitions and publish its share of an hour as the whole.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import faust
import structlog
from faust.types.auth import SASLMechanism
from mode.utils.queues import ThrowableQueue

from schemas.catalogue import catalogue
from schemas.codec import Codec
from schemas.handshake import check_access
from schemas.topics import AGENCIES, INTAKE_PARTITIONS, PULSE_TABLE, KafkaAccess

log = structlog.get_logger()

WINDOW_S: Final = 3600
"""Length of a window, seconds: what a person at the front door means by "in the last hour"."""

TUMBLING: Final = faust.TumblingWindow(WINDOW_S)
KEPT_HOURS: Final = 72
"""How long a window stays in the table: the silence of a weekend, from Friday evening to Monday morning, fits."""

EVERY_S: Final = 1.0
"""A count is published at most this often: nobody reads a screen faster."""

COMMIT_S: Final = 2.0
HELD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Facts counted and not yet acknowledged: at this much, a checkpoint comes before its second is over."""

HELD_RECORD_BYTES: Final = 2_000
"""What a held fact takes beside its value, roughly."""

SEND_S: Final = 30.0
"""A broker that takes nothing for so long: crash, and let the supervisor start us when it is back."""

BUFFERED_RECORDS: Final = 512
"""Facts waiting in memory; Faust's 4,096 could hold a gigabyte of the largest."""

SESSION_S: Final = 6.0
"""After kill -9 the group waits this long at most; the successor, being the same static member, need not."""

STOP_S: Final = 5.0
"""A worker is killed ten seconds after it was asked to stop; what is not flushed by then is counted again at the next start."""

QUIET: Final = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiokafka": logging.WARNING,
    "faust.transport.drivers.aiokafka": logging.ERROR,  # warns at each start that it may not create the changelog: it may not
}
SCRAM: Final = SASLMechanism.SCRAM_SHA_256

UNKNOWN: Final = "unknown"
"""The record of whatever has no CloudEvents type of ours: a header is the sender's words and may not become a key (I7)."""

RECORDS: Final[Mapping[bytes, str]] = {s.subject.encode(): name for name, s in catalogue().items() if s.kind == "event"}

Series = tuple[str, str]
"""(agency, record)."""
Cell = tuple[tuple[str, str, int], tuple[float, float]]
"""A key of the table: ((agency, record, partition), window). The partition keeps each key in one changelog partition."""
Count = Sequence[int]
"""A value of the table: (facts, the offset after the last one counted)."""


def record_of(headers: Iterable[tuple[str, bytes | None]] | None) -> str:
    """The record that a fact's headers name, if it is one of the contract's facts; else `UNKNOWN`."""
    return RECORDS.get(dict(headers or ()).get("ce_type") or b"", UNKNOWN)


def hour_of(instant_s: float) -> int:
    """Start of the window that holds an instant; both in seconds since 1970 (UTC)."""
    return int(instant_s // WINDOW_S) * WINDOW_S


def counted(seen: Count, offset: int) -> Count | None:
    """The count after the fact at `offset` of its partition; None when that fact is in it already."""
    facts, following = seen
    return None if offset < following else (facts + 1, offset + 1)


def cell_of(agency: str, record: str, partition: int, hour: int) -> Cell:
    """The table's key: as Faust writes those of a tumbling window."""
    return (agency, record, partition), TUMBLING.current(float(hour))


def facts_in(table: Mapping[Any, Count], agency: str, record: str, hour: int) -> int:
    """Facts of one series in one hour, over all partitions."""
    cells = (cell_of(agency, record, p, hour) for p in range(INTAKE_PARTITIONS))
    return sum(table[c][0] for c in cells if c in table)


def expired(cells: Iterable[Cell], now_s: float) -> list[Cell]:
    """The cells whose hour began more than `KEPT_HOURS` ago."""
    oldest = hour_of(now_s) - KEPT_HOURS * WINDOW_S
    return [cell for cell in cells if cell[1][0] < oldest]


def every_series() -> Iterator[Series]:
    """Each agency with each record that it may emit: their noughts are published too, because quiet is not safe."""
    for record in RECORDS.values():
        for agency in catalogue()[record].agencies:
            if agency in AGENCIES:
                yield agency, record


class Kept(faust.Topic):
    """A topic whose facts that wait in memory stay there when the flow is resumed.

    Faust 0.15.3 seeks to the committed offset, resumes the flow, and then empties these queues: a fact that arrives between the
    first and the last is thrown away, though the consumer has gone past it (seen: 549 of 550 after kill -9). Kept, one may come
    twice, and `counted` knows it.
    """

    @property
    def queue(self) -> ThrowableQueue[Any]:
        """Facts waiting, at most `BUFFERED_RECORDS`."""
        if self._queue is None:
            self._queue = self.app.FlowControlQueue(maxsize=BUFFERED_RECORDS, clear_on_resume=False)
        return self._queue


class Pulse:
    """The Faust application of one deployment: counts as facts come, and makes a checkpoint once a second."""

    def __init__(self, access: KafkaAccess, codec: Codec, datadir: Path, beat: Callable[[], None] = lambda: None) -> None:
        self._access, self._codec, self._beat = access, codec, beat
        self.app = _app(access, datadir)
        self._table = self.app.Table(PULSE_TABLE, partitions=INTAKE_PARTITIONS)
        self._out = self._topic("pulse")
        self._fresh: dict[Cell, Count] = {}
        self._changed: set[tuple[str, str, int]] = set()
        self._held: list[Any] = []
        self._held_bytes = 0
        self._one_at_a_time = asyncio.Lock()
        self._hour: int | None = None
        self.app.agent(self._topic(*(f"facts.{a}" for a in AGENCIES)), name="count")(self._count)
        self.app.timer(EVERY_S, name="checkpoint")(self.checkpoint)

    def _topic(self, *names: str) -> Any:  # faust's TopicT does not say that a topic is a channel of bytes
        full = [self._access.topic(name) for name in names]
        return self.app.topic(*full, key_serializer="raw", value_serializer="raw", value_type=bytes, allow_empty=True)

    async def _count(self, facts: Any) -> None:  # a faust.Stream; its types do not know `noack`
        async for event in facts.noack().events():
            self._take(event.message)
            self._held.append(event)
            self._held_bytes += HELD_RECORD_BYTES + len(event.message.value or b"")
            if self._held_bytes > HELD_BYTES_MAX:
                await self.checkpoint()

    def _take(self, fact: Any) -> None:
        series = self._access.short(fact.topic).removeprefix("facts."), record_of(fact.headers)
        cell = cell_of(*series, fact.partition, hour_of(fact.timestamp))
        seen = self._fresh.get(cell) or self._table.data.get(cell) or (0, 0)
        count = counted(seen, fact.offset)
        if count is not None:
            self._fresh[cell] = count
        self._changed.add((*series, int(cell[1][0])))  # also when delivered again: it may not have been published

    async def checkpoint(self) -> None:
        """Changelog and `pulse` first, acknowledgements after. Does nothing while the table is being recovered.

        Raises:
            TimeoutError: the broker does not take what is sent; KafkaError.
        """
        async with self._one_at_a_time:
            if self.app.rebalancing:
                return
            self._turn(time.time())
            held, self._held, self._held_bytes = self._held, [], 0
            fresh, self._fresh = self._fresh, {}
            changed, self._changed = self._changed, set()
            self._table.data.update(fresh)
            async with asyncio.timeout(SEND_S):
                sent = [await self._remember(cell, count) for cell, count in fresh.items()]
                sent += [await self._publish(*one) for one in sorted(changed)]
                await asyncio.gather(*sent)
            for event in held:
                event.ack()
            await self._forget(time.time())
            self._beat()

    def _turn(self, now_s: float) -> None:
        """At the start and at the turn of each hour: noughts for the new one."""
        if hour_of(now_s) != self._hour:
            if self._hour is None:
                log.info("pulse-ready", windows=len(self._table.data))
            self._hour = hour_of(now_s)
            self._changed |= {(*series, self._hour) for series in every_series()}

    async def _remember(self, cell: Cell, count: Count | None) -> Any:
        """Send a cell to the changelog.

        Not by `table[key] = …`: Faust 0.15.3 buffers those writes where its commit does not wait for them (docs/adr/0003).
        """
        form = "raw" if count is None else "json"
        return await self._table.changelog_topic.send(key=cell, value=count, partition=cell[0][2], value_serializer=form)

    async def _publish(self, agency: str, record: str, hour: int) -> Any:
        value = {
            "agency": agency, "record": record, "window_start": hour * 1_000_000, "window_seconds": WINDOW_S,
            "facts": facts_in(self._table.data, agency, record, hour),
        }  # fmt: skip
        return await self._out.send(key=f"{agency}|{record}".encode(), value=self._codec.encode("PulseCount", value))

    async def _forget(self, now_s: float) -> None:
        """Remove old cells, from the changelog too (Faust's own expiry would leave them there for ever)."""
        for cell in expired(self._table.data, now_s):
            self._table.data.pop(cell)
            await self._remember(cell, None)


def run(access: KafkaAccess, codec: Codec, datadir: Path, beat: Callable[[], None] = lambda: None) -> None:
    """Count and publish in this process's main thread until SIGTERM or SIGINT.

    Raises:
        BrokerAway, BrokerRefuses, RegistryUnavailable: at the start; later, whatever crashed the worker.
    """
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    check_access(access)
    codec.encode("PulseCount", {"agency": "", "record": "", "window_start": 0, "window_seconds": WINDOW_S, "facts": 0})
    # asks the registry now, so that no HTTP request ever blocks the event loop
    datadir.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(access, codec, datadir, beat))


async def _serve(access: KafkaAccess, codec: Codec, datadir: Path, beat: Callable[[], None]) -> None:
    """Run the app as Faust's own worker does, without what that adds: its log set-up, a redirected stdout, a spinner."""
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    pulse = Pulse(access, codec, datadir, beat)
    app = pulse.app
    asked, living = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(_live(app))
    await asyncio.wait({asked, living}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if stop.is_set():
        living.cancel()
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await app.stop()
    log.info("pulse-stopped", crashed=app.crashed)
    if not stop.is_set():
        await living  # raises what it failed with


async def _live(app: faust.App) -> None:
    """Start; return, or raise, when the app has crashed."""
    await app.start()
    await app.wait_until_stopped()
    if app.crash_reason:
        raise app.crash_reason


def _app(access: KafkaAccess, datadir: Path) -> faust.App:
    """An application that serves no pages, creates no topics and keeps its table in memory and the changelog."""
    context = ssl.create_default_context(cafile=access.ssl_cafile) if access.security_protocol == "SASL_SSL" else None
    return faust.App(
        access.topic("pulse"),  # also its consumer group, which the user of the same name may use
        broker=[f"kafka://{server}" for server in access.bootstrap.split(",")],
        broker_credentials=faust.SASLCredentials(
            username=access.prefix + access.user, password=access.password, mechanism=SCRAM, ssl_context=context
        ),
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=SESSION_S / 3,
        broker_commit_interval=COMMIT_S,
        consumer_group_instance_id=access.topic("pulse"),
        consumer_auto_offset_reset="earliest",
        datadir=datadir,
        processing_guarantee="at_least_once",
        store="memory://",
        Topic=Kept,
        stream_buffer_maxsize=BUFFERED_RECORDS,
        stream_wait_empty=False,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=INTAKE_PARTITIONS,
        web_enabled=False,
    )  # fmt: skip
