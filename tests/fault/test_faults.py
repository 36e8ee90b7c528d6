"""Rows of the fault table on real servers, in short; `make faults` runs all of them, longer and with repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.fault.rows import ROWS, Row, require
from tests.fault.rows_servers import one_broker
from tests.fault.trial import Trial, Unsuited
from tests.services import Services

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

REGRESSIONS: Final[tuple[tuple[int, int, int], ...]] = ()
"""(row, seed, end) that failed once: told again in every run, after what was wrong had been mended."""

SEEDS_TRIED: Final = 5


def tell(row: Row, services: Services, folder: Path, seed: int, end: int) -> None:
    """Run a row with the first seed that suits it."""
    require(row)
    for n in range(SEEDS_TRIED):
        trial = Trial(services, folder / str(n), seed + 1_000 * n, end)
        try:
            row.run(trial)
        except Unsuited:
            continue
        except BaseException:
            print(f"again: make faults ROWS={row.number} SEED={trial.seed} ARGS='--short --end {end}'; logs in {trial.folder}")
            raise
        print(f"row {row.number}, seed {trial.seed}: {trial.counts}; resumed {trial.resumed}")
        return
    pytest.fail(f"no seed from {seed} on was suited")


@pytest.mark.parametrize("row", [r for r in ROWS if r.tested], ids=lambda r: f"{r.number}-{r.title.replace(' ', '-')}")
def test_what_the_table_says(row: Row, services: Services, tmp_path: Path, seed: int, end: int) -> None:
    """What the row says must hold, holds."""
    tell(row, services, tmp_path, seed, end)


def test_the_one_broker_killed_in_mid_stream(services: Services, tmp_path: Path, seed: int, end: int) -> None:
    """Facts are under way when it dies; all of them arrive, once, and what people did takes effect once."""
    one_broker(Trial(services, tmp_path, seed, end))


@pytest.mark.parametrize(("number", "seed", "end"), REGRESSIONS)
def test_what_failed_once(number: int, seed: int, end: int, services: Services, tmp_path: Path) -> None:
    """It does not fail again."""
    (row,) = [r for r in ROWS if r.number == number]
    tell(row, services, tmp_path, seed, end)
