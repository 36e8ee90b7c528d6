"""A deployment in a state folder of its own, driven by `sightline` as on anybody's machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from infra.state import REPOSITORY, State

STOP_S: Final = 60.0
LOOK_S: Final = 0.02


@dataclass(slots=True)
class Terminal:
    """A command in the foreground: what came on its screen, and when (seconds since its start). Ctrl-C reaches it."""

    process: subprocess.Popen[bytes]
    screen: Path
    begun: float
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that is on the screen."""
        return self.screen.read_text()

    def look(self) -> float:
        """Take in what is on the screen by now; the seconds since the start."""
        assert self.process.poll() is None, self.text
        now = time.monotonic() - self.begun
        self.lines += [(now, line.strip()) for line in self.text.splitlines()[len(self.lines) :]]
        return now

    def shows(self, pattern: str, seconds: float) -> str:
        """What the pattern's group matched, once it is on the screen; at most `seconds` from now."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            if found := re.search(pattern, self.text):
                return found[1]
            time.sleep(LOOK_S)
        raise AssertionError(f"not within {seconds:.0f} s: {pattern}\n{self.text}")

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


class House:
    """The deployment, its state folder and the environment in which commands find it."""

    def __init__(self, root: Path) -> None:
        self.state = State.open(root)
        mine = {k: v for k, v in os.environ.items() if not k.startswith("SIGHTLINE_") or k == "SIGHTLINE_MAVEN"}
        self.env = {**mine, "SIGHTLINE_STATE": str(root), "COLUMNS": "220", "PYTHONUNBUFFERED": "1"}
        self._begun = 0

    def say(self, *words: str, seconds: float = STOP_S) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        command = [sys.executable, "-m", "infra.command", *words]
        return subprocess.run(command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, check=False, timeout=seconds)

    def begin(self, *words: str) -> Terminal:
        """A command in the foreground of a terminal of its own."""
        self._begun += 1
        screen, begun = self.state.root / f"terminal-{self._begun}.out", time.monotonic()
        with screen.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "infra.command", *words], cwd=REPOSITORY, env=self.env, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return Terminal(process, screen, begun)

    def status(self) -> dict[str, Any]:
        """`status --json`; its exit status says the same."""
        done = self.say("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["healthy"] == (done.returncode == 0), done.stderr
        return found

    def living(self) -> list[str]:
        """Processes of this house, whoever started them: they have its folder in their command line or their environment."""
        root, found = str(self.state.root), []
        for process in psutil.process_iter():
            try:
                if root in process.environ().get("SIGHTLINE_STATE", "") or any(root in word for word in process.cmdline()):
                    found.append(f"{process.pid} {process.name()}")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@contextmanager
def house() -> Iterator[House]:
    """A house on an empty folder; whatever still runs is stopped at the end, and the folder removed."""
    root = Path(tempfile.mkdtemp(prefix="sightline-house-"))
    root.chmod(0o711)  # PostgreSQL may run as another user and must pass through
    made = House(root)
    try:
        yield made
    finally:
        made.say("down")
        shutil.rmtree(root, ignore_errors=True)
