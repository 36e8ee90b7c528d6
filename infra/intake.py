"""The intake's offsets on a new broker: they go on where the ledger's entries stopped, and never begin again.

An entry names the intake offset it was made from, and a worker's position is the highest of them (I4). A new broker counts from
0: without this, facts would be taken for ones that were worked on long ago, and be lost (I1).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, Final

import psycopg
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import LeaderNotAvailableError

from infra.errors import InfraError
from infra.provision import admin_client
from producers.kafka_link import end_offsets, first_offsets
from schemas.topics import KafkaAccess

log = structlog.get_logger()

SEND_TIMEOUT_S: Final = 30
READ_TIMEOUT_S: Final = 30
WINDOW: Final = 10_000

Content = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
_FILLER: Final[Content] = (None, b"", [("filler", b"")])


def known_positions(views_dsn: str) -> dict[tuple[str, int], int]:
    """Next offsets by (topic, partition) that database `views` holds; none when it is not there."""
    try:
        with psycopg.connect(views_dsn, connect_timeout=5) as connection:
            rows = connection.execute("select topic, partition, next_offset from position").fetchall()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return {}
    return {(str(t), int(p)): int(n) for t, p, n in rows}


def raise_ends(admin: KafkaAccess, prefix: str, positions: Mapping[tuple[str, int], int]) -> int:
    """Let every partition that ends below its position go on from there; how many partitions had to be mended.

    Up to the position it is filled with empty records. What agencies have sent to the new log meanwhile lies below the
    position too: it is appended again behind it (unify knows what it has seen before), then all below is deleted. Run it while
    no worker does; killed half-way, the next run does the rest. A partition that reaches its position is left alone.
    """
    wanted = {TopicPartition(prefix + t, p): n for (t, p), n in positions.items() if n > 0}
    if not wanted:
        return 0
    with closing(KafkaConsumer(**admin.options(), group_id=None, enable_auto_commit=False)) as consumer:
        try:
            begins, ends = first_offsets(consumer, wanted), end_offsets(consumer, wanted)
        except LeaderNotAvailableError as err:
            raise InfraError(
                "the broker does not know the leaders of all intake partitions yet; start again in a moment"
            ) from err
        short = {tp: n for tp, n in wanted.items() if ends[tp] < n}
        last = {tp: n - 1 for tp, n in wanted.items() if begins[tp] < n <= ends[tp]}
        short |= {r: wanted[r] for r in _filled(consumer, last)}
        if not short:
            return 0
        log.warning("intake-behind-ledger", partitions=len(short), records=sum(max(0, n - ends[tp]) for tp, n in short.items()))
        producer = KafkaProducer(**admin.options(), acks="all", enable_idempotence=True, linger_ms=20, batch_size=200_000)
        try:
            for tp, n in short.items():
                _append(producer, tp, (_FILLER for _ in range(ends[tp], n)))
                stranded = _records(consumer, tp, begins[tp], n)
                again = [(r.key, r.value, list(r.headers)) for r in stranded if list(r.headers) != _FILLER[2]]
                log.warning(
                    "intake-appended-again", topic=tp.topic.removeprefix(prefix), partition=tp.partition, records=len(again)
                )
                _append(producer, tp, again)
        finally:
            producer.close(timeout=5)
    with admin_client(admin) as client:
        client.delete_records(dict(short))
    return len(short)


def _append(producer: KafkaProducer, tp: TopicPartition, records: Iterable[Content]) -> None:
    """Send all and wait, a window at a time."""
    left = iter(records)
    while some := list(islice(left, WINDOW)):
        sent = [producer.send(tp.topic, v, key=k, headers=h, partition=tp.partition) for k, v, h in some]
        for future in sent:
            future.get(SEND_TIMEOUT_S)


def _filled(consumer: KafkaConsumer, at: Mapping[TopicPartition, int]) -> list[TopicPartition]:
    """Partitions whose record at this offset is a filler: an earlier run was killed before it came to its end."""
    return [tp for tp, n in at.items() if any(list(r.headers) == _FILLER[2] for r in _records(consumer, tp, n, n + 1))]


def _records(consumer: KafkaConsumer, tp: TopicPartition, start: int, stop: int) -> Iterator[Any]:
    """Records from offset `start` up to `stop`. Raises: InfraError when the broker does not give them."""
    consumer.assign([tp])
    consumer.seek(tp, start)
    deadline = time.monotonic() + READ_TIMEOUT_S
    while consumer.position(tp) < stop:
        for record in consumer.poll(200).get(tp, []):
            if record.offset >= stop:
                return
            yield record
            deadline = time.monotonic() + READ_TIMEOUT_S
        if time.monotonic() > deadline:
            raise InfraError(
                f"the broker gave nothing of an intake partition for {READ_TIMEOUT_S} s; see its log, then start again"
            )
