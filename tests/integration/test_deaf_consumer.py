"""A consumer that no longer hears from brokers that are there is given up for another: nobody waits for what never comes."""

from __future__ import annotations

from typing import Any, Final

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from tests.integration import restoring
from tests.integration.test_set_apart import Desk, concern, ids

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TOPIC: Final = "facts.education"


def test_a_worker_joins_anew(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first consumer of `unify` asks for the ends of its partitions in vain, for ever."""
    asks, members = KafkaConsumer.beginning_offsets, list[Any]()

    def deaf(self: Any, *args: Any, **options: Any) -> Any:
        if self.config["group_id"] is not None:
            if self not in members:
                members.append(self)
            if self is members[0]:
                raise KafkaTimeoutError("nobody answers")
        return asks(self, *args, **options)

    monkeypatch.setattr(KafkaConsumer, "beginning_offsets", deaf)
    d = services.deploy()
    with restoring.workers(d):
        desk, told = Desk(d), [concern() for _ in range(3)]
        at = desk.put(TOPIC, "agency.education", *[desk.encoded("SchoolConcern", v) for v in told])
        desk.wait(TOPIC, at[-1])
    assert set(ids(told)) == desk.accepted()
    assert 2 == len(members) and members[0]._closed
    desk.whole()
    d.close()
