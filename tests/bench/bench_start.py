"""From the command to the first page: on an empty state folder with everything downloaded, and again on what that left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from infra import parts
from infra.state import REPOSITORY
from producers.halton.rates import CHILDREN
from tests import house as houses
from tests.bench.report import Report
from tests.bench.stage import FACTS, FACTS_FULL
from tests.house import LOOK_S, House, Terminal

pytestmark = pytest.mark.timeout(1_500)

WARM_S, COLD_S = 20, 180
SMALL_CHILDREN: Final = 300
"""The borough of a run at less than full size."""

PAGE_S: Final = 600.0
IMPORT_S: Final = 900.0


@pytest.fixture
def house() -> Iterator[House]:
    with houses.house() as made:
        yield made


class TestStart:
    """The real command, cold and warm."""

    def test_to_the_first_page(self, report: Report, house: House) -> None:
        """Cold, until the year is imported; Ctrl-C; warm on the same state."""
        parts.Cache(parts.cache_folder()).fetch(parts.locked(), lambda done, expected: None)
        children = CHILDREN if FACTS >= FACTS_FULL else SMALL_CHILDREN
        section = report.section(
            "Start to first page",
            "From starting `sightline run` until its address answers 200 over HTTP. Cold: an empty state folder, every part in "
            "the download cache; parts are unpacked, servers and databases made. Warm: again on the same state. The servers of "
            f"the other benches run beside it, idle. The borough has {children:,} children; its year is imported behind the "
            "page, which does not wait for it.",
        )
        section.add("`make`: the environment is found complete", _environment())
        section.add("`make`: the environment from nothing", "not measured: pip asks its index even when it has every wheel")
        cold = house.begin("run", *(() if children == CHILDREN else ("--children", str(children))))
        took = page(cold)
        section.add("cold: to the first page", f"{took:.1f} s", f"< {COLD_S} s beyond download", met=took < COLD_S)
        cold.shows(r"(lives on)", IMPORT_S)
        section.add("cold: until the year is imported and reviewed, too", f"{time.monotonic() - cold.begun:.0f} s")
        begun = time.monotonic()
        assert cold.interrupt() == 0, cold.text
        section.add("Ctrl-C to the end", f"{time.monotonic() - begun:.1f} s")
        warm = house.begin("run")
        took = page(warm)
        section.add("warm: to the first page", f"{took:.1f} s", f"< {WARM_S} s", met=took < WARM_S)
        assert warm.interrupt() == 0, warm.text
        section.drawings += [drawing("cold, steps told", cold), drawing("warm, steps told", warm)]


def page(start: Terminal) -> float:
    """Seconds from the start until the first page answers 200."""
    address = start.shows(r"The page answers at (http://[\w.:]+/)", PAGE_S)
    with httpx.Client(timeout=5, follow_redirects=True) as browser:
        while (now := start.look()) < PAGE_S:
            try:
                if browser.get(address).status_code == httpx.codes.OK:
                    return time.monotonic() - start.begun
            except httpx.TransportError:
                time.sleep(LOOK_S)
    raise AssertionError(f"no page within {now:.0f} s")


def drawing(title: str, start: Terminal) -> str:
    """The steps that it told, with the second at which each was told."""
    return "\n".join([title, *(f"{at:7.1f} s  {line[2:]}" for at, line in start.lines if line.startswith("· "))])


def _environment() -> str:
    """How long `make` looks at the environment before it starts anything, where this Python is of such an environment."""
    venv = Path(sys.prefix)
    if not (venv / "sightline.json").exists():
        return "not measured: this Python is not of `make`'s environment"
    begun = time.monotonic()
    subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), REPOSITORY / "infra" / "environment.py", "run"], check=True,
        env={**os.environ, "SIGHTLINE_STATE": str(venv.parent)},
    )  # fmt: skip
    return f"{time.monotonic() - begun:.1f} s"
