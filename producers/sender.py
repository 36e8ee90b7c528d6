"""From the spool to the broker: one thread, in the spool's order, an acknowledgement before a fact is let go."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from kafka import errors as kafka_errors

from domain.problems import SightlineError
from producers.errors import BrokerUnavailable, SpoolError
from producers.facts import Fact, catalogue_name
from producers.kafka_link import abandon, greet, in_our_words, open_producer
from producers.spool import Spool, unwritable
from schemas.catalogue import RecordSpec, catalogue
from schemas.codec import HEADER, MAGIC, Codec
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess

log = structlog.get_logger(__name__)

IN_FLIGHT_FACTS: Final = 4_000
"""Handed to kafka-python and not yet acknowledged: four linger windows at 20k/s. As many are repeated at worst."""

READ_FACTS: Final = 1_000
LOOK_S: Final = 1.0
"""A silent broker is looked at this often, to say what is wrong with it."""

STALE_S: Final = 15.0
"""The broker answers and this producer still gets nothing through: begin with a new one."""

RETRY_S: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses between attempts; the last one repeats. A returned broker is found within 2 s."""

IDLE_S: Final = 1.0
FRAMES_MAX: Final = 12


class SchemaShelf:
    """The schemas that waiting facts were written with, so that a newer program can still send an older one's facts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[str] = set()

    def keep(self, spec: RecordSpec) -> None:
        """Have `spec`'s text on disk before a fact is stored that needs it.

        Raises:
            SpoolUnwritable: the disk refused.
        """
        if spec.fingerprint in self._kept:
            return
        path = self._folder / f"{spec.fingerprint}.avsc"
        try:
            self._folder.mkdir(exist_ok=True, mode=0o700)
            if not path.exists():
                draft = path.with_suffix(".new")
                with draft.open("w") as file:
                    file.write(spec.text)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
        except OSError as err:
            raise unwritable(self._folder.parent, err) from err
        self._kept.add(spec.fingerprint)

    def text(self, record: str, fingerprint: str) -> str:
        """The schema text of a fingerprint.

        Raises:
            SpoolError: it was removed from the folder.
        """
        spec = catalogue().get(record)
        if spec is not None and spec.fingerprint == fingerprint:
            return spec.text
        try:
            return (self._folder / f"{fingerprint}.avsc").read_text()
        except FileNotFoundError as err:
            raise SpoolError(f"{record}: the schema a waiting fact was written with is gone; restore {self._folder}") from err


class Sender(threading.Thread):
    """Drains `spool` to `topic`. `problem` says what stands in the way just now; None when nothing does."""

    def __init__(self, spool: Spool, shelf: SchemaShelf, codec: Codec, access: KafkaAccess, agency: str) -> None:
        super().__init__(name=f"sender-{agency}", daemon=True)
        self._spool, self._shelf, self._codec, self._access, self._agency = spool, shelf, codec, access, agency
        self._topic = access.topic(f"facts.{agency}")
        self._ids: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self.problem: SightlineError | None = None

    def nudge(self) -> None:
        """Something was stored."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, number: int, timeout_s: float, *, until_refused: bool = False) -> bool:
        """True once everything up to `number` is acknowledged; False at the timeout, or when refused for a lasting reason."""

        def settled() -> bool:
            refused = self.problem is not None and not isinstance(self.problem, (BrokerUnavailable, RegistryUnavailable))
            return self._spool.acked >= number or (until_refused and refused) or self._stopping

        with self._changed:
            self._changed.wait_for(settled, timeout_s)
        return self._spool.acked >= number

    def stop(self, timeout_s: float) -> None:
        """End the thread; what is not acknowledged stays in the spool."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.join(timeout_s)

    def run(self) -> None:
        """Until stopped: send what waits; after a failure, say it, pause, begin again at what is not acknowledged."""
        producer: Any = None
        failures = 0
        while not self._stopping:
            # Broad: a sender that died of a surprise would look like a quiet agency, and quiet is not safe.
            try:
                if self._spool.waiting:
                    producer = producer or open_producer(self._access)
                    self._drain(producer)
                else:
                    self._rest()
                failures = 0
            except Exception as err:
                self._say(self._ours(err), err)
                _end(producer)
                producer = None
                self._pause(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
        _end(producer)

    def _drain(self, producer: Any) -> None:
        """Send until nothing waits.

        A failure in the middle leaves later facts in doubt; beginning again sends them once more, in order.
        """
        flight: deque[tuple[int, Any]] = deque()
        handed = self._spool.acked
        while not self._stopping:
            if len(flight) < IN_FLIGHT_FACTS:
                for waiting in self._spool.read(handed, READ_FACTS):
                    flight.append((waiting.number, self._hand(producer, waiting.fact)))
                    handed = waiting.number
            if not flight:
                return
            self._await(flight[0][1])
            reached = 0
            while flight and flight[0][1].is_done:
                number, future = flight.popleft()
                if future.failed():
                    if reached:
                        self._acknowledge(reached)
                    raise future.exception
                reached = number
            if reached:
                self._acknowledge(reached)

    def _hand(self, producer: Any, fact: Fact) -> Any:
        if fact.schema not in self._ids:
            text = self._shelf.text(fact.record, fact.schema)
            self._ids[fact.schema] = HEADER.pack(MAGIC, self._codec.schema_id(catalogue_name(fact.record), text))
        value = self._ids[fact.schema] + fact.body
        return producer.send(self._topic, value, key=fact.key.encode(), headers=fact.headers(self._agency))

    def _await(self, future: Any) -> None:
        """Until the oldest is decided, or we are to stop; meanwhile say what the broker's trouble is."""
        answers_since: float | None = None
        while not self._stopping:
            try:
                future.get(LOOK_S)
            except kafka_errors.KafkaError:
                if future.is_done:
                    return
            else:
                return
            try:
                greet(self._access)
            except SightlineError as err:
                self._say(err)
                answers_since = None
                continue
            answers_since = answers_since or time.monotonic()
            if time.monotonic() - answers_since > STALE_S:
                raise BrokerUnavailable(f"the broker at {self._access.bootstrap} answers, and takes nothing for {STALE_S:.0f} s")

    def _acknowledge(self, number: int) -> None:
        self._spool.acknowledge(number)
        self._nothing_in_the_way()

    def _nothing_in_the_way(self) -> None:
        with self._changed:
            before, self.problem = self.problem, None
            self._changed.notify_all()
        if before is not None:
            _log(log.info, "sender.flows_again", agency=self._agency, waiting=self._spool.waiting)

    def _say(self, problem: SightlineError, cause: Exception | None = None) -> None:
        with self._changed:
            before, self.problem = self.problem, problem
            self._changed.notify_all()
        if cause is not None and not isinstance(cause, (SightlineError, kafka_errors.KafkaError, OSError)):
            _log(log.error, "sender.surprise", agency=self._agency, error=type(cause).__name__, raised_at=_places(cause))
        if type(problem) is not type(before):
            _log(log.warning, "sender.waits", agency=self._agency, why=str(problem), waiting=self._spool.waiting)

    def _ours(self, err: Exception) -> SightlineError:
        if isinstance(err, SightlineError):
            return err
        if isinstance(err, OSError):  # the network's are in our words already
            return unwritable(self._spool.folder, err)
        return in_our_words(err, self._access, self._topic)

    def _rest(self) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._stopping or self._spool.waiting > 0, IDLE_S):
                return
        self._spool.tidy()
        self._nothing_in_the_way()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)


def _end(producer: Any) -> None:
    if producer is not None:
        with contextlib.suppress(Exception):  # kafka-python's; it is given up in any case
            abandon(producer)


def _log(say: Callable[..., Any], event: str, **fields: Any) -> None:
    """A log that cannot be written (a closed pipe, a full disk) holds no fact up."""
    with contextlib.suppress(Exception):
        say(event, **fields)


def _places(err: Exception) -> list[str]:
    """`file:line function` of each frame. Not `exc_info`: by default structlog prints the frames' locals, a child's too (I7)."""
    walked = traceback.walk_tb(err.__traceback__)
    return [f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}" for frame, line in walked][-FRAMES_MAX:]
