"""An agency reads what became of its facts: its own outcomes and its own dead letters, and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import errors as kafka_errors

from producers.errors import BrokerUnavailable
from producers.kafka_link import assign, end_offsets, first_offsets, in_our_words, open_consumer
from schemas.codec import Codec
from schemas.topics import KafkaAccess

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Word:
    """One outcome or dead letter: its topic without prefix, its offset, `Outcome` or `DeadLetter`, and its fields."""

    topic: str
    offset: int
    record: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What was told, in order within each topic, and where to read on: topic without prefix → next offset."""

    words: tuple[Word, ...]
    position: Mapping[str, int]


def read_told(access: KafkaAccess, agency: str, codec: Codec, since: Mapping[str, int], timeout_s: float) -> Told:
    """Everything from `since` up to the topics' ends as they are now.

    A topic that ends before its `since` was made anew, or has lost its newest: what it holds is told from its beginning. What was
    told before may then come again: an outcome by its `number`, a dead letter by its `letter_id`. One that has grown beyond
    `since` in the meantime cannot be told apart.

    Raises:
        BrokerUnavailable: also when the ends were not reached within `timeout_s`; NotAuthorised; Undecodable.
    """
    names = (f"outcomes.{agency}", f"dead-letters.{agency}")
    return read_to_end(access, codec, {name: since.get(name, 0) for name in names}, timeout_s)


def read_to_end(access: KafkaAccess, codec: Codec, since: Mapping[str, int], timeout_s: float) -> Told:
    """Decoded records of one-partition topics, from the given offsets to the ends."""
    consumer = open_consumer(access)
    words: list[Word] = []
    try:
        at = assign(consumer, access, [access.topic(name) for name in since])
        ends, begins = end_offsets(consumer, at), first_offsets(consumer, at)
        for partition in at:
            consumer.seek(partition, _start(access.short(partition.topic), since, begins[partition], ends[partition]))
        deadline = time.monotonic() + timeout_s
        while any(consumer.position(p) < ends[p] for p in at):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"the broker at {access.bootstrap} did not give all outcomes within {timeout_s:g} s")
            for partition, records in consumer.poll(timeout_ms=200).items():
                words += [_word(access.short(partition.topic), record, codec) for record in records]
        return Told(tuple(words), {access.short(p.topic): consumer.position(p) for p in at})
    except kafka_errors.KafkaError as err:
        problem = in_our_words(err, access, ", ".join(since))
        raise problem from err
    finally:
        consumer.close()


def _start(name: str, since: Mapping[str, int], begin: int, end: int) -> int:
    """Where to read a topic from: its beginning also where it ends before `since`, which tells of another topic of that name."""
    if since[name] > end:
        log.warning("outcomes.read_from_the_beginning", topic=name, since=since[name], end=end)
        return begin
    return max(since[name], begin)


def _word(topic: str, record: Any, codec: Codec) -> Word:
    decoded = codec.decode(record.value)
    return Word(topic, record.offset, decoded.spec.name, decoded.value)
