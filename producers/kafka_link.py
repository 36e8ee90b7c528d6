"""kafka-python's clients as this house uses them, and its errors in our words."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from producers.errors import BrokerUnavailable, NotAuthorised, ProducerError
from schemas.handshake import BrokerAway, BrokerRefuses, check_access
from schemas.topics import KafkaAccess

BOOTSTRAP_MS: Final = 4_000
"""kafka-python would try for 30 s; a person at a terminal wants to know within a few seconds."""

LINGER_MS: Final = 20
BATCH_BYTES: Final = 131_072
"""With these two, 23k facts/s instead of 13k (measured, stack.md)."""

Offsets = dict[TopicPartition, int]

DELIVERY_MS: Final = 7 * 24 * 3600 * 1000
"""A producer may not give up on a batch while its successor could pass: the spool decides, and it waits for days."""

logging.getLogger("kafka").addHandler(logging.NullHandler())
logging.getLogger("kafka").setLevel(logging.ERROR)
# Below ERROR kafka-python logs every attempt to reconnect, and at DEBUG the values it sends (I7).


def open_producer(access: KafkaAccess, *, linger_ms: int = LINGER_MS, delivery_ms: int = DELIVERY_MS) -> Any:
    """An idempotent `KafkaProducer` with acks=all (untyped: kafka-python has no types).

    Raises:
        BrokerUnavailable, NotAuthorised: within about BOOTSTRAP_MS.
    """
    greet(access)
    try:
        kafka: Any = KafkaProducer
        return kafka(
            **access.options(), acks="all", enable_idempotence=True, linger_ms=linger_ms, batch_size=BATCH_BYTES,
            delivery_timeout_ms=delivery_ms, request_timeout_ms=min(10_000, delivery_ms - linger_ms),
            bootstrap_timeout_ms=BOOTSTRAP_MS, max_block_ms=BOOTSTRAP_MS,
            allow_auto_create_topics=False, metrics_enabled=False,
        )  # fmt: skip
    except (kafka_errors.KafkaError, OSError, ValueError) as err:
        raise in_our_words(err, access, None) from err


def open_consumer(access: KafkaAccess, **options: Any) -> Any:
    """A `KafkaConsumer` without a group, for reading assigned partitions.

    Raises:
        BrokerUnavailable, NotAuthorised.
    """
    greet(access)
    try:
        kafka: Any = KafkaConsumer
        return kafka(
            **access.options(), enable_auto_commit=False, bootstrap_timeout_ms=BOOTSTRAP_MS,
            metrics_enabled=False, **options,
        )  # fmt: skip
    except (kafka_errors.KafkaError, OSError, ValueError) as err:
        raise in_our_words(err, access, None) from err


def assign(consumer: Any, access: KafkaAccess, topics: Iterable[str]) -> list[TopicPartition]:
    """Assign all partitions of `topics` (full names); returns them.

    Raises:
        NotAuthorised: our user may not read one. kafka-python itself would poll in vain, or ask for its end for 30 s.
    """
    found: list[TopicPartition] = []
    for topic in topics:
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise in_our_words(kafka_errors.TopicAuthorizationFailedError(topic), access, topic)
        found += [TopicPartition(topic, p) for p in sorted(partitions)]
    consumer.assign(found)
    return found


def first_offsets(consumer: Any, partitions: Collection[TopicPartition], timeout_ms: int | None = None) -> Offsets:
    """The first record still there of each partition, by default asked for as long as a request may take.

    Raises:
        KafkaError: not now; also while a leader is unknown, of which kafka-python says KeyError, or nothing at all.
    """
    return _all_of(partitions, lambda: consumer.beginning_offsets(list(partitions), timeout_ms))


def end_offsets(consumer: Any, partitions: Collection[TopicPartition], timeout_ms: int | None = None) -> Offsets:
    """One past the last record of each partition; otherwise as `first_offsets`."""
    return _all_of(partitions, lambda: consumer.end_offsets(list(partitions), timeout_ms))


def _all_of(partitions: Collection[TopicPartition], ask: Callable[[], Offsets]) -> Offsets:
    try:
        found = ask()
        return {p: int(found[p]) for p in partitions}
    except KeyError as err:
        raise kafka_errors.LeaderNotAvailableError("the leaders of some partitions are not known yet") from err


def greet(access: KafkaAccess) -> None:
    """Say who we are, and hear at once when we are not welcome: kafka-python would only say "Unable to bootstrap".

    Raises:
        BrokerUnavailable, NotAuthorised.
    """
    if not access.security_protocol.startswith("SASL_"):
        return
    try:
        check_access(access)
    except BrokerAway as err:
        raise BrokerUnavailable(str(err)) from err
    except BrokerRefuses as err:
        raise NotAuthorised(str(err)) from err


class Reopened:
    """A producer (or another client) that is opened at need and, when something failed on it, given up for another: after brokers
    have refused it, kafka-python's may never send again. Threads may share it.
    """

    def __init__(self, opened: Callable[[], Any], ended: Callable[[Any], None] | None = None) -> None:
        """`ended` ends what was given up, and raises nothing; by default as a producer (`abandon`)."""
        self._opened, self._ended = opened, ended or abandon
        self._lock = threading.Lock()
        self._producer: Any = None
        self._failure: Exception | None = None
        self._failed_at = 0.0

    def get(self) -> Any:
        """The producer of now. Whoever waits while another opens it gets what that comes to, and makes no attempt of its own.

        Raises: whatever opening one raises.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._producer is None:
                if self._failure is not None and asked_at <= self._failed_at:
                    raise self._failure
                self._open()
            return self._producer

    def _open(self) -> None:
        try:
            self._producer, self._failure = self._opened(), None
        except Exception as err:
            self._failure, self._failed_at = err, time.monotonic()
            raise

    def give_up(self, producer: Any) -> None:
        """Something failed on this one; the next to ask gets another, which may have taken its place already."""
        with self._lock:
            if self._producer is not producer:
                return
            self._producer = None
        self._ended(producer)

    def close(self) -> None:
        """End the producer of now, if there is one; whoever asks again gets another."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            self._ended(producer)


def abandon(producer: Any) -> None:
    """End a producer without sending what it holds: whoever gave it that has it still. What is under way may arrive."""
    # close() alone waits for the unsent to be flushed and raises when it cannot be, leaving its thread running.
    thread = producer._sender  # noqa: SLF001 - there is no public way to give up
    thread.force_close()
    thread.join(5)
    with contextlib.suppress(kafka_errors.KafkaError):  # its thread hangs on a broker that does not answer, and ends when it can
        producer.close(0)


def in_our_words(err: BaseException, access: KafkaAccess, topic: str | None) -> ProducerError:
    """What kafka-python says, as an error that names what to check."""
    user = access.prefix + access.user
    if isinstance(err, (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)):
        return NotAuthorised(f"the broker at {access.bootstrap} refuses user {user}: check the user and its password")
    if isinstance(err, (kafka_errors.AuthorizationError, kafka_errors.UnknownTopicOrPartitionError)):
        return NotAuthorised(f"user {user} has no right to topic {topic or '(any)'}: check agency name, topic prefix and rights")
    return BrokerUnavailable(
        f"the broker at {access.bootstrap} does not serve user {user} ({type(err).__name__}): check that it is up, the "
        f"addresses it advertises, and that the listener speaks {access.security_protocol}"
    )
