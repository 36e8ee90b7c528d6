"""The harness is judged: a planted defect is caught with the broken promise named, and the same life passes without it."""

from __future__ import annotations

from typing import Final

from tests.fault.lives import LIVES
from tests.fault.sabotage import BREAKS
from tests.fault.trial import Broken, Trial

PASSED: Final[set[tuple[str, int, int]]] = set()
"""Lives that passed in this process, by name, seed and end: several defects share one."""


def caught(trial: Trial, name: str) -> frozenset[str]:
    """The promises that the checks say are broken.

    Raises: AssertionError, when what must be named is not; Broken, when the same seed does not pass without the defect.
    """
    life = LIVES[name]
    trial.sabotage = name
    found = life(trial)
    broken = frozenset(v.invariant for v in found)
    assert BREAKS[name] <= broken, (
        f"{name} must break {sorted(BREAKS[name])}; named were {sorted(broken)}: {[str(v)[:200] for v in found[:6]]}"
    )
    trial.notes.append("named " + ", ".join(sorted(broken)))
    passes(trial, name)
    return broken


def passes(trial: Trial, name: str) -> None:
    """The same life without the defect. Raises: Broken."""
    if (LIVES[name].__name__, trial.seed, trial.end) in PASSED:
        return
    clean = Trial(trial.services, trial.folder / "clean", trial.seed, trial.end, whole=trial.whole, say=trial.say)
    if found := LIVES[name](clean):
        raise Broken(found)
    PASSED.add((LIVES[name].__name__, trial.seed, trial.end))
