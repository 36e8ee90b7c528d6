"""The rows of the fault table (rows.toml), each with the function that runs it; and what this machine lacks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fault import rows_data, rows_machine, rows_servers, rows_time, rows_workers
from tests.fault.trial import Lacking, Trial


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `needs`: of `NEEDS`; `tested`: in `make test` as well."""

    number: int
    title: str
    injected: str
    holds: str
    needs: tuple[str, ...] = ()
    tested: bool = False

    def run(self, trial: Trial) -> None:
        """Run it once. Raises: Broken, AssertionError, Unsuited."""
        RUN[self.number](trial)


def _root() -> str | None:
    return None if os.geteuid() == 0 else "root (to mount a small file system)"


def _namespaces() -> str | None:
    if shutil.which("ip") is None:
        return "the ip command"
    name = f"sightline-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None if made.returncode == 0 else "the right to make network namespaces"


def _memory() -> str | None:
    free = next(int(x.split()[1]) for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemAvailable"))
    return None if free > 3_000_000 else "3 GB of memory for three brokers"


NEEDS: Final[Mapping[str, Callable[[], str | None]]] = {"root": _root, "namespaces": _namespaces, "memory": _memory}
"""By name: what is lacking of it, or None."""


def require(row: Row) -> None:
    """Raises: Lacking, with everything that the row lacks."""
    if lacking := [what for name in row.needs if (what := NEEDS[name]()) is not None]:
        raise Lacking("; ".join(lacking))


RUN: Final[Mapping[int, Callable[[Trial], None]]] = {
    1: rows_workers.killed,
    2: rows_workers.rebuild_killed,
    3: rows_servers.broker_killed,
    4: rows_servers.leaders_change,
    5: rows_servers.database_lost,
    6: rows_servers.database_refuses,
    7: rows_machine.disk_full,
    8: rows_time.clock_skew,
    9: rows_data.disorder,
    10: rows_data.poison,
    11: rows_data.schemas_change,
    12: rows_servers.registry_away,
    13: rows_workers.storm,
    14: rows_workers.slow_first,
    15: rows_machine.network,
    16: rows_servers.retention_passed,
    17: rows_workers.frozen,
    18: rows_workers.one_child,
    19: rows_time.practice_away,
    20: rows_machine.soak,
    21: rows_data.producer_killed,
    22: rows_data.rule_raises,
    23: rows_time.long_outage,
}

ROWS: Final[tuple[Row, ...]] = tuple(
    Row(**(r | {"needs": tuple(r.get("needs", ()))}))
    for r in tomllib.loads(Path(__file__).with_name("rows.toml").read_text())["row"]
)
