"""Keys go out also after brokers have refused one for a while: kafka-python's producer may then never send again."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from infra import assembly
from producers import kafka_link
from schemas.topics import KafkaAccess
from tests.fault.memory import CODEC

KEYS = {("a holder", "a class"): (b"wrapped", 1)}


class Producer:
    """Acknowledges, or never does; whether it was given up."""

    def __init__(self, *, stuck: bool) -> None:
        """`stuck`: it never acknowledges."""
        self.stuck, self.sent, self.given_up = stuck, 0, False

    def send(self, *_: Any, **__: Any) -> Producer:
        """Its own future."""
        self.sent += 1
        return self

    def get(self, _: float) -> None:
        """Of the future."""
        if self.stuck:
            raise KafkaTimeoutError


def test_another_producer_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is given up once; what waits is sent anew by the next, which stays."""
    made: list[Producer] = []

    def make(**_: Any) -> Producer:
        made.append(Producer(stuck=not made))
        return made[-1]

    def give_up(producer: Producer) -> None:
        assert not producer.given_up
        producer.given_up = True

    monkeypatch.setattr(assembly, "KafkaProducer", make)
    monkeypatch.setattr(kafka_link, "abandon", give_up)
    publish = assembly.KeyPublisher(KafkaAccess("127.0.0.1:9", "", "unify", "x"), CODEC)
    first, also = publish(KEYS), publish(KEYS)
    for wait in (first, also):
        with pytest.raises(KafkaTimeoutError):
            wait()
    publish(KEYS)()
    publish(KEYS)()
    assert [(p.sent, p.given_up) for p in made] == [(2, True), (2, False)]
