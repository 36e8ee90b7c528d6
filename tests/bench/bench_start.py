"""From the command to the first page: on an empty state folder with everything downloaded, and again on what that left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from infra import parts
from infra.state import REPOSITORY
from producers.halton.rates import CHILDREN
from tests.bench.report import Report
from tests.bench.stage import FACTS, FACTS_FULL

pytestmark = pytest.mark.timeout(1_500)

WARM_S, COLD_S = 20, 180
SMALL_CHILDREN: Final = 300
"""The borough of a run at less than full size."""

PAGE_S: Final = 600.0
IMPORT_S: Final = 900.0
STOP_S: Final = 60.0
LOOK_S: Final = 0.02


@dataclass(slots=True)
class Start:
    """A `sightline run` that this process started, and when (s since then) each line came on its screen."""

    process: subprocess.Popen[bytes]
    screen: Path
    begun: float
    lines: list[tuple[float, str]] = field(default_factory=list)

    def look(self) -> float:
        """Take in what is on the screen by now; the seconds since the start."""
        assert self.process.poll() is None, self.screen.read_text()
        now = time.monotonic() - self.begun
        shown = [line.strip() for line in self.screen.read_text().splitlines()]
        self.lines += [(now, line) for line in shown[len(self.lines) :]]
        return now

    def shows(self, pattern: str, seconds: float) -> str:
        """What the pattern's group matched, once it is on the screen."""
        while (now := self.look()) < seconds:
            for _, line in self.lines:
                if found := re.search(pattern, line):
                    return found[1]
            time.sleep(LOOK_S)
        raise AssertionError(f"not within {now:.0f} s: {pattern}\n{self.screen.read_text()}")

    def page(self) -> float:
        """Seconds from the start until the first page answers 200."""
        address = self.shows(r"Sightline is up: (http://\S+)", PAGE_S)
        with httpx.Client(timeout=5, follow_redirects=True) as browser:
            while (now := self.look()) < PAGE_S:
                try:
                    if browser.get(address).status_code == httpx.codes.OK:
                        return time.monotonic() - self.begun
                except httpx.TransportError:
                    time.sleep(LOOK_S)
        raise AssertionError(f"no page within {now:.0f} s")

    def interrupt(self) -> float:
        """Ctrl-C; the seconds until it has ended in good order."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(STOP_S) == 0, self.screen.read_text()
        return time.monotonic() - begun

    def drawing(self, title: str) -> str:
        """The steps that it told, with the second at which each was told."""
        return "\n".join([title, *(f"{at:7.1f} s  {line[2:]}" for at, line in self.lines if line.startswith("· "))])


class House:
    """A state folder of its own, and the command started on it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, name: str, *words: str) -> Start:
        """`sightline run`, as `make run` does once there is an environment."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("SIGHTLINE_") or k == "SIGHTLINE_MAVEN"}
        env = {**mine, "SIGHTLINE_STATE": str(self._root), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        screen = self._root / f"{name}.out"
        with screen.open("wb") as out:
            begun = time.monotonic()
            process = subprocess.Popen(
                [Path(sys.executable).with_name("sightline"), "run", *words], cwd=REPOSITORY, env=env, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return Start(process, screen, begun)

    def close(self) -> None:
        """End what still runs (its own children end with it), and remove the folder."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self._root, ignore_errors=True)


@pytest.fixture
def house() -> Iterator[House]:
    root = Path(tempfile.mkdtemp(prefix="sightline-start-"))
    root.chmod(0o711)  # PostgreSQL may run as another user and must pass through
    made = House(root)
    yield made
    made.close()


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
        cold = house.run("cold", *(() if children == CHILDREN else ("--children", str(children))))
        took = cold.page()
        section.add("cold: to the first page", f"{took:.1f} s", f"< {COLD_S} s beyond download", met=took < COLD_S)
        cold.shows(r"(lives on)", IMPORT_S)
        section.add("cold: until the year is imported and reviewed, too", f"{time.monotonic() - cold.begun:.0f} s")
        section.add("Ctrl-C to the end", f"{cold.interrupt():.1f} s")
        warm = house.run("warm")
        took = warm.page()
        section.add("warm: to the first page", f"{took:.1f} s", f"< {WARM_S} s", met=took < WARM_S)
        warm.interrupt()
        section.drawings += [cold.drawing("cold, steps told"), warm.drawing("warm, steps told")]


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
