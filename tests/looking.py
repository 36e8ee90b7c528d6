"""What a reader is shown, for tests that have no page open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra import stores
from infra.settings import Settings
from projections.reading import Reading


@contextmanager
def reading(settings: Settings) -> Iterator[Reading]:
    """The views by the policy and clock of this moment; no connection is left open."""
    engine = stores.engine(settings.views_dsn, "looking", 1)
    try:
        yield Reading(engine, stores.current_reference(), stores.now_us)
    finally:
        engine.dispose()
