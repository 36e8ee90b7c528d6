"""One Apache Kafka broker with its KRaft controller, as a child process on loopback.

Everything speaks SASL: clients and the broker itself SCRAM-SHA-256, the controller's listener PLAIN (it must work
before the first SCRAM record can be read). The only super user is `admin`; who has no rule may do nothing.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path
from typing import Final

from infra.errors import AccessError, StartError
from infra.handshake import check_access
from infra.java import QUIET, argument_file, java
from infra.part import Part
from infra.state import State
from schemas.topics import KafkaAccess

ADMIN: Final = "admin"
PORT: Final = 19092
CONTROLLER_PORT: Final = 19093
HEAP_MB: Final = 512

MESSAGE_BYTES_MAX: Final = 1024 * 1024 + 64 * 1024
"""A ledger entry is at most 1 MiB; the rest is room for headers and the batch's own frame."""

READY: Final = "Kafka Server started"

CONFIGURATION: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL
listeners=SASL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=SASL://127.0.0.1:{port}
listener.security.protocol.map=SASL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
sasl.mechanism.controller.protocol=PLAIN
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="{password}";
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="{password}" \
user_admin="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
allow.everyone.if.no.acl.found=false
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={message_bytes_max}
replica.fetch.max.bytes={message_bytes_max}
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=268435456
log.index.size.max.bytes=1048576
log.initial.task.delay.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
# The two broker.* timeouts: after kill -9 the broker is back in 4 s instead of 12 s (measured; I6 asks for 20 s).
# Voters are named here rather than stored at format (--standalone), so that the ports may change between starts.
# log.index.size: 1 MiB covers a 256 MiB segment, and many small test topics stay small on disk.


class Broker(Part):
    """A single-node Kafka whose data lies in `<state>/data/kafka`."""

    name = "kafka"

    def __init__(self, state: State, parts: State, *, heap_mb: int = HEAP_MB, port: int = PORT) -> None:
        """`state` holds data, logs and secrets; `parts` the unpacked jars (often the same)."""
        super().__init__(state.logs / "kafka.log")
        self.state = state
        self.jars = parts.parts / "kafka"
        self.heap_mb = heap_mb
        self.default_port = port
        self.home = state.data / "kafka"
        self.port = state.ports().get("kafka", 0)

    @property
    def address(self) -> str:
        """host:port of the part."""
        return f"127.0.0.1:{self.port}"

    @property
    def admin(self) -> KafkaAccess:
        """How the super user reaches this broker."""
        return KafkaAccess(self.address, ADMIN, self.state.secret("kafka/admin"))

    def prepare(self) -> list[str]:
        """Claim ports, make the data folder if needed; returns the command. Raises: StartError."""
        self.port = self.state.claim_port("kafka", self.default_port)
        controller = self.state.claim_port("kafka-controller", CONTROLLER_PORT if self.default_port else 0)
        properties = self.home / "server.properties"
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)  # what agencies say lies there in the clear
        properties.touch(mode=0o600)
        properties.write_text(
            CONFIGURATION.format(
                port=self.port, controller_port=controller, data=self.home / "log",
                password=self.admin.password, message_bytes_max=MESSAGE_BYTES_MAX,
            )
        )  # fmt: skip
        if not (self.home / "formatted").exists():
            self._format(properties)
        return [*java(self.heap_mb, *QUIET), "-cp", f"{self.jars}/*", "kafka.Kafka", str(properties)]

    def ready(self) -> bool:
        """True when it serves requests now."""
        if READY not in self.logged():
            return False
        try:
            check_access(self.admin, timeout_s=1.0)
        except AccessError:
            return False
        return True

    def answers(self) -> bool:
        """True when the admin user can log in now: the health check of a broker that started earlier."""
        try:
            check_access(self.admin, timeout_s=1.0)
        except AccessError:
            return False
        return True

    def _format(self, properties: Path) -> None:
        """Write the cluster id and the admin's SCRAM record. The password travels in a file of mode 0600."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        command = [*java(128, *QUIET), "-cp", f"{self.jars}/*"]
        arguments = [
            "kafka.tools.StorageTool", "format", "--ignore-formatted", "--cluster-id", cluster, "--config", str(properties),
            "--add-scram", f"SCRAM-SHA-256=[name={ADMIN},password={self.admin.password}]",
        ]  # fmt: skip
        file = self.home / "format.args"
        try:
            done = subprocess.run(
                [*command, argument_file(file, arguments)], capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            file.unlink(missing_ok=True)
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise StartError(f"Kafka's storage cannot be formatted: {words[-1] if words else 'no message'}; try `make reset`")
        (self.home / "formatted").touch()
