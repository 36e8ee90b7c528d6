"""deliver: pointers on topic `gp.messages` become what a practice finds waiting. Position and effect are one transaction."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.codec import Codec, Undecodable, decoded_as
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess

log = structlog.get_logger()

TOPIC: Final = "gp.messages"
POINTER: Final = "GpMessagePointer"
"""The one record on that topic."""

Hook = Callable[[str], None]
"""Called at named points (`delivering`, in the transaction; `delivered`); tests put faults there."""


class Deliver:
    """Keeps `gp_inbox`. The newest pointer about a message at a practice wins, so a repeat does nothing (I3)."""

    def __init__(
        self, access: KafkaAccess, engine: Engine, codec: Codec, beat: Callable[[], None] = lambda: None,
        hook: Hook = lambda _: None,
    ) -> None:  # fmt: skip
        self._access, self._engine, self._codec, self._beat, self._hook = access, engine, codec, beat, hook
        self._stopping = False

    def stop(self) -> None:
        """Return from `run` after this batch."""
        self._stopping = True

    def run(self) -> None:
        """Deliver until stopped; whatever fails, begin again at the database's position."""
        tp = TopicPartition(self._access.topic(TOPIC), 0)
        while not self._stopping:
            consumer = KafkaConsumer(
                **self._access.options(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=50,
            )
            try:
                with contextlib.closing(consumer), self._engine.connect() as conn:
                    consumer.assign([tp])
                    consumer.seek(tp, self._position(conn))
                    while not self._stopping:
                        self._once(conn, consumer.poll(200).get(tp, []))
                        self._beat()
            except (DBAPIError, KafkaError, RegistryUnavailable) as err:
                log.warning("deliver-interrupted", kind=type(err).__name__)
                self._engine.dispose()
                time.sleep(0.5)

    def _position(self, conn: Connection) -> int:
        with conn.begin():
            found = conn.execute(text("select next_offset from delivery where topic = :t and partition = 0"), {"t": TOPIC})
            return int(found.scalar_one_or_none() or 0)

    def _once(self, conn: Connection, records: list[Any]) -> None:
        if not records:
            with conn.begin():  # a dropped database is noticed within a poll, not with the next message
                conn.execute(text("select 1 from delivery limit 1"))
            return
        with conn.begin():
            for record in records:
                if (pointer := self._pointer(record.value or b"")) is not None:
                    conn.execute(_PUT, pointer)
                else:  # nothing that can be read will ever come of it, and other practices wait
                    log.error("pointer-unreadable", topic=TOPIC, partition=0, offset=record.offset, alarm=True)
            conn.execute(_MOVE, {"t": TOPIC, "n": records[-1].offset + 1})
            self._hook("delivering")
        self._hook("delivered")

    def _pointer(self, data: bytes) -> dict[str, Any] | None:
        """Decoded with the registry's schema; when its ids are other ones now (it was lost, and is new), with the contract's own.

        Raises:
            RegistryUnavailable: try again later.
        """
        with contextlib.suppress(Undecodable):
            decoded = self._codec.decode(data)
            if decoded.spec.name == POINTER:
                return decoded.value
        return decoded_as(POINTER, data)


_PUT = text(
    "insert into gp_inbox (message_id, practice_ods, number, change, at) "
    "values (:message_id, :practice_ods, :number, :change, :at) "
    "on conflict (message_id, practice_ods) do update set number = excluded.number, change = excluded.change, at = excluded.at "
    "where excluded.number > gp_inbox.number"
)
_MOVE = text(
    "insert into delivery values (:t, 0, :n) on conflict (topic, partition) do update set next_offset = excluded.next_offset"
)
