"""How fast an agency publishes: validated, safe on disk, acknowledged by the broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import assembly
from producers.client import AgencyClient
from tests.bench.meters import Meter, server_processes
from tests.bench.report import Report
from tests.bench.stage import FACTS, KEY_SECRET
from tests.bench.workload import workload
from tests.services import Deployment, Services

pytestmark = pytest.mark.timeout(300)

AGENCY = "police"


class TestPublish:
    """One `AgencyClient`, many facts at a time and one at a time."""

    def test_rate(self, services: Services, report: Report, new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
        """Both ways, until the broker has everything."""
        import psutil

        house = new_deployment(only=[f"facts.{AGENCY}"])
        facts = [(f.record, f.value) for f in workload(FACTS).facts if f.agency == AGENCY]
        singly = facts[: max(1, len(facts) // 20)]
        folder = tmp_path / "spool"
        folder.mkdir(mode=0o700)
        section = report.section(
            "An agency publishes",
            f"`AgencyClient` of {AGENCY}: each fact validated, encoded, synced to the spool on disk, sent and acknowledged. "
            f"{len(facts):,} facts by `publish_many`, {len(singly):,} by `publish`.",
        )
        meter = Meter({"client": [psutil.Process()], **{n: [p] for n, p in server_processes(services).items() if n == "kafka"}})
        access, codec = house.access(f"agency.{AGENCY}"), assembly.codec(house.settings)
        with AgencyClient(access, AGENCY, codec, KEY_SECRET, folder) as client:
            client.publish(*facts[0])
            client.flush(30)
            meter.start()
            begun = time.monotonic()
            client.publish_many(facts)
            client.flush(120)
            took, used = time.monotonic() - begun, meter.used()
            section.add("many at a time", f"{len(facts) / took:,.0f} facts/s")
            section.add("of it CPU µs a fact", " + ".join(f"{n} {s / len(facts) * 1e6:.0f}" for n, s in used.items()))
            begun = time.monotonic()
            for fact in singly:
                client.publish(*fact)
            client.flush(120)
            section.add("one at a time, each synced", f"{len(singly) / (time.monotonic() - begun):,.0f} facts/s")
