"""What a reader is shown, for tests that have no page open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra import assembly
from infra.settings import Settings
from projections.reading import Reading


@contextmanager
def reading(settings: Settings) -> Iterator[Reading]:
    """The views by the policy and clock of this moment; no connection is left open."""
    engine = assembly.engine(settings.views_dsn, "looking", 1)
    try:
        yield Reading(engine, assembly.current_reference(), assembly.now_us)
    finally:
        engine.dispose()
