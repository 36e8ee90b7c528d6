"""A producer that is opened at need, and given up when it failed."""

from __future__ import annotations

import threading
import time

from kafka.errors import KafkaTimeoutError

from producers.errors import BrokerUnavailable
from producers.kafka_link import Reopened, abandon


class Producer:
    """One that hangs: it does not end when it is told to, as kafka-python's on a broker that does not answer."""

    def __init__(self, *, hangs: bool = False) -> None:
        """`hangs`: closing it raises."""
        self.hangs, self.ended = hangs, 0
        self._sender = self

    def force_close(self) -> None:
        """Of its thread."""

    def join(self, seconds: float) -> None:
        """Of its thread."""

    def close(self, seconds: float) -> None:
        """Of the producer."""
        self.ended += 1
        if self.hangs:
            raise KafkaTimeoutError


def shelf() -> tuple[Reopened, list[Producer]]:
    """What opens producers, and those opened so far."""
    made: list[Producer] = []

    def opened() -> Producer:
        made.append(Producer())
        return made[-1]

    return Reopened(opened), made


def test_given_up_once() -> None:
    """Two threads that failed on one producer give up that one; the one in its place stays."""
    link, made = shelf()
    first = link.get()
    assert first is link.get()
    link.give_up(first)
    second = link.get()
    link.give_up(first)
    assert (second, [1, 0]) == (link.get(), [p.ended for p in made])
    link.close()
    link.close()
    assert [1, 1] == [p.ended for p in made]


def test_closed_while_it_opens() -> None:
    """Nothing stays open that nobody knows of."""
    opening, go = threading.Event(), threading.Event()
    made: list[Producer] = []

    def opened() -> Producer:
        opening.set()
        assert go.wait(10)
        made.append(Producer())
        return made[-1]

    link = Reopened(opened)
    threads = [threading.Thread(target=work) for work in (link.get, link.close)]
    threads[0].start()
    assert opening.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert [1] == [p.ended for p in made]


def test_a_broker_that_is_away() -> None:
    """Ten who ask at once wait for one attempt, not one after another for ten; the next to ask makes another."""
    opening, go = threading.Event(), threading.Event()
    tried: list[int] = []
    told: list[BrokerUnavailable] = []

    def opened() -> Producer:
        tried.append(1)
        opening.set()
        assert go.wait(10)
        if len(tried) == 1:
            raise BrokerUnavailable("away")
        return Producer()

    def ask() -> None:
        try:
            link.get()
        except BrokerUnavailable as err:
            told.append(err)

    link = Reopened(opened)
    threads = [threading.Thread(target=ask) for _ in range(10)]
    threads[0].start()
    assert opening.wait(10)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.3)  # until they wait
    go.set()
    for thread in threads:
        thread.join(10)
    assert (1, 10) == (len(tried), len(told))
    assert link.get() is link.get()
    assert 2 == len(tried)


def test_one_that_hangs() -> None:
    """Whoever gives it up goes on: a sender that ended of it would look like a quiet agency."""
    abandon(Producer(hangs=True))
