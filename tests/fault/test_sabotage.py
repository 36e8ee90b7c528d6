"""The harness is judged first: planted defects are caught and named, and the same seed passes without them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.fault.lives import LIVES, plain
from tests.fault.sabotage import BREAKS
from tests.fault.trial import Trial
from tests.services import Services

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

TESTED: Final = ("position-before-effect", "batch-skipped", "outbox-twice", "fold-forgets", "fencing-off")
"""One for each promise; `make faults` plants them all."""


@pytest.mark.parametrize("name", TESTED)
def test_planted_defects_are_caught_and_named(services: Services, tmp_path: Path, seed: int, end: int, name: str) -> None:
    """The promise that a planted defect breaks is among those that the checks name."""
    trial = Trial(services, tmp_path, seed, end, sabotage=name)
    broken = {v.invariant for v in LIVES[name](trial)}
    assert BREAKS[name] <= broken, f"seed {seed}, end {end}: {sorted(broken)}"


def test_the_same_life_passes_without_them(services: Services, tmp_path: Path, seed: int, end: int) -> None:
    """No promise is broken where no defect is planted. (The frozen life without a defect is row 17.)"""
    assert [] == [str(v)[:300] for v in plain(Trial(services, tmp_path, seed, end))], f"seed {seed}, end {end}"


def test_every_defect_is_in_the_table() -> None:
    """Each is planted in a life, and has a promise to break."""
    assert BREAKS.keys() == LIVES.keys()
