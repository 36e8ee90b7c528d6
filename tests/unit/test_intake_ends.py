"""The intake's ends on a new broker, as far as it can be judged without one."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import InfraError
from infra.intake import raise_ends
from schemas.topics import KafkaAccess


class Leaderless:
    """A consumer whose broker has no leader for what it asks."""

    def __init__(self, **_: object) -> None: ...

    def beginning_offsets(self, partitions: list[Any], _: int | None) -> dict[Any, int]:
        """As kafka-python's."""
        raise KeyError(partitions[0])

    def close(self) -> None:
        """Nothing to close."""


def test_a_partition_without_a_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in a line, with what to do."""
    monkeypatch.setattr("infra.intake.KafkaConsumer", Leaderless)
    with pytest.raises(InfraError, match="start again in a moment"):
        raise_ends(KafkaAccess("127.0.0.1:9092", "admin", ""), "", {("decisions", 0): 3})
