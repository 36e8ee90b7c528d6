"""One partition of a topic from an offset to an offset, as it lies there: no group, no position, nothing remembered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from domain.problems import SightlineError
from producers.kafka_link import end_offsets, first_offsets
from schemas.topics import KafkaAccess

SILENCE_S_MAX: Final = 30.0
"""Longer than a broker's failover (I6: 20 s); after that something is wrong that waiting does not mend."""


class TopicSilent(SightlineError):
    """A topic gives nothing although its end says that there is more."""


class TopicReader:
    """Reads one partition as one user, who must have the right to."""

    def __init__(self, access: KafkaAccess, topic: str, partition: int = 0) -> None:
        self.topic = topic
        self._tp = TopicPartition(access.topic(topic), partition)
        self._consumer = KafkaConsumer(
            **access.options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20,
            max_poll_records=2_000, max_partition_fetch_bytes=8_000_000,
        )  # fmt: skip
        self._consumer.assign([self._tp])

    def close(self) -> None:
        """Close connections."""
        self._consumer.close()

    def ends(self) -> tuple[int, int]:
        """(first offset still there, one past the last)."""
        here = [self._tp]
        return first_offsets(self._consumer, here)[self._tp], end_offsets(self._consumer, here)[self._tp]

    def records(self, start: int, stop: int) -> Iterator[Any]:
        """kafka-python's records with offsets from `start` up to and without `stop`.

        Raises:
            TopicSilent: nothing came for 30 s.
        """
        if start >= stop:
            return
        self._consumer.seek(self._tp, start)
        since = time.monotonic()
        while self._consumer.position(self._tp) < stop:
            polled = self._consumer.poll(200).get(self._tp, [])
            if polled:
                since = time.monotonic()
            elif time.monotonic() - since > SILENCE_S_MAX:
                raise TopicSilent(f"topic {self.topic} gives nothing for {SILENCE_S_MAX:.0f} s: may this user read it?")
            for record in polled:
                if record.offset >= stop:
                    return
                yield record
