"""What people, practices and the clock do, sent at once: the web and the clock wait for the broker's word, without a spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from kafka import errors as kafka_errors

from domain.times import iso
from producers.client import now_us
from producers.errors import NotYours, TooLarge
from producers.facts import key_of_act, spec_of
from producers.kafka_link import Reopened, in_our_words, open_producer
from schemas.codec import HEADER, MAGIC, Codec, encode_body
from schemas.topics import KafkaAccess
from schemas.validation import FACT_BYTES_MAX, from_json, require

SEND_S: Final = 5.0
"""A person waits for this answer. Whoever calls again does so with the same `event_id`."""

DELIVERY_MS: Final = 15_000
"""kafka-python forgets an unacknowledged act after this, so that an old press of a button is not sent an hour later."""


class ActProducer:
    """Sends acts to `decisions`, `receipts` and `clock`, as the user of `access`. Threads may share it."""

    def __init__(self, access: KafkaAccess, codec: Codec, *, now: Callable[[], int] = now_us) -> None:
        self.access, self._codec, self._now = access, codec, now
        self._link = Reopened(lambda: open_producer(access, linger_ms=0, delivery_ms=DELIVERY_MS))

    def send(self, record_name: str, value: Mapping[str, Any], *, timeout_s: float = SEND_S) -> str:
        """Send one act; returns its `event_id` once the broker has it.

        Raises:
            InvalidFact, NotYours, TooLarge: the act; NotAuthorised; BrokerUnavailable: not acknowledged in time, so
            perhaps sent: send it again under the same id; RegistryUnavailable, UnknownSchema.
        """
        spec = spec_of(record_name)
        if spec.kind != "act" or spec.topic is None:
            raise NotYours(f"{record_name} is not an act; agencies publish events by their own client")
        filled = from_json(spec, value)
        require(spec, filled, self._now())
        body = encode_body(spec, filled)
        if HEADER.size + len(body) > FACT_BYTES_MAX:
            raise TooLarge(f"{record_name}: {len(body)} bytes encoded, over the limit of {FACT_BYTES_MAX}; shorten its texts")
        act = filled["act"]
        headers = [
            ("ce_specversion", b"1.0"), ("ce_id", act["event_id"].encode()), ("ce_type", spec.subject.encode()),
            ("ce_source", f"urn:sightline:{self.access.user}".encode()), ("ce_time", iso(act["acted_at"]).encode()),
        ]  # fmt: skip
        data = HEADER.pack(MAGIC, self._codec.schema_id(spec.subject, spec.text)) + body
        self._send(spec.topic, key_of_act(act["event_id"], act["child_id"]), data, headers, timeout_s)
        return str(act["event_id"])

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, topic: str, key: bytes, data: bytes, headers: list[tuple[str, bytes]], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        producer = self._link.get()
        try:
            future = producer.send(self.access.topic(topic), data, key=key, headers=headers)
            future.get(max(0.1, deadline - time.monotonic()))
        except kafka_errors.KafkaError as err:
            self._link.give_up(producer)
            raise in_our_words(err, self.access, topic) from err
