"""`web.ports.Reading` over `projections.reading`: the same documents, in the shapes the pages ask for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from domain.searching import SearchTerms
from domain.standing import COUNTED_US
from producers.kafka_link import end_offsets
from projections.reading import Reading as Views
from schemas.codec import Codec, Undecodable
from schemas.codes import label
from schemas.registry import RegistryUnavailable
from schemas.topics import AGENCIES, KafkaAccess
from web.ports import Entry, GpException, InboxItem, Json, Listed, MatchPair, Measure

log = structlog.get_logger()

LAG_OLD_S: Final = 2.0
"""Lag is asked of the broker at most this often."""


class Pulse:
    """The newest counts of topic `pulse`, read by a thread of its own; never authoritative."""

    def __init__(self, access: KafkaAccess, codec: Codec) -> None:
        self._access, self._codec = access, codec
        self._latest: dict[tuple[str, str], Json] = {}
        threading.Thread(target=self._read, daemon=True, name="pulse").start()

    def latest(self) -> list[Json]:
        """The newest window of each agency and record."""
        return sorted(self._latest.values(), key=lambda c: (c["agency"], c["record"]))

    def _read(self) -> None:
        tp = TopicPartition(self._access.topic("pulse"), 0)
        while True:
            try:
                with closing(KafkaConsumer(**self._access.options(), group_id=None, enable_auto_commit=False)) as consumer:
                    consumer.assign([tp])
                    consumer.seek_to_beginning(tp)
                    while True:
                        for record in consumer.poll(500).get(tp, []):
                            self._take(record.value)
            except (KafkaError, RegistryUnavailable) as err:
                log.warning("pulse-interrupted", kind=type(err).__name__)
                time.sleep(2)

    def _take(self, value: bytes) -> None:
        try:
            count = self._codec.decode(value).value
        except Undecodable:
            return
        key = (count["agency"], count["record"])
        if key not in self._latest or self._latest[key]["window_start"] <= count["window_start"]:
            self._latest[key] = count


class Lag:
    """How far each intake partition is behind, asked of the broker as a user who may describe the intake."""

    def __init__(self, access: KafkaAccess, topics: Sequence[str]) -> None:
        self._access, self._topics = access, topics
        self._lock = threading.Lock()
        self._asked = 0.0
        self._ends: dict[tuple[str, int], int] = {}

    def behind(self, positions: Sequence[Mapping[str, Any]]) -> list[Json]:
        """[{topic, partition, behind}] for every intake partition.

        Raises:
            KafkaError: the broker does not answer, or does not know yet who leads a partition.
        """
        with self._lock:
            if time.monotonic() - self._asked > LAG_OLD_S:
                self._ends = self._ask()
                self._asked = time.monotonic()
        at = {(p["topic"], p["partition"]): p["next_offset"] for p in positions}
        return [
            {"topic": t, "partition": p, "behind": max(0, end - at.get((t, p), 0))} for (t, p), end in sorted(self._ends.items())
        ]

    def _ask(self) -> dict[tuple[str, int], int]:
        with closing(KafkaConsumer(**self._access.options(), group_id=None, enable_auto_commit=False)) as consumer:
            names = [self._access.topic(t) for t in self._topics]
            tps = [TopicPartition(n, p) for n in names for p in sorted(consumer.partitions_for_topic(n) or ())]
            return {(self._access.short(tp.topic), tp.partition): end for tp, end in end_offsets(consumer, tps).items()}


class ViewsReading:
    """Reads for the web."""

    def __init__(self, views: Views, pulse: Pulse, lag: Lag, now_us: Callable[[], int]) -> None:
        self._views, self._pulse, self._lag, self._now = views, pulse, lag, now_us

    def queue(self, limit: int, offset: int = 0) -> Listed[Json]:
        """See `web.ports.Reading`."""
        return Listed(*self._views.queue(limit, offset))

    def recently_decided(self, since: int, limit: int, offset: int = 0) -> Listed[Json]:
        """See `web.ports.Reading`."""
        return Listed(*self._views.recently_decided(since, limit, offset))

    def children_of(self, presentation_ids: Sequence[str]) -> Sequence[str]:
        """See `web.ports.Reading`."""
        return self._views.children_of(presentation_ids)

    def child_view(self, child_id: str, as_of: int | None = None, known_at: int | None = None) -> Json | None:
        """See `web.ports.Reading`."""
        return self._views.child_view(child_id, as_of, known_at)

    def child_version(self, child_id: str) -> int | None:
        """See `web.ports.Reading`."""
        return self._views.child_version(child_id)

    def search(self, terms: SearchTerms, limit: int, offset: int = 0) -> Sequence[Json]:
        """See `web.ports.Reading`."""
        return self._views.search(terms, limit, offset)

    def possible_matches(self, state: str, limit: int, offset: int = 0) -> Listed[MatchPair]:
        """See `web.ports.Reading`."""
        pairs, total = self._views.possible_matches(state, limit, offset)
        return Listed([MatchPair(**pair) for pair in pairs], total)

    def possible_match(self, match_id: str) -> MatchPair | None:
        """See `web.ports.Reading`."""
        pair = self._views.possible_match(match_id)
        return None if pair is None else MatchPair(**pair)

    def recommendation(self, recommendation_id: str) -> tuple[str, Json] | None:
        """See `web.ports.Reading`."""
        return self._views.recommendation(recommendation_id)

    def gp_inbox(
        self, practice_ods: str, states: Sequence[str], after: tuple[int, str] | None = None, limit: int | None = None
    ) -> Sequence[InboxItem]:
        """See `web.ports.Reading`."""
        return [InboxItem(*item) for item in self._views.gp_inbox(practice_ods, states, after, limit)]

    def gp_message(self, message_id: str, practice_ods: str) -> tuple[Json, Json] | None:
        """See `web.ports.Reading`."""
        return self._views.gp_message(message_id, practice_ods)

    def gp_exceptions(self, limit: int, offset: int = 0) -> Listed[GpException]:
        """See `web.ports.Reading`."""
        found, total = self._views.gp_exceptions(limit, offset)
        return Listed([GpException(*item) for item in found], total)

    def gp_exception(self, message_id: str) -> GpException | None:
        """See `web.ports.Reading`."""
        found = self._views.gp_exception(message_id)
        return None if found is None else GpException(message_id, *found)

    def entry_for(self, event_id: str) -> Entry | None:
        """See `web.ports.Reading`."""
        found = self._views.entry_for(event_id)
        return None if found is None else Entry(found.verdict, found.reason, found.number, found.accepted_at, found.said)

    def feed_position(self) -> int:
        """See `web.ports.Reading`."""
        return self._views.feed_position()

    def wait_for_change(self, after: int, timeout_s: float) -> int:
        """See `web.ports.Reading`."""
        return self._views.wait_for_change(after, timeout_s)

    def status(self) -> Json:
        """See `web.ports.Reading`."""
        found = self._views.positions()
        warnings: list[str] = []
        try:
            found["lag"] = self._lag.behind(found["positions"])
        except KafkaError:
            found["lag"] = []
            warnings.append("The broker does not answer: how far the intake is behind is not known.")
        if found["relay_age_s"] > 10:
            warnings.append(
                f"The relay is {found['relay_age_s']:.0f} s behind: decisions show as pending until it has caught up."
            )
        return {**found, "warnings": warnings}

    def dead_letters(self, agency: str | None, limit: int) -> Sequence[Json]:
        """See `web.ports.Reading`."""
        return self._views.dead_letters(agency, limit)

    def dead_letter(self, letter_id: str) -> Json | None:
        """See `web.ports.Reading`."""
        return self._views.dead_letter(letter_id)

    def pulse(self) -> Sequence[Json]:
        """See `web.ports.Reading`."""
        return self._pulse.latest()

    def measures(self) -> Sequence[Measure]:
        """Counts over the last 365 days, for the board: every row also when zero (R5, R17)."""
        return measures(self._views.counts(), self._now())

    def ready(self) -> Mapping[str, bool]:
        """See `web.ports.Reading`."""
        try:
            return {"views": True, "caught_up": self._views.caught_up()}
        except SQLAlchemyError:
            return {"views": False, "caught_up": False}


def measures(children: Sequence[Json], now: int) -> list[Measure]:
    """The board's tables from the counts of each child (`domain.standing`), unsuppressed."""
    since = now - COUNTED_US
    recommendations = [(state, by) for c in children for at, state, by in c["recommendations"] if at >= since]
    senders, messages = Counter[str](), Counter[str]()
    for c in children:
        senders.update(c["facts"])
        messages.update(c["messages"])
    disagreements = Counter(agency for _, by in recommendations for agency in by)
    states = Counter(state for state, _ in recommendations)
    clocks = Counter(clock for c in children for at, clock in c["episodes"] if at >= since)
    return [
        Measure("recommendations", "Recommendations of a strategy discussion", "Recommendations", _rows(states, STATES)),
        Measure("disagreements", "Disagreements with decisions", "Disagreements", _rows(disagreements, SITTING, "icart-agency")),
        Measure("rhi", "Return home interviews after missing episodes, by 72-hour clock", "Episodes", _rows(clocks, CLOCKS)),
        Measure("gp", "Messages to GP practices, by state", "Messages", _rows(messages, MESSAGES)),
        Measure("facts", "Facts received, by agency", "Facts", _rows(senders, AGENCIES, "agency"), about_people=False),
    ]  # fmt: skip


SITTING: Final = ("police", "health", "education", "csc", "edt")
STATES: Final = ("OPEN", "OVERDUE", "EVIDENCE_CHANGED", "JOINED", "CONVENED", "HELD", "DECLINED", "CLOSED")
CLOCKS: Final = ("NOT_STARTED", "RUNNING", "MET", "LATE", "DECLINED", "OVERDUE")
MESSAGES: Final = ("WAITING", "ACCEPTED", "READ", "CODED", "REJECTED", "NO_PRACTICE", "WITHDRAWN")


def _rows(counts: Mapping[str, int], order: Sequence[str], list_id: str | None = None) -> list[tuple[str, int]]:
    return [(label(list_id, c) if list_id else c.replace("_", " ").capitalize(), counts.get(c, 0)) for c in order]
