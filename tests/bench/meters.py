"""What processes of a run use: CPU seconds by kind of process, and memory. From /proc, so the machine's noise is not in it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
import psycopg

from tests.services import Deployment, LocalServices, Services

MIB: Final = 1024 * 1024
LIBRARIES: Final = ("kafka-python", "fastavro", "psycopg", "sqlalchemy", "cryptography", "orjson")

CPUCLOCK_SCHED: Final = 2
"""Linux's clock of another process's CPU time, to the nanosecond (`clock_getcpuclockid`): /proc counts in hundredths of a second,
which is as much as thirty facts cost.
"""


def cpu_s(process: psutil.Process) -> float:
    """User and system CPU seconds of a process, with those of its ended children."""
    t = process.cpu_times()
    try:
        own = time.clock_gettime(~process.pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        own = float(t.user + t.system)
    return own + float(t.children_user + t.children_system)


def server_processes(services: Services) -> dict[str, psutil.Process]:
    """The parent processes of broker and database; none when the servers were given from outside."""
    if not isinstance(services, LocalServices):
        return {}
    found = {name: services.parts[name].identity for name in ("kafka", "postgres")}
    return {name: psutil.Process(i.pid) for name, i in found.items() if i is not None}


@dataclass(slots=True)
class Meter:
    """CPU since `start`, by kind: `groups` names processes; the database's living children are counted with it."""

    groups: Mapping[str, Sequence[psutil.Process]]
    _before: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Count from here."""
        self._before = self._now()

    def used(self) -> dict[str, float]:
        """CPU seconds of each group since `start`."""
        return {name: seconds - self._before[name] for name, seconds in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(_with_children, parents)) for name, parents in self.groups.items()}


def _with_children(parent: psutil.Process) -> float:
    if parent.pid == os.getpid():  # the bench itself: its children are the servers and workers, which are groups of their own
        return time.process_time()
    while True:
        try:
            return sum(cpu_s(p) for p in (parent, *parent.children(recursive=True)))
        except psutil.NoSuchProcess:  # a child ended while we looked: its time is its parent's now
            if not parent.is_running():
                raise


def memory_mib(process: psutil.Process) -> float:
    """Resident memory, MiB."""
    return float(process.memory_info().rss) / MIB


def machine(services: Services, deployment: Deployment) -> dict[str, str]:
    """What a reader must know to judge the figures."""
    with psycopg.connect(deployment.views_dsn) as conn:
        row = conn.execute("show server_version").fetchone()
    jars = [p.name for s in [getattr(services, "parts", {})] if "kafka" in s for p in s["kafka"].jars.glob("kafka-clients-*.jar")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, {psutil.virtual_memory().total / 1024**3:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Kafka": jars[0].removeprefix("kafka-clients-").removesuffix(".jar") if jars else "given from outside",
        "PostgreSQL": str(row[0]) if row else "?",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def load() -> str:
    """The load average of the last minute, of the machine as a whole."""
    return f"{os.getloadavg()[0]:.2f}"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
