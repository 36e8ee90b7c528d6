"""When a due time may fire, by what is unread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError

from consumers.clock import AGAIN_US, INTAKE, SOON_US, WAIT_US_MAX, Clock, Said, behind, clock_id, intake_ends, must_wait
from schemas.topics import KafkaAccess

ACCESS = KafkaAccess("127.0.0.1:9092", "clock", "", prefix="t.")


@pytest.mark.parametrize(
    ("unread", "waited_us", "wait"),
    [
        ([], 0, False),
        (["facts.police"], 0, True),
        (["facts.police"], WAIT_US_MAX - 1, True),
        (["facts.police"], WAIT_US_MAX, False),
        (["decisions"], WAIT_US_MAX, True),
        (["facts.police", "receipts"], 1_000 * WAIT_US_MAX, True),
    ],
)
def test_must_wait(unread: list[str], waited_us: int, *, wait: bool) -> None:
    """Facts are waited for five minutes; what people did, as long as it takes."""
    assert wait is must_wait(unread, waited_us)


def test_behind() -> None:
    """A topic is named once, by any partition; a position that nobody has taken yet is 0."""
    ends = {("facts.police", 0): 3, ("facts.police", 1): 2, ("decisions", 0): 1, ("receipts", 0): 0}
    assert ["decisions", "facts.police"] == behind(ends, {("facts.police", 0): 2, ("facts.police", 1): 1})
    assert [] == behind(ends, ends)


def test_said_again() -> None:
    """A due time is said once an hour while it stays due; a new due time of the same child at once."""
    said = Said()
    said.note("a", 5, 0)
    assert {"a": 5} == said.recent(AGAIN_US - 1)
    assert {} == said.recent(AGAIN_US)
    said.note("a", 5, AGAIN_US)
    said.note("a", 7, AGAIN_US + 1)
    assert {"a": 7} == said.recent(AGAIN_US + 2)


def test_said_again_when_it_was_too_early() -> None:
    """After a minute, not within it: clocks that differ do not flood the topic."""
    said = Said()
    said.note("a", 5, 0)
    said.too_early("a", SOON_US - 1)
    said.too_early("b", SOON_US)
    assert {"a": 5} == said.recent(SOON_US)
    said.too_early("a", SOON_US)
    assert {} == said.recent(SOON_US)


def test_the_id_is_of_the_child_as_it_stands() -> None:
    """The same for two clocks; another once anything was accepted about the child, be it that our own rule failed, or that it was
    decided about too early.
    """
    assert clock_id("a", 5, 9) == clock_id("a", 5, 9)
    assert 5 == len(
        {clock_id("a", 5, 9), clock_id("a", 5, 10), clock_id("a", 6, 9), clock_id("a", 5, 9, 12), clock_id("a", 5, 9, 13)}
    )


class Broker:
    """A consumer that knows two partitions of each topic it knows, with seven records each."""

    def __init__(self, unknown: str | None = None) -> None:
        self._unknown = unknown

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """As kafka-python's."""
        return None if topic == self._unknown else {0, 1}

    def end_offsets(self, partitions: list[Any], timeout_ms: int | None = None) -> dict[Any, int]:
        """As kafka-python's."""
        return dict.fromkeys(partitions, 7)


class Ticking(Clock):
    """Fails in its first tick, and stops in its second."""

    def tick(self, consumer: Any) -> None:
        """Note who is asked."""
        self.asked = [*getattr(self, "asked", []), consumer]
        if len(self.asked) == 1:
            raise KafkaTimeoutError
        self.stop()


def test_another_consumer_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python's may never hear again from a broker that is there again."""
    opened = list[SimpleNamespace]()

    def open_one(**_: object) -> SimpleNamespace:
        opened.append(SimpleNamespace(close=lambda: None))
        return opened[-1]

    monkeypatch.setattr("consumers.clock.KafkaConsumer", open_one)
    monkeypatch.setattr("consumers.clock.TICK_S", 0.0)
    engine: Any = SimpleNamespace(dispose=lambda: None)
    nobody: Any = None
    clock = Ticking(ACCESS, engine, nobody, nobody, lambda: 0, "policy")
    clock.run()
    assert opened == clock.asked and 2 == len(opened)


def test_the_ends_of_the_whole_intake() -> None:
    """Every topic with every partition; no due time fires over a topic of which none is known."""
    ends = intake_ends(Broker(), ACCESS)  # type: ignore[arg-type]
    assert dict.fromkeys([(t, p) for t in INTAKE for p in (0, 1)], 7) == ends
    with pytest.raises(KafkaError):
        intake_ends(Broker("t.decisions"), ACCESS)  # type: ignore[arg-type]
