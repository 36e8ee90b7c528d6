"""The exactly-once host, as far as it can be judged without a broker and a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import KafkaError, LeaderNotAvailableError

from consumers.host import Host

A, B = TopicPartition("facts.police", 0), TopicPartition("facts.police", 1)


class TestFewer:
    """How much of what was polled goes into one transaction."""

    @pytest.mark.parametrize(
        ("failures", "expected"),
        [(0, {A: 6, B: 4}), (1, {A: 5}), (2, {A: 2}), (3, {A: 1}), (40, {A: 1})],
    )
    def test_half_as_many_after_each_failure(self, failures: int, expected: dict[TopicPartition, int]) -> None:
        """Down to a single record, from the first on, and never none."""
        host = object.__new__(Host)
        host._rows, host._failures = 10, failures
        found = host._fewer({A: list(range(6)), B: list(range(4))})
        assert expected == {tp: len(records) for tp, records in found.items()}
        assert all(records == list(range(len(records))) for records in found.values())


class Coordinator:
    """What the host asks of kafka-python's."""

    def __init__(self, *, rejoining: bool, needed: bool) -> None:
        self.rejoining, self.needed, self.asked = rejoining, needed, 0

    def need_rejoin(self) -> bool:
        """Will the next poll take up the join?"""
        return self.needed

    def request_rejoin(self) -> None:
        """It shall."""
        self.asked += 1


class TestJoining:
    """A join that outlasted a poll is not forgotten."""

    @pytest.mark.parametrize(
        ("rejoining", "needed", "asked"), [(True, False, 1), (True, True, 0), (False, False, 0), (False, True, 0)]
    )
    def test_taken_up_by_the_next_poll(self, *, rejoining: bool, needed: bool, asked: int) -> None:
        """Only when kafka-python would not do so by itself."""
        host, coordinator = object.__new__(Host), Coordinator(rejoining=rejoining, needed=needed)
        host._consumer = SimpleNamespace(_coordinator=coordinator)
        host._finish_joining()
        assert asked == coordinator.asked

    def test_the_library_is_as_it_was_when_this_was_written(self) -> None:
        """What the host reaches for is there; another version is to be looked at again."""
        assert "3.0.12" == version("kafka-python")
        assert {"need_rejoin", "request_rejoin"} <= set(dir(ConsumerCoordinator))


class Database:
    """A connection that writes down which partitions are claimed."""

    def __init__(self) -> None:
        self.claimed: list[int] = []

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A transaction."""
        yield

    def execute(self, _: object, key: dict[str, Any]) -> SimpleNamespace:
        """The claim of one partition."""
        self.claimed.append(key["p"])
        return SimpleNamespace(one=lambda: (0, 1))


class TestClaims:
    """Whose partition it is says the group, not what was polled from before."""

    def test_nothing_between_a_revocation_and_the_next_assignment(self) -> None:
        """Else whom it was given to is fenced off again, and what was claimed in vain is missed at the next look."""
        host, conn = object.__new__(Host), Database()
        host._assigned, host._epoch, host._expected, host._owner = set(), {}, {}, "unify-0"
        host._consumer = SimpleNamespace(assignment=lambda: {A, B}, seek=lambda *_: None)
        host._access, host._handler = SimpleNamespace(short=lambda topic: topic), SimpleNamespace(lock=lambda _: None)
        host.__dict__ |= {"_connection": lambda: conn, "_check_held": lambda _: None}
        host.on_partitions_assigned([A, B])
        assert not host._claimed() and host._claimed()
        assert [0, 1] == conn.claimed
        host.on_partitions_revoked([A, B])
        assert host._claimed() and {} == host._epoch
        host.on_partitions_assigned([B])
        assert not host._claimed() and {B: 1} == host._epoch
        assert [0, 1, 1] == conn.claimed


class TestLeaderless:
    """A partition that has no leader for a moment."""

    def test_is_asked_again(self) -> None:
        """What kafka-python raises then is one of the broker's errors, after which the host goes on, and not its end."""
        host, recovered = object.__new__(Host), list[Exception]()

        def offsets(tps: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
            raise KeyError(tps[0])

        host._consumer = SimpleNamespace(
            beginning_offsets=offsets,
            end_offsets=offsets,
            poll=lambda _: {},
            _coordinator=Coordinator(rejoining=False, needed=False),
        )
        host.__dict__ |= {"_claimed": lambda: host._check_held([A]), "_recover": recovered.append}
        host._step()
        assert [LeaderNotAvailableError] == [type(err) for err in recovered]
        assert "not known yet" in str(recovered[0])


class TestBeat:
    """Who looks from outside sees whether a worker gets on."""

    @pytest.mark.parametrize(("claimed", "failing", "beats"), [(True, False, 1), (False, False, 0), (True, True, 0)])
    def test_only_after_a_step_that_succeeded(self, *, claimed: bool, failing: bool, beats: int) -> None:
        """Idle is well; waiting for the database, or failing over and over, is not."""
        host, heard = object.__new__(Host), list[int]()

        class Consumer:
            _coordinator = Coordinator(rejoining=False, needed=False)

            def poll(self, timeout_ms: int) -> dict[TopicPartition, list[object]]:
                if failing:
                    raise KafkaError
                return {}

        host._consumer = Consumer()
        host.__dict__ |= {"_claimed": lambda: claimed, "_look": lambda: None, "_recover": lambda err: None}
        host._beat = lambda: heard.append(1)
        host._step()
        assert beats == len(heard)
