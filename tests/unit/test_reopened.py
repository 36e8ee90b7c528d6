"""A producer that is opened at need, and given up when it failed."""

from __future__ import annotations

import threading

from kafka.errors import KafkaTimeoutError

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


def test_one_that_hangs() -> None:
    """Whoever gives it up goes on: a sender that ended of it would look like a quiet agency."""
    abandon(Producer(hangs=True))
