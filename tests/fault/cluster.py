"""Three brokers with three controllers, as local JVMs: what one deployment in production stands on."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from kafka.admin import KafkaAdminClient

from infra import parts
from infra.java import QUIET, argument_file, java
from infra.kafka import ADMIN, CONFIGURATION, MESSAGE_BYTES_MAX, Broker
from infra.part import Part
from infra.postgres import Postgres
from infra.registry import Registry
from infra.settings import Settings
from infra.state import State
from tests.services import PartName, Services

NODES: Final = 3
LISTENER: Final = "127.0.0.1"


class Node(Broker):
    """Broker and controller `number` of three. All nodes share the admin's password and the cluster's id."""

    def __init__(self, state: State, jars: State, number: int, cluster: str) -> None:
        super().__init__(state, jars, heap_mb=320, port=0)
        self.number, self.cluster = number, cluster
        self.name = f"kafka-{number}"  # type: ignore[misc]
        self.log = state.logs / f"kafka-{number}.log"
        self.home = state.data / f"kafka-{number}"
        self.port = self.controller = 0

    def claim(self) -> None:
        """Ports of its own, the same for every start."""
        self.port = self.state.claim_port(f"kafka-{self.number}", 0)
        self.controller = self.state.claim_port(f"kafka-controller-{self.number}", 0)

    def configure(self, nodes: list[Node]) -> None:
        """Write the configuration; every node's ports are known."""
        self.home.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.format(
            port=self.port, controller_port=self.controller, data=self.home / "log", password=self.admin.password,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )  # fmt: skip
        text = text.replace("node.id=1", f"node.id={self.number}")
        voters = ",".join(f"{n.number}@{LISTENER}:{n.controller}" for n in nodes)
        text = text.replace(f"voters=1@{LISTENER}:{self.controller}", f"voters={voters}")
        for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            text = text.replace(f"{name}.replication.factor=1", f"{name}.replication.factor={NODES}")
        for name in ("min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"):
            text = text.replace(f"\n{name}=1", f"\n{name}=2")
        text += "controller.quorum.election.timeout.ms=500\ncontroller.quorum.fetch.timeout.ms=1500\n"
        text += "replica.lag.time.max.ms=5000\nunclean.leader.election.enable=false\n"
        (self.home / "server.properties").touch(mode=0o600)
        (self.home / "server.properties").write_text(text)

    def prepare(self) -> list[str]:
        """Format once; the command."""
        properties = self.home / "server.properties"
        if not (self.home / "formatted").exists():
            arguments = [
                "kafka.tools.StorageTool", "format", "--ignore-formatted", "--cluster-id", self.cluster, "--config",
                str(properties), "--add-scram", f"SCRAM-SHA-256=[name={ADMIN},password={self.admin.password}]",
            ]  # fmt: skip
            file = self.home / "format.args"
            command = [*java(128, "-XX:TieredStopAtLevel=1", *QUIET), "-cp", f"{self.jars}/*", argument_file(file, arguments)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
            file.unlink(missing_ok=True)
            assert done.returncode == 0, done.stderr[-500:]
            (self.home / "formatted").touch()
        return [*java(self.heap_mb, *QUIET), "-cp", f"{self.jars}/*", "kafka.Kafka", str(properties)]


class ClusterServices(Services):
    """Three brokers, one PostgreSQL, one registry, in a temporary state folder."""

    def __init__(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="sightline-cluster-"))
        root.chmod(0o711)
        self.state = State.open(root)
        jars = State.open(env={k: v for k, v in os.environ.items() if k == "SIGHTLINE_STATE"})
        parts.install(jars, [p for p in parts.locked() if p.use in ("kafka", "registry")])
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        self.nodes = [Node(self.state, jars, n, cluster) for n in range(1, NODES + 1)]
        for node in self.nodes:
            node.claim()
        for node in self.nodes:
            node.configure(self.nodes)
        self.parts: dict[str, Part] = {
            "postgres": Postgres(self.state, port=0),
            "registry": Registry(self.state, jars, port=0),
        }
        try:
            with ThreadPoolExecutor(NODES + 2) as pool:
                for started in [pool.submit(p.start) for p in (*self.nodes, *self.parts.values())]:
                    started.result()
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> str:
        """Of every broker."""
        return ",".join(n.address for n in self.nodes)

    def settings(self, prefix: str) -> Settings:
        return replace(Settings.load(env={}, state=self.state, prefix=prefix), bootstrap=self.addresses, replication=NODES)

    def environment(self) -> dict[str, str]:
        return {
            "SIGHTLINE_STATE": str(self.state.root), "SIGHTLINE_KAFKA": self.addresses,
            "SIGHTLINE_KAFKA_PROTOCOL": "SASL_PLAINTEXT", "SIGHTLINE_KAFKA_REPLICAS": str(NODES),
            "SIGHTLINE_KAFKA_ADMIN_PASSWORD": self.state.secret(f"kafka/{ADMIN}"),
        }  # fmt: skip

    def leader(self, topic: str, partition: int = 0) -> Node:
        """The node that leads a partition (full topic name)."""
        admin = KafkaAdminClient(**self.settings("").admin().options())
        try:
            (found,) = admin.describe_topics([topic])
            (mine,) = [p for p in found["partitions"] if p["partition_index"] == partition]
            return next(n for n in self.nodes if n.number == mine["leader_id"])
        finally:
            admin.close()

    def controller(self) -> Node:
        """The node whose controller is active."""
        admin = KafkaAdminClient(**self.settings("").admin().options())
        try:
            (topic,) = admin.describe_metadata_quorum()["topics"]
            return next(n for n in self.nodes if n.number == topic["partitions"][0]["leader_id"])
        finally:
            admin.close()

    def in_step(self, topic: str, seconds: float = 60) -> None:
        """Wait until every copy of a topic's partitions is in step with its leader."""
        deadline = time.monotonic() + seconds
        while True:
            admin = KafkaAdminClient(**self.settings("").admin().options())
            try:
                (found,) = admin.describe_topics([topic])
            finally:
                admin.close()
            if all(len(p["isr_nodes"]) == NODES for p in found["partitions"]):
                return
            assert time.monotonic() < deadline, f"the copies of {topic} do not come into step"
            time.sleep(0.2)

    def kill(self, part: PartName) -> None:
        self.parts[part].kill()

    def stop(self, part: PartName) -> None:
        self.parts[part].stop()

    def restart(self, part: PartName) -> float:
        return self.parts[part].restart()

    def close(self) -> None:
        with ThreadPoolExecutor(NODES + 2) as pool:
            list(pool.map(lambda p: p.kill(), (*self.nodes, *self.parts.values())))
        self.state.forget()
        shutil.rmtree(self.state.root, ignore_errors=True)
