"""Topic `ledger` into an archive, and an archive into an empty topic: the same records in the same order at the same offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any, Final

from kafka import KafkaProducer

from consumers.archive import Archive, ArchiveError, Record, record_of
from consumers.ledger import ENTRY, numbered, read_record
from consumers.topic_reader import TopicReader
from projections.entries import header
from schemas.topics import KafkaAccess

LEDGER: Final = "ledger"
WINDOW: Final = 2_000
"""Records sent before their acknowledgements are looked at."""

MEANWHILE: Final = 5_000
"""Records of an archive that are read before anybody waits for Kafka."""

SEND_TIMEOUT_S: Final = 30

Progress = Callable[[int], None]
Positions = dict[tuple[str, int], int]
"""Next offset by (topic, partition) of the intake."""


class OtherLedger(ArchiveError):
    """The topic's records are not those of the archive."""


class LedgerNotEmpty(ArchiveError):
    """A ledger is restored into an empty topic only."""


def back_up(access: KafkaAccess, archive: Archive, progress: Progress = lambda _: None) -> int:
    """Add to `archive` what the topic holds beyond it; returns how many records.

    Raises:
        OtherLedger, ArchiveError, TopicSilent, KafkaError.
    """
    with closing(TopicReader(access, LEDGER)) as reader:
        end = _same_ledger(reader, archive)
        return archive.append(_counted((record_of(r) for r in reader.records(archive.end, end)), progress))


def entries(access: KafkaAccess, archive: Archive | None = None) -> Iterator[bytes]:
    """Every entry in force, in number order: out of `archive` as far as it reaches, then out of the topic up to its end now.

    Kafka is connected to while the archive's first entries are worked upon: that it is another ledger's is told a little later.

    Raises:
        OtherLedger, ArchiveDamaged, LedgerGap, TopicSilent, KafkaError.
    """
    with ThreadPoolExecutor(1) as aside:
        opening = aside.submit(_opened, access, archive)
        try:
            for sent in numbered(map(read_record, _records(archive, opening))):
                yield sent.value
        finally:
            if opening.exception() is None:
                opening.result()[0].close()


def _opened(access: KafkaAccess, archive: Archive | None) -> tuple[TopicReader, int, int]:
    """A reader of the topic, and from where and up to where it is to read on. Raises: OtherLedger."""
    reader = TopicReader(access, LEDGER)
    try:
        return (reader, 0, reader.ends()[1]) if archive is None else (reader, archive.end, _same_ledger(reader, archive))
    except BaseException:  # whatever it was: nobody else has the reader, to close it
        reader.close()
        raise


def _records(archive: Archive | None, opening: Future[tuple[TopicReader, int, int]]) -> Iterator[Any]:
    kept: Iterator[Any] = iter(()) if archive is None else archive.records()
    yield from islice(kept, MEANWHILE)
    reader, begin, end = opening.result()
    yield from kept
    yield from reader.records(begin, end)


def _same_ledger(reader: TopicReader, archive: Archive) -> int:
    """The topic's end, when the topic goes on where the archive ends.

    Raises: OtherLedger.
    """
    first, end = reader.ends()
    if first > 0:
        raise OtherLedger(
            f"the ledger topic begins at offset {first}, not 0: its retention must be for ever, and nothing deleted"
        )
    if end < archive.end:
        raise OtherLedger(
            f"the ledger topic ends at {end}, the archive at {archive.end}: restore the ledger, or name another folder"
        )
    if archive.end and record_of(next(reader.records(archive.end - 1, archive.end))).content != archive.last().content:
        raise OtherLedger("the archive's last record is not the topic's: this is another ledger's archive, name another folder")
    return end


def restore(access: KafkaAccess, archive: Archive, progress: Progress = lambda _: None) -> int:
    """Send the archive's records, in order and acknowledged by all replicas, to the empty topic; returns how many.

    A topic that holds exactly the archive's first records is one where a restore was cut short: it is completed.

    Raises:
        ArchiveDamaged: before anything is sent; LedgerNotEmpty; KafkaError.
    """
    archive.verify()
    with closing(TopicReader(access, LEDGER)) as reader:
        first, end = reader.ends()
        there = (record_of(r) for r in reader.records(first, end))
        if first > 0 or end > archive.end or any(a.content != b.content for a, b in zip(there, archive.records(), strict=False)):
            raise LedgerNotEmpty(
                f"the ledger topic holds records already (offsets {first} to {end - 1}): restore into an empty one only"
            )
    producer = KafkaProducer(
        **access.options(), acks="all", enable_idempotence=True, linger_ms=5, batch_size=262_144, max_request_size=1_500_000,
    )  # fmt: skip
    try:
        _send(producer, access.topic(LEDGER), archive.records(end), progress)
    finally:
        producer.close(timeout=5)
    return archive.end - end


def positions(archive: Archive) -> Positions:
    """How far into the intake the archive's entries reach: the highest offset that an entry in force names, and one.

    Raises:
        ArchiveDamaged, LedgerGap.
    """
    found: Positions = {}
    for sent in numbered(read_record(r) for r in archive.records()):
        head = header(sent.value)
        if sent.what == ENTRY and head["source_topic"] is not None:
            at = (head["source_topic"], head["source_partition"])
            found[at] = max(found.get(at, 0), head["source_offset"] + 1)
    return found


def _send(producer: Any, topic: str, records: Iterator[Record], progress: Progress) -> None:
    while window := list(islice(records, WINDOW)):
        sent = [(r, producer.send(topic, r.value, key=r.key, headers=list(r.headers), partition=0)) for r in window]
        for record, future in sent:
            offset = future.get(SEND_TIMEOUT_S).offset
            if offset != record.offset:
                raise LedgerNotEmpty(
                    f"offset {record.offset} went to {offset}: somebody else writes to the ledger, stop every relay"
                )
        progress(len(window))


def _counted(records: Iterator[Record], progress: Progress) -> Iterator[Record]:
    for record in records:
        yield record
        progress(1)
