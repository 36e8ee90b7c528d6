"""What an agency's system uses: facts are validated, kept on disk, and go out in order as soon as the broker takes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from domain.problems import SightlineError
from producers.errors import BrokerUnavailable
from producers.facts import Fact, prepare, spec_of
from producers.kafka_link import greet
from producers.outcomes import Told, read_told
from producers.sender import SchemaShelf, Sender
from producers.spool import BYTES_MAX, FACTS_MAX, Spool
from schemas.codec import Codec
from schemas.topics import KafkaAccess

log = structlog.get_logger(__name__)

STORE_FACTS: Final = 2_000
"""`publish_many` writes and syncs about this many at a time: an fsync of some milliseconds is then nothing a fact."""

CLOSE_S: Final = 5.0


def now_us() -> int:
    """This instant, µs since 1970 UTC."""
    return time.time_ns() // 1000


class AgencyClient:
    """Publishes facts as one agency.

    `publish` returns when the fact is valid and on this machine's disk; a thread sends it. With the broker away, facts
    wait in `spool` (bounded) and go out in order when it is back, also after a restart of this process. A fact may
    reach the intake twice after a crash, always under its one `event_id`: it is accepted once (I1).
    """

    def __init__(
        self, access: KafkaAccess, agency: str, codec: Codec, key_secret: bytes, spool: Path, *,
        spool_bytes_max: int = BYTES_MAX, spool_facts_max: int = FACTS_MAX, now: Callable[[], int] = now_us,
    ) -> None:  # fmt: skip
        """`key_secret` makes the Kafka keys of this agency's children; keep it, or their facts change partition.

        Needs no broker and no registry to open.

        Raises:
            ValueError: the secret is shorter than 16 bytes; SpoolInUse, SpoolDamaged, SpoolUnwritable.
        """
        if len(key_secret) < 16:
            raise ValueError("the key secret must have at least 16 bytes")
        self.access, self.agency = access, agency
        self._codec, self._secret, self._now = codec, key_secret, now
        self._spool = Spool(spool, bytes_max=spool_bytes_max, facts_max=spool_facts_max)
        self._shelf = SchemaShelf(spool / "schemas")
        self._sender = Sender(self._spool, self._shelf, codec, access, agency)
        self._sender.start()

    @property
    def waiting(self) -> int:
        """Facts on this disk that the broker has not acknowledged."""
        return self._spool.waiting

    @property
    def problem(self) -> SightlineError | None:
        """What keeps facts from going out just now; None when nothing does."""
        return self._sender.problem

    def check(self) -> None:
        """Ask the broker whether it takes us.

        Raises:
            BrokerUnavailable, NotAuthorised: within a few seconds.
        """
        greet(self.access)

    def prepare(self, record_name: str, value: Mapping[str, Any]) -> Fact:
        """Validate and encode, and store nothing.

        Raises:
            InvalidFact, NotYours, TooLarge: naming fields and rules, never values.
        """
        return prepare(self.agency, self._secret, record_name, value, self._now())

    def publish(self, record_name: str, value: Mapping[str, Any]) -> str:
        """Publish one fact; returns its `event_id` once it is safe on disk. Instants: ISO 8601 with offset, datetime, or µs.

        Raises:
            InvalidFact, NotYours, TooLarge: the fact; SpoolFull, SpoolUnwritable: it could not be kept; SpoolClosed: after
            `close`, or in a process forked since this client was opened.
        """
        fact = self.prepare(record_name, value)
        self.store([fact])
        return fact.event_id

    def publish_many(self, facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Publish `(record name, value)` pairs in order, syncing the disk once for many; returns their `event_id`s.

        The first that cannot be published ends the call; those before it are published.

        Raises:
            As `publish`.
        """
        ids: list[str] = []
        ready: list[Fact] = []
        try:
            for name, value in facts:
                ready.append(self.prepare(name, value))
                ids.append(ready[-1].event_id)
                if len(ready) >= STORE_FACTS:
                    full, ready = ready, []
                    self.store(full)
        finally:
            self.store(ready)
        return ids

    def store(self, facts: list[Fact]) -> None:
        """Publish what `prepare` made, with one sync of the disk.

        Raises:
            SpoolFull, SpoolUnwritable, SpoolClosed: none of them is kept.
        """
        if facts:
            for record in {fact.record for fact in facts}:
                self._shelf.keep(spec_of(record))
            self._spool.append(facts)
            self._sender.nudge()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until the broker has everything published so far.

        Raises:
            NotAuthorised: at once when the broker refuses us; BrokerUnavailable, RegistryUnavailable: after `timeout_s`.
            The facts stay in the spool in each case.
        """
        if self._sender.wait_for(self._spool.last, timeout_s, until_refused=True):
            return
        raise self._sender.problem or BrokerUnavailable(
            f"{self.waiting} facts still wait in the spool after {timeout_s:g} s; they go out while this client runs"
        )

    def outcomes(self, since: Mapping[str, int] | None = None, *, timeout_s: float = 10.0) -> Told:
        """What became of this agency's facts: outcomes and dead letters from `since` (a former `Told.position`) to now.

        When a topic was made anew and ends before `since`, all that it holds: some of it may have been told before.

        Raises:
            BrokerUnavailable, NotAuthorised.
        """
        return read_told(self.access, self.agency, self._codec, since or {}, timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what can be sent within `timeout_s`; the rest stays in the spool for the next client that opens it."""
        self._sender.wait_for(self._spool.last, timeout_s, until_refused=True)
        self._sender.stop(CLOSE_S)
        self._spool.close()
        if self.waiting:
            log.warning("client.closed_with_facts_waiting", agency=self.agency, waiting=self.waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
