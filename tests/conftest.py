"""Fixtures every test may ask for: real servers, shared by the session, and fresh deployments on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import structlog

from tests import clients
from tests.services import Deployment, NotOurs, Services, memory, open_services

if (_in_memory := memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_in_memory))  # folders of tests: a thousand small databases and spools

clients.watch()

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

TIMED = frozenset({
    "test_demo", "test_fault_proxy", "test_halton_present", "test_infra_logs", "test_infra_processes", "test_infra_state",
    "test_infra_supervised", "test_pulse", "test_registry", "test_web_live",
})  # fmt: skip
"""Modules of tests/unit that start processes or threads and wait for them, by the clock."""


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Broker, database and registry; started once, at the first test that asks."""
    running = open_services()
    yield running
    running.close()


@pytest.fixture(scope="session")
def deployment(services: Services) -> Iterator[Deployment]:
    """One deployment with every topic, user and rule, shared by tests that only add to it."""
    made = services.deploy()
    yield made
    made.close()


@pytest.fixture
def new_deployment(services: Services) -> Iterator[Callable[..., Deployment]]:
    """Make deployments of one's own (`only=[…]` names the topics needed); they are removed after the test."""
    made: list[Deployment] = []

    def make(**options: object) -> Deployment:
        made.append(services.deploy(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that would kill a server that is not ours skips, and says so; a fault that was not injected fails."""
    try:
        return (yield)
    except NotOurs as error:
        told = f"{error} was given from outside: it is not ours to stop"
        if item.get_closest_marker("fault") is not None:
            pytest.fail(told)
        pytest.skip(told)


@pytest.fixture(autouse=True)
def logs_as_configured_by_nobody() -> Iterator[None]:
    """A test that configures logging does so for itself alone."""
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of values alone. Browser tests last: Playwright leaves an event loop running in this thread, in which no
    other can run.
    """
    for item in items:
        if {"unit", "golden"} & {*item.path.parts} and item.path.stem not in TIMED:
            item.add_marker(pytest.mark.values)
    items.sort(key=lambda item: "browser" in item.path.parts)
