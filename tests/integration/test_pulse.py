"""The pulse on the real broker: what is counted, what survives a stop and a kill, and that it stays within its rights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra.supervised import STOP_S
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.topics import AGENCIES, PULSE_TABLE
from tests.services import Deployment

TOPICS = [*(f"facts.{a}" for a in AGENCIES), "pulse", f"pulse-{PULSE_TABLE}-changelog"]
MISSING, ABSENCE = "MissingEpisodeReported", "SchoolAbsence"
WITHIN_S = 40.0
"""For a worker to start, count and publish on a machine that is busy with other tests."""

Facts = Mapping[tuple[str, str], int]


@pytest.fixture
def house(new_deployment: Callable[..., Deployment]) -> Deployment:
    """A deployment of its own: other tests' facts would be counted too."""
    return new_deployment(only=TOPICS)


class Worker:
    """`sightline worker pulse` as a process; its log is kept."""

    def __init__(self, house: Deployment, log: Path) -> None:
        self._house, self._log = house, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as out:
            command = [sys.executable, "-m", "infra.command", "worker", "pulse"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=self._house.environment())

    def end(self, sig: signal.Signals) -> int:
        """Send `sig` and wait; the exit status."""
        assert self._process is not None
        self._process.send_signal(sig)
        return self._process.wait(15)

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def logged(self) -> str:
        return self._log.read_text()


@pytest.fixture
def worker(house: Deployment, tmp_path: Path) -> Iterator[Worker]:
    """A worker that has not been started."""
    one = Worker(house, tmp_path / "pulse.log")
    yield one
    one.close()


@contextmanager
def agency(house: Deployment, name: str) -> Iterator[Callable[..., None]]:
    """Send raw records as an agency: `send(record or None, how many, value, partition)`."""
    access = house.access(f"agency.{name}")
    producer = KafkaProducer(**access.options(), acks="all", linger_ms=20)

    def send(record: str | None, many: int = 1, value: bytes | None = b"\0not avro at all", partition: int | None = None) -> None:
        headers = [] if record is None else [("ce_type", f"uk.sightline.{record}".encode())]
        topic = access.topic(f"facts.{name}")
        sent = [producer.send(topic, value, b"k%d" % n, headers=headers, partition=partition) for n in range(many)]
        for one in sent:
            one.get(timeout=20)

    yield send
    producer.close(timeout=5)


class Reader:
    """What `pulse` holds, read as the web does; hours are summed, as a test may run across the turn of one."""

    def __init__(self, house: Deployment) -> None:
        self._codec = Codec(Registry(house.registry_url))
        access = house.access("web")
        self._consumer = KafkaConsumer(**access.options(), group_id=None, enable_auto_commit=False)
        tp = TopicPartition(access.topic("pulse"), 0)
        self._consumer.assign([tp])
        self._consumer.seek_to_beginning(tp)
        self.rows: list[tuple[float, str, dict[str, object]]] = []
        self._newest: dict[tuple[str, str, int], int] = {}

    def poll(self) -> None:
        for records in self._consumer.poll(200).values():
            for record in records:
                row = self._codec.decode(record.value).value
                self.rows.append((record.timestamp / 1000, record.key.decode(), row))
                self._newest[row["agency"], row["record"], row["window_start"]] = row["facts"]

    def facts(self) -> dict[tuple[str, str], int]:
        """Facts by agency and record, without noughts."""
        totals: dict[tuple[str, str], int] = {}
        for (name, record, _), facts in self._newest.items():
            totals[name, record] = totals.get((name, record), 0) + facts
        return {series: facts for series, facts in totals.items() if facts}

    def until(self, expected: Facts, worker: Worker) -> None:
        """Poll until exactly `expected` is there."""
        end = time.monotonic() + WITHIN_S
        while self.facts() != expected:
            assert time.monotonic() < end, (expected, self.facts(), worker.logged()[-3000:])
            self.poll()

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def reader(house: Deployment) -> Iterator[Reader]:
    """A reader of `pulse`, from its beginning."""
    with closing(Reader(house)) as one:
        yield one


class TestCounting:
    """Facts an hour by agency and record."""

    def test_two_agencies(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """Both agencies' records are counted over all partitions; what has no type of ours, or no value, is `unknown`."""
        with agency(house, "police") as police, agency(house, "education") as education:
            police(MISSING, 5, partition=0)
            police(MISSING, 4, partition=1)
            police(None, 2)
            police("Kit Green, 14", 1)
            education(ABSENCE, 7)
            education(None, 1, value=None)
        worker.start()
        expected = {("police", MISSING): 9, ("police", "unknown"): 3, ("education", ABSENCE): 7, ("education", "unknown"): 1}
        reader.until(expected, worker)
        for _, key, row in reader.rows:
            assert f"{row['agency']}|{row['record']}" == key
            assert (3600, 0) == (row["window_seconds"], int(str(row["window_start"])) % 3_600_000_000)
        assert "Kit Green" not in worker.logged() + str(reader.rows)

    def test_noughts(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """An agency that said nothing has noughts for this hour: silence is published, not inferred."""
        worker.start()
        end = time.monotonic() + WITHIN_S
        while len({row["agency"] for _, _, row in reader.rows}) < len(AGENCIES):
            assert time.monotonic() < end, worker.logged()[-3000:]
            reader.poll()
        assert {0} == {row["facts"] for _, _, row in reader.rows}

    def test_coalesced(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """However fast facts come, a series is published about once a second."""
        worker.start()
        with agency(house, "health") as health:
            for _ in range(40):
                health(MISSING, 10)
                time.sleep(0.1)
        reader.until({("health", MISSING): 400}, worker)
        said = [at for at, _, row in reader.rows if (row["agency"], row["record"]) == ("health", MISSING)]
        assert len(said) <= 2 + (said[-1] - said[0]) / 0.9, said


class TestRestart:
    """Counts go on from where they were."""

    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
    def test_counts_go_on(self, house: Deployment, worker: Worker, reader: Reader, sig: signal.Signals) -> None:
        """After SIGTERM or SIGKILL: not from zero, none lost that came meanwhile, none counted twice."""
        worker.start()
        with agency(house, "police") as police:
            police(MISSING, 300)
            reader.until({("police", MISSING): 300}, worker)
            police(MISSING, 200)  # delivered, perhaps counted, hardly committed
            status = worker.end(sig)
            police(MISSING, 50)
            worker.start()
            reader.until({("police", MISSING): 550}, worker)
            police(MISSING, 1)
        reader.until({("police", MISSING): 551}, worker)
        assert (0 if sig == signal.SIGTERM else -signal.SIGKILL) == status

    def test_broker_killed(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """A broker killed in mid-stream is waited for."""
        worker.start()
        with agency(house, "police") as police:
            police(MISSING, 20)
            reader.until({("police", MISSING): 20}, worker)
            house.services.kill("kafka")
            house.services.restart("kafka")
            police(MISSING, 20)
            reader.until({("police", MISSING): 40}, worker)


class TestConduct:
    """How it starts, ends and speaks."""

    def test_log(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """Every line is JSON, none a warning; SIGTERM ends it with status 0 before the supervisor forces it."""
        worker.start()
        with agency(house, "police") as police:
            police(MISSING, 3)
        reader.until({("police", MISSING): 3}, worker)
        begun = time.monotonic()
        assert worker.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < STOP_S
        lines = [json.loads(line) for line in worker.logged().splitlines()]
        assert {"info"} == {line["level"] for line in lines}, lines
        assert ["pulse-ready", "pulse-stopped"] == [line["event"] for line in lines if line["event"].startswith("pulse-")]

    def test_creates_nothing(self, house: Deployment, worker: Worker, reader: Reader) -> None:
        """The broker holds the topics of `schemas.topics` and no other of this prefix."""
        worker.start()
        with agency(house, "police") as police:
            police(MISSING)
        reader.until({("police", MISSING): 1}, worker)
        with closing(KafkaConsumer(**house.access("admin").options())) as admin:
            assert {house.prefix + t for t in TOPICS} == {t for t in admin.topics() if t.startswith(house.prefix)}
