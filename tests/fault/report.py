"""docs/faults.md: the fault table with what became of each row. A part of the rows leaves the others' lines as they were."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fault.rows import ROWS, Row
from tests.fault.sabotage import BREAKS

PATH: Final = Path(__file__).parents[2] / "docs" / "faults.md"
NOT_RUN: Final = "**failed**: not run yet"
HEAD: Final = """\
# What Sightline does when things break

Written by `make faults`; the harness is `tests/fault`. Each row runs real servers and real worker processes, with seeded faults
(SIGKILL, SIGSTOP, small disks, a bad network) struck while agencies talk and people decide. It is judged from what was recorded,
the topics and the tables, and by an oracle that shares no code with the fold. The invariants are in docs/architecture.md; TRUTH:
the views say what the oracle expects; DUE: the clock never speaks before its instant, and what people did in time is not called
overdue. A row that did not run counts as failed and says what it lacked.

"""


@dataclass(slots=True)
class Outcome:
    """What became of one row or sabotage over its repeats."""

    times: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lacking: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """It ran, and everything held every time."""
        return self.times > 0 and not self.failures and self.lacking is None

    def took(self, seconds: Mapping[str, float]) -> None:
        """Keep the longest of each."""
        for what, s in seconds.items():
            self.seconds[what] = max(s, self.seconds.get(what, 0.0))

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
    seconds = ", ".join(f"{what} {s:.1f}" for what, s in outcome.seconds.items()) or "–"
    return [seconds, str(outcome.times), outcome.words]


def write(rows: Mapping[int, Outcome], sabotages: Mapping[str, Outcome], path: Path = PATH) -> None:
    """Write the document anew; lines of what was not run now are kept."""
    before = path.read_text() if path.exists() else ""
    path.write_text(HEAD + _machine() + _table(rows, before) + _defects(sabotages, before))


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    day = time.strftime("%d %B %Y", time.gmtime())
    return f"Last written on {day}: {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}.\n\n"


def _kept(key: str, before: str, count: int) -> list[str] | None:
    line = next((x for x in before.splitlines() if x.startswith(f"| {key} |")), None)
    return None if line is None else [c.strip() for c in line.strip("|").split("|")][-count:]


def _table(rows: Mapping[int, Outcome], before: str) -> str:
    lines = [
        "| row | what happens | how injected | what must hold | resumes within | seconds to resume (longest) | times | result |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        kept = _kept(str(row.number), before, 3) or ["–", "0", NOT_RUN]
        lines.append(_line(row, cells(rows[row.number]) if row.number in rows else kept))
    return "\n".join(lines) + "\n\n"


def _line(row: Row, found: Sequence[str]) -> str:
    return "| " + " | ".join([str(row.number), row.title, row.injected, row.holds, f"{row.within_s:g} s", *found]) + " |"


def _defects(sabotages: Mapping[str, Outcome], before: str) -> str:
    lines = [
        "## Planted defects", "",
        "The harness is judged first: each defect is planted in test workers alone, must be caught with the broken promise",
        "named, and the same seed must pass without it.", "",
        "| defect | must be seen to break | times run | result |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, broken in BREAKS.items():
        kept = _kept(name, before, 2) or ["0", NOT_RUN]
        found = [str(sabotages[name].times), sabotages[name].words] if name in sabotages else kept
        lines.append("| " + " | ".join([name, ", ".join(sorted(broken)), *found]) + " |")
    return "\n".join(lines) + "\n"
