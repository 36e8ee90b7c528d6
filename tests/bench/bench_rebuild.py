"""`sightline rebuild` of ten years of a borough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.bench.rebuilding import about, rebuilds
from tests.bench.report import Report
from tests.bench.stage import FACTS, decided, fill, script, take_over, value, wait_for, workers
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(1_500)

TEN_YEARS: Final = FACTS * 19 // 4
"""190,000 at full size: the simulated borough tells some 19,000 facts a year."""


class TestTenYears:
    """What the whole path has decided in ten years of a borough, made anew."""

    def test_rebuild(self, report: Report, services: Services, new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
        """Two workers decide, the relay sends on; then every view is made anew, twice."""
        house = new_deployment()
        made = script(house, TEN_YEARS)
        with workers(house, tmp_path) as crew, psycopg.connect(house.views_dsn, autocommit=True) as conn:
            take_over(house, crew)
            fill(house, made.ready)
            for n in range(2):
                crew.start("unify", n)
            wait_for("every fact is decided", lambda: decided(conn) >= TEN_YEARS)
            crew.stop_all()
            last = value(conn, "select number from counter")
            crew.start("relay")
            wait_for("every entry is relayed", lambda: value(conn, "select relayed from relay") >= last)
        section = report.section("Rebuild of ten years of a borough", about(str(made.workload)))
        rebuilds(section, services, house, tmp_path)
