"""The exactly-once host, as far as it can be judged without a broker and a database."""

from __future__ import annotations

import pytest
from kafka import TopicPartition

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
