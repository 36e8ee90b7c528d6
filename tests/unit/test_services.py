"""The servers that tests run against: what a child process is told of them."""

from __future__ import annotations

import pytest

from infra.settings import Settings
from tests.services import Deployment, GivenServices


def test_a_child_process_finds_the_databases_of_its_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """On given servers too: the deployment's own databases, with the prefix, never the ones that were given."""
    for name, value in {
        "SIGHTLINE_KAFKA": "broker.example:9093",
        "SIGHTLINE_DATABASE": "postgresql://x@db.example/views?sslmode=require",
        "SIGHTLINE_KEEP": "postgresql://x@db.example/keep",
        "SIGHTLINE_REGISTRY": "https://registry.example",
    }.items():
        monkeypatch.setenv(name, value)
    services = GivenServices()
    mine = Deployment(services, services.settings("t1."))
    theirs = Settings.load(env=mine.environment())
    services.close()
    assert "postgresql://x@db.example/t1_views?sslmode=require" == theirs.views_dsn
    assert (mine.views_dsn, mine.keep_dsn, mine.prefix) == (theirs.views_dsn, theirs.keep_dsn, theirs.prefix)
