"""The intake's offsets on a new broker: they go on where the ledger's entries stopped, and never begin again.

An entry names the intake offset it was made from, and a worker's position is the highest of them (I4). A new broker counts from
0: without this, facts would be taken for ones that were worked on long ago, and be lost (I1).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Final

import psycopg
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra.provision import admin_client
from schemas.topics import KafkaAccess

log = structlog.get_logger()

SEND_TIMEOUT_S: Final = 30
WINDOW: Final = 10_000


def known_positions(views_dsn: str) -> dict[tuple[str, int], int]:
    """Next offsets by (topic, partition) that database `views` holds; none when it is not there."""
    try:
        with psycopg.connect(views_dsn, connect_timeout=5) as connection:
            rows = connection.execute("select topic, partition, next_offset from position").fetchall()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return {}
    return {(str(t), int(p)): int(n) for t, p, n in rows}


def raise_ends(admin: KafkaAccess, prefix: str, positions: Mapping[tuple[str, int], int]) -> int:
    """Partitions that end below their position are filled up to it with empty records, which are deleted; how many partitions.

    Run it while no worker does. A partition that reaches its position already, as on the old broker, is left alone.
    """
    wanted = {TopicPartition(prefix + t, p): n for (t, p), n in positions.items()}
    with closing(KafkaConsumer(**admin.options())) as consumer:
        ends = consumer.end_offsets(list(wanted)) if wanted else {}
    short = {tp: n for tp, n in wanted.items() if ends[tp] < n}
    if not short:
        return 0
    log.warning("intake-behind-ledger", partitions=len(short), records=sum(n - ends[tp] for tp, n in short.items()))
    producer = KafkaProducer(**admin.options(), acks="all", enable_idempotence=True, linger_ms=20, batch_size=200_000)
    try:
        for tp, n in short.items():
            for start in range(ends[tp], n, WINDOW):
                sent = [producer.send(tp.topic, b"", partition=tp.partition) for _ in range(start, min(n, start + WINDOW))]
                for future in sent:
                    future.get(SEND_TIMEOUT_S)
    finally:
        producer.close(timeout=5)
    with admin_client(admin) as client:
        client.delete_records(dict(short))
    return len(short)
