"""The agency client on a real broker: own topic only, nothing lost and nothing out of order when broker or process die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import TopicPartition

from producers.acts import ActProducer
from producers.client import AgencyClient
from producers.errors import BrokerUnavailable, NotAuthorised
from producers.facts import key_of
from producers.kafka_link import open_consumer, open_producer
from schemas.catalogue import catalogue
from schemas.codec import Codec
from schemas.registry import Registry, RegistryUnavailable
from tests.golden.values import VALUES
from tests.services import Deployment, Services

SECRET = b"a secret of at least sixteen bytes"
Open = Callable[..., AgencyClient]


@pytest.fixture(scope="module")
def codec(deployment: Deployment) -> Codec:
    """A codec on a registry that deployment has filled."""
    registry = Registry(deployment.registry_url)
    for spec in catalogue().values():
        registry.register(spec.subject, spec.text)
    return Codec(registry)


@pytest.fixture
def open_client(deployment: Deployment, codec: Codec, tmp_path: Path) -> Iterator[Open]:
    """Open clients of the shared deployment; they are closed after the test."""
    opened: list[AgencyClient] = []

    def make(agency: str, *, user: str | None = None, spool: str = "spool", **access: Any) -> AgencyClient:
        reach = replace(deployment.access(f"agency.{user or agency}"), **access)
        opened.append(AgencyClient(reach, agency, codec, SECRET, tmp_path / spool))
        return opened[-1]

    yield make
    for client in opened:
        if client._sender.is_alive():
            client.close(0)


def concern(agency: str = "education", child: int = 1) -> dict[str, Any]:
    """A fact with a new id."""
    value = VALUES["SchoolConcern"]
    subject = {**value["envelope"]["subject"], "local_id": f"L{child}"}
    return {**value, "envelope": {**value["envelope"], "event_id": str(uuid4()), "agency": agency, "subject": subject}}


def arrived(deployment: Deployment, topic: str, *, user: str = "unify", partitions: int = 2) -> list[Any]:
    """Every record of a topic, by partition and offset."""
    access = deployment.access(user)
    with closing(open_consumer(access)) as consumer:
        tps = [TopicPartition(access.topic(topic), p) for p in range(partitions)]
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        ends, found = consumer.end_offsets(tps), []
        while any(consumer.position(tp) < ends[tp] for tp in tps):
            found += [r for records in consumer.poll(500).values() for r in records]
    return sorted(found, key=lambda r: (r.partition, r.offset))


def ids(records: list[Any]) -> list[str]:
    """Event ids as the headers say them."""
    return [dict(r.headers)["ce_id"].decode() for r in records]


def in_order(sent: list[str], records: list[Any]) -> bool:
    """True when each partition holds first occurrences in the order of sending."""
    place = {event_id: at for at, event_id in enumerate(sent)}
    for partition in {r.partition for r in records}:
        seen = list(dict.fromkeys(place[i] for i in ids([r for r in records if r.partition == partition]) if i in place))
        if seen != sorted(seen):
            return False
    return True


class TestArrives:
    """From a mapping to the intake."""

    def test_value_key_headers(self, deployment: Deployment, open_client: Open, codec: Codec) -> None:
        """What arrives decodes to what was said, under the child's keyed hash, with CloudEvents headers."""
        client, value = open_client("education"), concern(child=42)
        event_id = client.publish("SchoolConcern", value)
        client.flush(10)
        (record,) = [r for r in arrived(deployment, "facts.education") if dict(r.headers)["ce_id"] == event_id.encode()]
        assert value == codec.decode(record.value).value
        assert key_of(SECRET, "education", "L42").encode() == record.key
        heads = {k: v.decode() for k, v in record.headers}
        assert ("1.0", "uk.sightline.SchoolConcern", "urn:sightline:agency:education") == (
            heads["ce_specversion"], heads["ce_type"], heads["ce_source"]
        )  # fmt: skip
        assert 0 == client.waiting
        assert client.problem is None

    def test_many(self, deployment: Deployment, open_client: Open) -> None:
        """Thousands at once arrive once each and in order; a child's facts stay in one partition."""
        client = open_client("education")
        facts = [("SchoolConcern", concern(child=n % 97)) for n in range(10_000)]
        sent = client.publish_many(facts)
        client.flush(60)
        records = [r for r in arrived(deployment, "facts.education") if dict(r.headers)["ce_id"].decode() in set(sent)]
        assert sorted(sent) == sorted(ids(records))
        assert in_order(sent, records)
        assert {1} == {len({r.partition for r in records if r.key == key}) for key in {r.key for r in records}}

    def test_outcomes(self, deployment: Deployment, open_client: Open, codec: Codec) -> None:
        """An agency reads its own outcomes and dead letters, and goes on where it was."""
        relay = deployment.access("relay")
        producer = open_producer(relay, linger_ms=0)
        client = open_client("yjs")
        assert () == client.outcomes().words
        for name, topic in (("Outcome", "outcomes.yjs"), ("DeadLetter", "dead-letters.yjs")):
            producer.send(relay.topic(topic), codec.encode(name, VALUES[name])).get(10)
        told = client.outcomes()
        assert {"Outcome": VALUES["Outcome"], "DeadLetter": VALUES["DeadLetter"]} == {w.record: w.value for w in told.words}
        assert () == client.outcomes(told.position).words
        beyond = {**told.position, "outcomes.yjs": told.position["outcomes.yjs"] + 1_000}
        anew = client.outcomes(beyond)
        assert (["Outcome"], told.position) == ([w.record for w in anew.words], anew.position), "that topic was made anew"
        producer.close()


class TestRefused:
    """Each a typed error, soon, that names what to check."""

    def test_another_agencys_topic(self, open_client: Open) -> None:
        """The police's user may not write education's facts; the fact stays on disk."""
        client = open_client("education", user="police")
        client.publish("SchoolConcern", concern())
        begin = time.monotonic()
        with pytest.raises(NotAuthorised, match=r"no right to topic .*facts\.education"):
            client.flush(20)
        assert time.monotonic() - begin < 8
        assert 1 == client.waiting

    def test_another_agencys_outcomes(self, open_client: Open) -> None:
        """Nor read education's outcomes."""
        with pytest.raises(NotAuthorised, match="no right"):
            open_client("education", user="police").outcomes()

    @pytest.mark.parametrize(
        ("access", "error", "words"),
        [
            ({"password": "wrong"}, NotAuthorised, "refuses user"),
            ({"user": "agency.nobody"}, NotAuthorised, "refuses user"),
            ({"bootstrap": "127.0.0.1:9"}, BrokerUnavailable, "check that it is up and the address"),
            ({"bootstrap": "broker.invalid:9092"}, BrokerUnavailable, "check that it is up and the address"),
            ({"security_protocol": "SASL_SSL"}, NotAuthorised, "does not speak TLS"),
        ],
    )
    def test_bad_access(self, open_client: Open, access: dict[str, str], error: type[Exception], words: str) -> None:
        """Said within seconds, without the password; the fact waits."""
        client = open_client("education", **access)
        client.publish("SchoolConcern", concern())
        begin = time.monotonic()
        with pytest.raises(error, match=words) as told:
            client.flush(3)
        with pytest.raises(error, match=words):
            client.check()
        assert time.monotonic() - begin < 8
        assert client.access.password not in str(told.value)
        assert 1 == client.waiting

    def test_a_registry_that_comes_back(self, deployment: Deployment, tmp_path: Path) -> None:
        """Whoever waits for facts of a record never sent before waits for the registry as well, up to his limit."""
        back = threading.Event()

        class Away(Registry):
            def lookup(self, subject: str, text: str) -> int:
                if not back.is_set():
                    raise RegistryUnavailable("it does not answer")
                return super().lookup(subject, text)

        access = deployment.access("agency.education")
        with closing(
            AgencyClient(access, "education", Codec(Away(deployment.registry_url)), SECRET, tmp_path / "spool")
        ) as client:
            client.publish("SchoolConcern", concern())
            with pytest.raises(RegistryUnavailable):
                client.flush(1)
            threading.Timer(1, back.set).start()
            client.flush(30)
            assert 0 == client.waiting

    def test_waiting_facts_go_out_when_access_is_mended(self, deployment: Deployment, open_client: Open) -> None:
        """With the right password the next client sends what the last could not."""
        first = open_client("education", password="wrong")
        sent = [first.publish("SchoolConcern", concern(child=n)) for n in range(5)]
        first.close(0)
        second = open_client("education")
        second.flush(10)
        assert set(sent) <= set(ids(arrived(deployment, "facts.education")))


@pytest.mark.fault
class TestFaults:
    """Broker and process die in mid-stream."""

    def test_broker_killed(self, services: Services, deployment: Deployment, open_client: Open) -> None:
        """Facts wait, publishing goes on, and all go out in order when the broker is back."""
        client = open_client("education")
        sent = [client.publish("SchoolConcern", concern(child=n)) for n in range(200)]
        services.kill("kafka")
        sent += [client.publish("SchoolConcern", concern(child=n)) for n in range(300)]
        with pytest.raises(BrokerUnavailable):
            client.flush(3)
        assert client.waiting >= 300
        services.restart("kafka")
        begin = time.monotonic()
        sent += [client.publish("SchoolConcern", concern(child=n)) for n in range(100)]
        client.flush(60)
        assert time.monotonic() - begin < 20, "I6: the broker is back, so are we within 20 s"
        records = arrived(deployment, "facts.education")
        assert set(sent) <= set(ids(records))
        assert in_order(sent, records)

    def test_restarted_while_the_broker_is_away(self, services: Services, deployment: Deployment, open_client: Open) -> None:
        """A client that starts without a broker takes facts, ends, and its successor sends them."""
        services.kill("kafka")
        first = open_client("education")
        sent = [first.publish("SchoolConcern", concern(child=n)) for n in range(50)]
        first.close(0)
        services.restart("kafka")
        second = open_client("education")
        second.flush(30)
        records = arrived(deployment, "facts.education")
        assert 50 == len(sent)
        assert set(sent) <= set(ids(records))
        assert in_order(sent, records)

    def test_process_killed(self, services: Services, deployment: Deployment, open_client: Open, tmp_path: Path) -> None:
        """SIGKILL at a random moment: every id that `publish` returned arrives, with the same id if twice."""
        program = Path(__file__).parent / "publisher.py"
        environment = {**deployment.environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "spool"), deployment.prefix],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as child:
            assert child.stdout is not None
            told = [child.stdout.readline().strip() for _ in range(400)]
            os.kill(child.pid, signal.SIGKILL)
            told += [line.strip() for line in child.stdout.readlines() if len(line) == 37]
        second = open_client("education")
        second.flush(30)
        records = arrived(deployment, "facts.education")
        assert len(told) >= 400
        assert set(told) <= set(ids(records))
        assert in_order(told, records)


class TestActs:
    """What the web and the clock send."""

    def test_each_topic(self, deployment: Deployment, codec: Codec) -> None:
        """Decisions, receipts and clock take their records from their own user."""
        for record, user, topic in (
            ("CaseTaken", "web", "decisions"),
            ("GpReceipt", "web", "receipts"),
            ("ClockFired", "clock", "clock"),
        ):
            with ActProducer(deployment.access(user), codec) as acts:
                assert VALUES[record]["act"]["event_id"] == acts.send(record, VALUES[record])
            assert VALUES[record] == codec.decode(arrived(deployment, topic, partitions=1)[-1].value).value

    def test_not_ones_own(self, deployment: Deployment, codec: Codec) -> None:
        """The clock may not decide."""
        with ActProducer(deployment.access("clock"), codec) as acts, pytest.raises(NotAuthorised, match="decisions"):
            acts.send("CaseTaken", VALUES["CaseTaken"])

    @pytest.mark.fault
    def test_broker_away_and_back(self, services: Services, deployment: Deployment, codec: Codec) -> None:
        """An error within the time given; after the restart the same producer sends."""
        with ActProducer(deployment.access("web"), codec) as acts:
            acts.send("CaseTaken", VALUES["CaseTaken"])
            services.kill("kafka")
            begin = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                acts.send("CaseTaken", VALUES["CaseTaken"], timeout_s=2)
            assert time.monotonic() - begin < 10
            services.restart("kafka")
            acts.send("CaseTaken", VALUES["CaseTaken"], timeout_s=10)
