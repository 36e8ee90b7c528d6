"""The checker is judged first: three planted defects are caught and named, and the same seed passes without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.checker import Violation, check
from tests.fault.harness import House
from tests.fault.oracle import Oracle
from tests.fault.story import tell
from tests.services import Services

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

CHILDREN = 60
"""About a hundred facts, which make some ten batches."""


def run(services: Services, folder: Path, seed: int, end: int, sabotage: str | None) -> tuple[list[Violation], dict[str, int]]:
    """A short life without other faults, then the checks."""
    story = tell(seed, end, CHILDREN)
    reviewer = Oracle(story.facts, story.truth.holders).people
    with House(services, story, folder, sabotage=sabotage) as house:
        for wave in story.waves(6):
            house.publish(wave)
            house.flush(wave)
            house.settle()
        house.reviewed(reviewer.answer)
        return check(house)


@pytest.mark.parametrize(
    ("sabotage", "broken"),
    [(None, set()), ("position-before-effect", {"I1", "I4"}), ("batch-skipped", {"I1", "I4"}), ("outbox-twice", {"I3"})],
)
def test_planted_defects_are_caught_and_named(  # noqa: PLR0917 - fixtures
    services: Services, tmp_path: Path, seed: int, end: int, sabotage: str | None, broken: set[str]
) -> None:
    """The invariants that a planted defect breaks are those that the checker names; without it, none."""
    found, seen = run(services, tmp_path, seed, end, sabotage)
    print(f"seed {seed}, end {end}: {seen}")
    shown = [str(v)[:300] for v in found][:30]
    assert broken == {v.invariant for v in found}, f"seed {seed}, end {end}: {shown}"
    assert min(seen["accepted"], seen["outputs"]) > 0
    assert sabotage is not None or seen["duplicate"] > 0  # a lost batch may have held the few duplicates
