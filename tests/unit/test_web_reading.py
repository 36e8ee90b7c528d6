"""What the pages are told of the broker while it is in trouble."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from schemas.topics import KafkaAccess
from web import reading
from web.reading import Lag, ViewsReading

POSITIONS = [{"topic": "decisions", "partition": 0, "next_offset": 4}]


class Broker:
    """A consumer of one topic of two partitions; `trouble` is what asking for its ends raises."""

    trouble: Exception | None = None

    def __init__(self, **_: Any) -> None:
        pass

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0, 1}

    def end_offsets(self, tps: Iterable[TopicPartition], _: int | None) -> dict[TopicPartition, int]:
        if self.trouble is not None:
            raise self.trouble
        return dict.fromkeys(tps, 7)

    def close(self) -> None:
        pass


class Positions:
    """The views' figures."""

    def positions(self) -> dict[str, Any]:
        return {"positions": POSITIONS, "relay_age_s": 0.0}


@pytest.fixture
def lag(monkeypatch: pytest.MonkeyPatch) -> Lag:
    """Of a deployment with one topic."""
    monkeypatch.setattr(reading, "KafkaConsumer", Broker)
    return Lag(KafkaAccess("nowhere:9092", "clock", "secret", "x."), ["decisions"])


def test_how_far_behind_each_partition_is(lag: Lag) -> None:
    """A partition without a position has not been read at all."""
    told = [(p["topic"], p["partition"], p["behind"]) for p in lag.behind(POSITIONS)]
    assert [("decisions", 0, 3), ("decisions", 1, 7)] == told


@pytest.mark.parametrize("trouble", [KafkaTimeoutError(), KeyError(TopicPartition("x.decisions", 1))])
def test_trouble_of_the_broker_is_shown_and_no_defect(lag: Lag, trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer, or a leader is unknown (kafka-python raises KeyError): not known, and a warning."""
    monkeypatch.setattr(Broker, "trouble", trouble)
    with pytest.raises(KafkaError):
        lag.behind(POSITIONS)
    status = ViewsReading(Positions(), None, lag, lambda: 0).status()  # type: ignore[arg-type]
    assert ([], True) == (status["lag"], "is not known" in status["warnings"][0])
