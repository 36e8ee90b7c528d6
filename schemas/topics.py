"""The topics of a deployment, who may write and read each, and how a process reaches the broker.

Names take a deployment prefix, so that several deployments (and every test) share one broker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

AGENCIES: Final = ("police", "csc", "health", "education", "yjs", "probation", "rhi")
"""Agencies that may emit facts. `csc`: children's social care; `rhi`: the provider of return home interviews."""

HOUSE: Final = "house"
"""Whose dead letters are about records of the house's own topics: they go to no topic, operators read them."""

INTAKE_PARTITIONS: Final = 2
"""Partitions of each `facts.<agency>`: as many `unify` workers as this can share the load by default."""

DAYS_90_MS: Final = 90 * 24 * 3600 * 1000
"""Retention of the intake (design: intake forgets, the ledger does not), in milliseconds."""

PULSE_TABLE: Final = "facts"
"""The pulse's table. Faust names its changelog after application and table, with as many partitions as its sources."""

FOR_EVER: Final = -1

RECONNECT_MAX_MS: Final = 2_000
"""kafka-python would back off to 30 s; after a restarted broker everything should flow within seconds (I6)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic without its prefix. `writers` and `readers` are SASL user names (see `USERS`)."""

    name: str
    partitions: int
    retention_ms: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    compacted: bool = False
    log_append_time: bool = True


CORE: Final = ("unify", "relay", "clock", "deliver", "pulse", "web")
"""Service users of the house itself. `admin` (superuser) creates topics, users and rules, and nothing else."""


def topics() -> tuple[Topic, ...]:
    """Every topic of a deployment: intake, ledger, keys, accesses, outputs, pulse."""
    facts = [Topic(f"facts.{a}", INTAKE_PARTITIONS, DAYS_90_MS, (f"agency.{a}",), ("unify", "pulse", "clock")) for a in AGENCIES]
    outcomes = [Topic(f"outcomes.{a}", 1, DAYS_90_MS, ("relay",), (f"agency.{a}", "relay")) for a in AGENCIES]
    letters = [Topic(f"dead-letters.{a}", 1, DAYS_90_MS, ("relay",), (f"agency.{a}", "relay", "web")) for a in AGENCIES]
    return (
        *facts,
        Topic("decisions", 1, DAYS_90_MS, ("web",), ("unify", "clock")),
        Topic("receipts", 1, DAYS_90_MS, ("web",), ("unify", "clock")),
        Topic("clock", 1, DAYS_90_MS, ("clock",), ("unify", "clock")),
        Topic("ledger", 1, FOR_EVER, ("relay",), ("relay", "unify", "clock", "pulse", "web", "deliver")),
        Topic("keys", 1, FOR_EVER, ("unify",), ("unify", "relay"), compacted=True),
        Topic("accesses", 1, FOR_EVER, ("web",), ("web",)),
        Topic("recommendations", 1, DAYS_90_MS, ("relay",), ("relay", "web")),
        Topic("gp.messages", 1, FOR_EVER, ("relay",), ("relay", "deliver")),
        Topic("pulse", 1, DAYS_90_MS, ("pulse",), ("web", "pulse")),
        Topic(f"pulse-{PULSE_TABLE}-changelog", INTAKE_PARTITIONS, FOR_EVER, ("pulse",), ("pulse",), compacted=True),
        *outcomes,
        *letters,
    )


def users() -> tuple[str, ...]:
    """Every SASL/SCRAM user of a deployment, without the prefix: the house's services, then one an agency."""
    return (*CORE, *(f"agency.{a}" for a in AGENCIES))


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How one user reaches the broker: `host:port[,…]`, SASL/SCRAM-SHA-256 user and password, topic prefix."""

    bootstrap: str
    user: str
    password: str = field(repr=False)
    prefix: str = ""
    security_protocol: str = "SASL_PLAINTEXT"
    ssl_cafile: str | None = None

    def topic(self, name: str) -> str:
        """The full topic name of a deployment's topic."""
        return self.prefix + name

    def short(self, topic: str) -> str:
        """The topic's name without the prefix."""
        return topic.removeprefix(self.prefix)

    def options(self) -> dict[str, Any]:
        """Keyword arguments that every kafka-python client of this user takes."""
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": self.prefix + self.user,
            "sasl_plain_password": self.password,
            "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
            **({"ssl_cafile": self.ssl_cafile} if self.ssl_cafile else {}),
        }
