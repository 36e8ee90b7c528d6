"""A broker that lost what it held: workers stop loudly, and a start lets the intake go on without a fact lost (I1)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaProducer, TopicPartition

from consumers.host import PositionLost
from infra import assembly, intake
from producers.client import AgencyClient
from tests.golden.values import VALUES
from tests.integration import restoring
from tests.services import Deployment

TOPIC = "facts.education"


def concerns(d: Deployment, spool: Path, count: int) -> set[str]:
    """Facts of one child, acknowledged by the broker; their ids. One child has one key, so all lie in one partition."""
    value = VALUES["SchoolConcern"]
    ids = [str(uuid4()) for _ in range(count)]
    codec = restoring.codec_of(d)
    with closing(AgencyClient(d.access("agency.education"), "education", codec, b"a secret of sixteen bytes", spool)) as client:
        for event_id in ids:
            client.publish("SchoolConcern", {**value, "envelope": {**value["envelope"], "event_id": event_id}})
        client.flush(30)
    return set(ids)


def accepted(d: Deployment) -> set[str]:
    """Ids of facts that were accepted."""
    return {row[0] for row in restoring.rows(d.views_dsn, "select event_id from fact")}


@pytest.mark.usefixtures("services")
class TestLostIntake:
    """Five facts worked on, the topic lost, two sent to the new one before anybody noticed."""

    @pytest.mark.slow
    def test_stops_then_goes_on(self, new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
        """The worker names the partition and what to do; after the mending both are accepted, also when killed half-way."""
        d = new_deployment()
        assembly.register_schemas(d.settings)
        with restoring.workers(d):
            before = concerns(d, tmp_path / "a", 5)
            restoring.settled(d)
        assert before == accepted(d)
        restoring.lose(d, TOPIC)
        stranded = concerns(d, tmp_path / "b", 2)
        worker = assembly.unify(d.settings, 0)
        said: list[BaseException] = []

        def run() -> None:
            try:
                worker.run()
            except PositionLost as err:
                said.append(err)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
        worker.stop()
        assert said
        assert TOPIC in str(said[0])
        assert "ends at 2" in str(said[0])
        assert "sightline up" in str(said[0])
        positions = intake.known_positions(d.views_dsn)
        partition = next(p for (t, p), n in positions.items() if t == TOPIC and n == 5)
        fill(d, TopicPartition(d.prefix + TOPIC, partition), 3)  # a mending that was killed before it appended anything again
        assert 1 == intake.raise_ends(d.access("admin"), d.prefix, positions)
        assert 0 == intake.raise_ends(d.access("admin"), d.prefix, positions)
        with restoring.workers(d):
            after = concerns(d, tmp_path / "c", 1)
            restoring.settled(d)
        assert before | stranded | after == accepted(d)
        assert [] == restoring.rows(d.views_dsn, "select * from letter"), "no filler became a dead letter"


def fill(d: Deployment, tp: TopicPartition, count: int) -> None:
    """Fillers as the mending writes them."""
    with closing(KafkaProducer(**d.access("admin").options(), acks="all")) as producer:
        for _ in range(count):
            producer.send(tp.topic, b"", headers=[("filler", b"")], partition=tp.partition).get(10)
