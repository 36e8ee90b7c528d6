"""`sightline rebuild` of ten years of a borough."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.bench.meters import memory_mib
from tests.bench.rebuilding import about, rebuilds
from tests.bench.report import Report
from tests.bench.stage import BAR_MEMORY_MB, FACTS, decided, fill, script, take_over, value, wait_for, workers
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(1_500)

TEN_YEARS: Final = FACTS * 19 // 4
"""190,000 at full size: the simulated borough tells some 19,000 facts a year."""


class TestTenYears:
    """What the whole path has decided in ten years of a borough, made anew."""

    def test_rebuild(self, report: Report, services: Services, new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
        """Two workers decide, the relay sends on; then every view is made anew, from Kafka and from an archive."""
        house = new_deployment()
        made = script(house, TEN_YEARS)
        with workers(house, tmp_path) as crew, psycopg.connect(house.views_dsn, autocommit=True) as conn:
            take_over(house, crew)
            fill(house, made.ready)
            pair = [crew.start("unify", n) for n in range(2)]
            memory = list[list[float]]()

            def look() -> bool:
                memory.append([memory_mib(p) for p in pair])
                return decided(conn) >= TEN_YEARS

            begun = time.monotonic()
            wait_for("every fact is decided", look)
            took = time.monotonic() - begun
            crew.stop_all()
            last = value(conn, "select number from counter")
            crew.start("relay")
            wait_for("every entry is relayed", lambda: value(conn, "select relayed from relay") >= last)
        section = report.section(
            "Ten years of a borough, decided without a pause",
            f"{made.workload} lie in Kafka; two `unify` processes decide about all of them, their start included.",
        )
        section.add("facts/s", f"{TEN_YEARS / took:,.0f}")
        for n in range(2):
            quarters = [max(m[n] for m in memory[i * len(memory) // 4 : (i + 1) * len(memory) // 4]) for i in range(4)]
            figures = ", ".join(f"{q:.0f}" for q in quarters)
            met = max(quarters) * 1.048576 < BAR_MEMORY_MB
            section.add(
                f"memory of worker {n}: most in each quarter of the time", f"{figures} MiB", f"< {BAR_MEMORY_MB} MB", met=met
            )
        section = report.section("Rebuild of ten years of a borough", about(str(made.workload)))
        rebuilds(section, services, house, tmp_path, barred=True)
