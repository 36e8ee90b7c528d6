"""docs/faults.md: the fault table with what became of each row. A part of the rows leaves the others' lines as they were.

But not where rows.toml says something else than when a row ran: that has not run yet.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from tests.fault.harness import Took
from tests.fault.rows import ROWS
from tests.fault.sabotage import BREAKS

PATH: Final = Path(__file__).parents[2] / "docs" / "faults.md"
NOT_RUN: Final = "**failed**: not run yet"
HEAD: Final = """\
# What Sightline does when things break

Written by `make faults`; the harness is `tests/fault`. Each row runs real servers and real worker processes, with seeded faults
(SIGKILL, SIGSTOP, small disks, a bad network) struck while agencies talk and people decide. It is judged from what was recorded,
the topics and the tables, and by an oracle that shares no code with the fold. Where a row promises words or an alarm, they are
read in the logs; nothing else is. A row that did not run counts as failed and says what it lacked. What is judged of every row:

- **I1** a fact acknowledged to its agency is in the intake as often as it was acknowledged, and accepted exactly once
- **I2** the views are what a clean fold of the ledger gives, byte for byte
- **I3** each consequence takes effect once
- **I4** a position never moves back, nor past work that is not committed, but with its whole database
- **I5** no fact is on another child than its own
- **I6** after a fault, entries flow again by themselves within a bound: "1.2 of 5" reads after 1.2 seconds at the longest, of at
  most 5. On a machine that is busy with other things bounds are widened by its load a core; where that was needed, it is said
- **I7** nothing personal in keys, headers, logs or outputs
- **TRUTH** the views say what the oracle expects, where a row lets it know
- **DUE** the clock never speaks before its instant, and what people did in time is not called overdue

"""


@dataclass(slots=True)
class Outcome:
    """What became of one row or sabotage over its repeats."""

    times: int = 0
    seed: int = 0
    resumed: dict[str, Took] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lacking: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """It ran, and everything held every time."""
        return self.times > 0 and not self.failures and self.lacking is None

    def took(self, resumed: Mapping[str, Took]) -> None:
        """Keep the longest of each."""
        for what, took in resumed.items():
            self.resumed[what] = max(took, self.resumed.get(what, took))

    @property
    def words(self) -> str:
        """The last cell of its line."""
        notes = f" ({'; '.join(dict.fromkeys(self.notes))})" if self.notes else ""
        if self.lacking is not None:
            return f"**failed**: did not run, lacks {self.lacking}"
        if self.failures:
            return f"**failed** {len(self.failures)} of {self.times}: {plain(self.failures[0])[:300]}{notes}"
        return f"holds{notes}"


def plain(text: str) -> str:
    """Fit for a cell, and without this machine's paths."""
    return re.sub(r"/[\w./-]*/", "…/", text).replace("|", "/").replace("\n", " ")


def cells(outcome: Outcome) -> list[str]:
    """Seconds to resume, times run, result."""
    return [", ".join(resumed(what, took) for what, took in outcome.resumed.items()) or "–", ran(outcome), outcome.words]


def resumed(what: str, took: Took) -> str:
    """How long it took, of at most how long; and the machine's load, where the bound holds by that alone."""
    busy = f" (machine busy: × {took.slack:.1f})" if took.seconds > took.bound_s else ""
    return f"{what} {took.seconds:.1f} of {took.bound_s:g}{busy}"


def ran(outcome: Outcome) -> str:
    """How often, with which seeds, when, and of which commit."""
    if not outcome.times:
        return "0"
    last = f" to {outcome.seed + outcome.times - 1}" if outcome.times > 1 else ""
    day = time.strftime("%d %b %Y", time.gmtime())
    return f"{outcome.times}: seed {outcome.seed}{last}, {day}, {commit()}"


@cache
def commit() -> str:
    """The commit that runs, marked where the working tree differs from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=PATH.parent, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "no commit"


def write(rows: Mapping[int, Outcome], sabotages: Mapping[str, Outcome], path: Path = PATH) -> None:
    """Write the document anew; lines of what was not run now are kept, where they say what today's table says."""
    before = path.read_text() if path.exists() else ""
    path.write_text(HEAD + _machine() + _table(rows, before) + _defects(sabotages, before))


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"The machine of the last run: {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}.\n\n"


def _line(told: Sequence[str], found: Sequence[str] | None, before: str) -> str:
    """What the table says and what was found; if it was not run now, the line before of the same words, if there is one."""
    head = "| " + " | ".join(told) + " | "
    if found is not None:
        return head + " | ".join(found) + " |"
    return next((x for x in before.splitlines() if x.startswith(head)), "")


def _table(rows: Mapping[int, Outcome], before: str) -> str:
    lines = [
        "| row | what happens | how injected | what must hold | resumed after s, of at most | run | result |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        told = [str(row.number), row.title, row.injected, row.holds]
        found = cells(rows[row.number]) if row.number in rows else None
        lines.append(_line(told, found, before) or _line(told, ["–", "0", NOT_RUN], before))
    return "\n".join(lines) + "\n\n"


def _defects(sabotages: Mapping[str, Outcome], before: str) -> str:
    lines = [
        "## Planted defects", "",
        "The harness is judged first: each defect is planted in test workers alone, must be caught with the broken promise",
        "named, and the same seed must pass without it.", "",
        "| defect | must be seen to break | run | result |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, broken in BREAKS.items():
        told = [name, ", ".join(sorted(broken))]
        found = [ran(sabotages[name]), sabotages[name].words] if name in sabotages else None
        lines.append(_line(told, found, before) or _line(told, ["0", NOT_RUN], before))
    return "\n".join(lines) + "\n"
