"""The report that benches of one run share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.bench.meters import load, machine
from tests.bench.report import TARGET, Report
from tests.bench.stage import FACTS, FACTS_FULL
from tests.bench.workload import SEED
from tests.services import Deployment, LocalServices, Services


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Servers on a disk, as users have them: a commit costs what it costs."""
    with closing(LocalServices()) as running:
        yield running


@pytest.fixture(scope="session")
def report(services: Services, request: pytest.FixtureRequest) -> Iterator[Report]:
    """Printed when the run ends; written to docs/benchmarks.md when benches ran at their full size and passed."""
    made = Report()
    begun = load()
    with_deployment: Deployment = services.deploy(only=["ledger"])
    made.about = machine(services, with_deployment) | {"seed": str(SEED), "facts": f"{FACTS:,}", "load average at start": begun}
    with_deployment.close()
    yield made
    made.about["load average at end"] = load()
    print("\n\n" + made.screen())
    if request.session.testsfailed == 0 and FACTS >= FACTS_FULL:
        TARGET.write_text(made.markdown(TARGET.read_text() if TARGET.exists() else "") + "\n")
        print(f"\nwritten to {TARGET.relative_to(TARGET.parents[1])}")
