"""Where partitions begin and end, asked while the broker does not know all of their leaders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import LeaderNotAvailableError

from producers.kafka_link import end_offsets, first_offsets

HERE, LEADERLESS = TopicPartition("facts.police", 0), TopicPartition("facts.police", 1)


def consumer(answer: Any) -> Any:
    """One whose broker answers so."""
    return SimpleNamespace(beginning_offsets=answer, end_offsets=answer)


def refuses(partitions: list[TopicPartition], _: int | None) -> Any:
    """As kafka-python without a leader."""
    raise KeyError(partitions[-1])


def knows_one(_: list[TopicPartition], __: int | None) -> dict[TopicPartition, int]:
    """As a broker that was asked of a partition on its way to another."""
    return {HERE: 7}


@pytest.mark.parametrize("asked", [first_offsets, end_offsets])
class TestOffsets:
    """Every place that asks for offsets asks so."""

    def test_are_of_what_was_asked_for(self, asked: Any) -> None:
        """Of those partitions and no other."""
        assert {HERE: 7} == asked(consumer(lambda *_: {HERE: 7, LEADERLESS: 9}), [HERE])

    @pytest.mark.parametrize("answer", [refuses, knows_one])
    def test_a_leader_is_unknown(self, asked: Any, answer: Any) -> None:
        """An error of Kafka's, after which everybody asks again, and neither a KeyError nor fewer partitions."""
        with pytest.raises(LeaderNotAvailableError, match="not known yet"):
            asked(consumer(answer), [HERE, LEADERLESS])
