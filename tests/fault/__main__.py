"""`python -m tests.fault`: the fault table, with repeats. `make faults` calls it; `--help` lists what may be given."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.fault.judging import caught
from tests.fault.report import PATH, Outcome, write
from tests.fault.rows import ROWS, RUN, Row, require
from tests.fault.sabotage import BREAKS
from tests.fault.trial import Lacking, Trial, Unsuited
from tests.services import LocalServices

HOUR_US = 3_600_000_000
SEEDS_TRIED = 5
"""Some rows need a story with something in it that not every seed has; then the next seed is taken."""


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 when everything that was asked for holds."""
    given = parser().parse_args(arguments)
    seed = given.seed if given.seed is not None else secrets.randbelow(900_000) + 1_000
    end = given.end if given.end is not None else time.time_ns() // 1000 // HOUR_US * HOUR_US
    chosen = [r for n in ([r.number for r in ROWS] if given.rows is None else given.rows) for r in ROWS if r.number == n]
    defects = given.defects if given.defects is not None else [*BREAKS] if given.rows is None else []
    short = " --short" if given.short else ""
    again = f"SEED={seed} TIMES={given.times} ROWS={','.join(str(r.number) for r in chosen) or 'none'}"
    print(f"again: make faults {again} ARGS='--end {end} --defects {','.join(defects) or 'none'}{short}'", flush=True)
    runner = Runner(seed, end, whole=not given.short, keep=given.keep)
    report = runner.folder / PATH.name if given.no_report else PATH
    rows: dict[int, Outcome] = {}
    found: dict[str, Outcome] = {}
    try:
        for name in defects:
            found[name] = runner.repeat(f"defect {name}", 1, lambda trial, name=name: caught(trial, name))  # type: ignore[misc]
            write(rows, found, report)
        for row in chosen:
            rows[row.number] = runner.row(row, given.times)
            write(rows, found, report)  # what has been seen stays, however the rest ends
    finally:
        runner.close()
    bad = [k for k, v in [*rows.items(), *found.items()] if not v.good]
    print(f"{len(rows) + len(found) - len(bad)} hold, {len(bad)} do not{': ' if bad else ''}{', '.join(map(str, bad))}")
    return 1 if bad else 0


def parser() -> argparse.ArgumentParser:
    """What may be given."""
    made = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    made.add_argument("--rows", type=numbers, help="numbers, like 1,5,13, in this order; or none (default: all)")
    made.add_argument(
        "--defects", type=defects_named, help="planted defects, by name; or none (default: all, or none when rows are named)"
    )
    made.add_argument("--seed", type=int, help="to tell a story again")
    made.add_argument("--end", type=int, help="the story's end, µs UTC (default: the last full hour)")
    made.add_argument("--times", type=int, default=3, help="repeats of each row, each with the next seed (default 3)")
    made.add_argument("--short", action="store_true", help="as in `make test`: fewer kills, shorter freezes")
    made.add_argument("--keep", action="store_true", help="keep the folders of runs that passed, too")
    made.add_argument(
        "--no-report", action="store_true", help="leave docs/faults.md alone: the report goes to the folder of this run"
    )
    return made


def names(text: str) -> list[str]:
    """A list with commas; empty for `none`."""
    return [] if text == "none" else text.split(",")


def numbers(text: str) -> list[int]:
    """The same of rows' numbers. Raises: ArgumentTypeError, for one that no row has."""
    found = [int(x) for x in names(text)]
    if strange := set(found) - RUN.keys():
        raise argparse.ArgumentTypeError(
            f"no row has the number {', '.join(map(str, sorted(strange)))}: 1 to {max(RUN)}, or none"
        )
    return found


def defects_named(text: str) -> list[str]:
    """The same of planted defects. Raises: ArgumentTypeError, for one that there is not."""
    found = names(text)
    if strange := set(found) - BREAKS.keys():
        raise argparse.ArgumentTypeError(f"no defect is called {', '.join(sorted(strange))}: {', '.join(BREAKS)}, or none")
    return found


class Runner:
    """Runs trials one after another on shared servers; after a failure the next begins on new ones."""

    def __init__(self, seed: int, end: int, *, whole: bool, keep: bool) -> None:
        self.seed, self.end, self.whole, self.keep = seed, end, whole, keep
        self._services: LocalServices | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-faults-"))

    def close(self) -> None:
        """End the servers."""
        if self._services is not None:
            self._services.close()
        if not self.keep and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def row(self, row: Row, times: int) -> Outcome:
        """One row with its repeats."""
        try:
            require(row)
        except Lacking as lacking:
            print(f"row {row.number}, {row.title}: did not run, lacks {lacking}", flush=True)
            return Outcome(lacking=str(lacking))
        return self.repeat(f"row {row.number}, {row.title}", 1 if row.number == 20 else times, row.run)

    def repeat(self, name: str, times: int, run: Callable[[Trial], object]) -> Outcome:
        """Run with one seed after another."""
        outcome = Outcome(seed=self.seed, notes=[] if self.whole else ["in short"])
        for n in range(times):
            self._once(name, range(self.seed + n, self.seed + n + SEEDS_TRIED * 1_000, 1_000), run, outcome)
        return outcome

    def _once(self, name: str, seeds: Iterable[int], run: Callable[[Trial], object], outcome: Outcome) -> None:
        for seed in seeds:
            folder = Path(tempfile.mkdtemp(prefix=f"{name.split(',', maxsplit=1)[0].replace(' ', '-')}-{seed}-", dir=self.folder))
            print(f"{name}: seed {seed}", flush=True)
            started, failure = time.monotonic(), None
            trial: Trial | None = None
            try:
                self._services = self._services or LocalServices()
                trial = Trial(self._services, folder, seed, self.end, whole=self.whole)
                run(trial)
            except Unsuited as err:
                print(f"  seed {seed} is not suited: {err}", flush=True)
                continue
            except (Exception, pytest.fail.Exception) as err:  # the second, which pytest.raises raises, is none of the first
                failure = f"seed {seed}, end {self.end}: {type(err).__name__}: {err}"
                (folder / "failure.txt").write_text(traceback.format_exc())
            outcome.times += 1
            if trial is not None:
                outcome.took(trial.resumed)
                outcome.notes += trial.notes
            self._told(name, folder, time.monotonic() - started, failure, trial)
            if failure is not None:
                outcome.failures.append(failure)
                self._renew()
            elif not self.keep:
                shutil.rmtree(folder, ignore_errors=True)
            return
        outcome.failures.append("no seed was suited")

    def _told(self, name: str, folder: Path, took_s: float, failure: str | None, trial: Trial | None) -> None:
        resumed = {what: round(took.seconds, 2) for what, took in trial.resumed.items()} if trial else {}
        print(
            f"  {'FAILED' if failure else 'holds'} after {took_s:.0f} s; resumed {resumed}; {trial.counts if trial else {}}",
            flush=True,
        )
        if failure:
            print(f"  {failure[:3000]}\n  logs in {folder}", flush=True)

    def _renew(self) -> None:
        """After a failure nobody knows what state servers are in: those that do not answer are not used again."""
        if self._services is not None and not all(part.ready() for part in self._services.parts.values()):
            self._services.close()
            self._services = None


if __name__ == "__main__":
    sys.exit(main())
