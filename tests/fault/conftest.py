"""Seeds and the story's end may be given, so that a failing run can be told again."""

from __future__ import annotations

import os
import time
from typing import Final

import pytest

HOUR_US: Final = 3_600_000_000


@pytest.fixture(scope="session")
def seed() -> int:
    """SIGHTLINE_FAULT_SEED, or the house's own."""
    return int(os.environ.get("SIGHTLINE_FAULT_SEED", "2019"))


@pytest.fixture(scope="session")
def end() -> int:
    """SIGHTLINE_FAULT_END (µs UTC), or the last full hour: facts are young enough to count, and none lies in the future."""
    return int(os.environ.get("SIGHTLINE_FAULT_END", str(time.time_ns() // 1000 // HOUR_US * HOUR_US)))
