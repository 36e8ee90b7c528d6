"""Reading the ledger topic: every number once, in order, stale relays' entries ignored; a gap is a loud stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from domain.problems import SightlineError
from domain.values import immutable
from producers.kafka_link import Reopened, end_offsets
from schemas.topics import KafkaAccess

TAKEOVER: Final = "Takeover"
ENTRY: Final = "LedgerEntry"
TAIL_RECORDS: Final = 2_000
"""How far back the end is looked for at first."""


class LedgerGap(SightlineError):
    """The ledger topic lacks a number: it is damaged, or it is another deployment's. Restore it from backup."""


@immutable
class Sent:
    """One record of the ledger topic. `number` is the entry's own, or for a takeover the last one it had applied."""

    what: str
    offset: int
    incarnation: int
    epoch: int
    number: int
    value: bytes


def headers(what: str, incarnation: int, epoch: int, number: int) -> list[tuple[str, bytes]]:
    """The Kafka headers of a ledger record: what a reader needs before it decodes."""
    fields = {"record": what, "incarnation": str(incarnation), "epoch": str(epoch), "number": str(number)}
    return [(k, v.encode()) for k, v in fields.items()]


def read_record(record: Any) -> Sent:
    """A polled record of the ledger topic."""
    h = dict(record.headers)
    return Sent(
        h["record"].decode(), record.offset, int(h["incarnation"]), int(h["epoch"]), int(h["number"]), record.value or b""
    )


def in_force(records: Iterable[Sent]) -> Iterator[Sent]:
    """Records of relays that had not been superseded when they sent them."""
    fence = (0, 0)
    for sent in records:
        if (sent.incarnation, sent.epoch) >= fence:
            fence = (sent.incarnation, sent.epoch)
            yield sent


def numbered(records: Iterable[Sent], after: int = 0) -> Iterator[Sent]:
    """Entries in force with a number above `after`, each once; `records` begin with the ledger's first.

    Raises:
        LedgerGap: a number is missing.
    """
    last = 0
    for sent in in_force(records):
        if sent.what == TAKEOVER or sent.number <= last:
            continue
        if sent.number != last + 1:
            raise LedgerGap(f"the ledger goes from {last} to {sent.number} at offset {sent.offset}: restore it from backup")
        last = sent.number
        if last > after:
            yield sent


class LedgerEnd:
    """The ledger's end, for whoever asks until the database has applied it: on one reader, which has to answer before there is
    more; another takes its place when it failed.
    """

    def __init__(self, access: KafkaAccess) -> None:
        self._link = Reopened(lambda: LedgerReader(access), _end)
        self._link.get()

    def ask(self) -> tuple[int, int]:
        """(last number, newest incarnation).

        Raises: KafkaError, LedgerGap.
        """
        reader = self._link.get()
        try:
            number, incarnation, _ = reader.end()
        except KafkaError:
            self._link.give_up(reader)
            raise
        return number, incarnation


def _end(reader: LedgerReader) -> None:
    with contextlib.suppress(KafkaError):
        reader.close()


class LedgerReader:
    """Reads the ledger from its beginning or after a number; keeps the fence that takeovers set."""

    def __init__(self, access: KafkaAccess) -> None:
        self._tp = TopicPartition(access.topic("ledger"), 0)
        self._consumer = KafkaConsumer(
            **access.options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20,
            max_poll_records=2_000, max_partition_fetch_bytes=8_000_000,
        )  # fmt: skip
        self._consumer.assign([self._tp])

    def close(self) -> None:
        """Close connections."""
        self._consumer.close()

    def end_offset(self) -> int:
        """One past the last record."""
        return end_offsets(self._consumer, [self._tp])[self._tp]

    def end(self) -> tuple[int, int, int]:
        """(last number, newest incarnation, newest epoch) that the topic holds; zeros when it is empty."""
        number = incarnation = epoch = 0
        for sent in in_force(self._range(max(0, self.end_offset() - TAIL_RECORDS), self.end_offset())):
            number, incarnation, epoch = max(number, sent.number), sent.incarnation, sent.epoch
        return number, incarnation, epoch

    def last_entry(self) -> bytes | None:
        """The last entry's bytes, however many takeovers follow it (of a relay that cannot get further than that); None when the
        topic holds no entry.
        """
        end, back = self.end_offset(), TAIL_RECORDS
        while True:
            found = [s for s in in_force(self._range(max(0, end - back), end)) if s.what == ENTRY]
            if found or back >= end:
                return max(found, key=lambda s: s.number).value if found else None
            back *= 4

    def entries(self, after: int = 0, stop: int | None = None) -> Iterator[Sent]:
        """Entries with a number above `after`, in order, each once, up to offset `stop` (default: the end now).

        Raises:
            LedgerGap: a number is missing.
        """
        yield from numbered(self._range(0, self.end_offset() if stop is None else stop), after)

    def _range(self, start: int, stop: int) -> Iterator[Sent]:
        if start >= stop:
            return
        self._consumer.seek(self._tp, start)
        idle_since = time.monotonic()
        while self._consumer.position(self._tp) < stop:
            polled = self._consumer.poll(200).get(self._tp, [])
            if polled:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > 30:
                raise LedgerGap("the ledger topic gives nothing for 30 s: does this user have the right to read it?")
            for record in polled:
                if record.offset >= stop:
                    return
                yield read_record(record)
