"""One worker process under the supervisor: start, notice its death, start again after a pause that grows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from infra.heartbeat import STALLED_S, VARIABLE, age_s
from infra.processes import Identity, spawn
from infra.records import Condition, Process
from infra.state import REPOSITORY, State
from infra.workers import Worker

PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 4.0
"""The longest pause before a start: with a worker's own second of start-up, I6's 5 s hold."""

STEADY_S: Final = 30.0
"""A worker that lived this long starts again after the first pause."""

UP_S: Final = 1.0
"""A worker without a heartbeat counts as up when it has lived this long."""

STOP_S: Final = 10.0
EX_CONFIG: Final = 78
"""Exit status of a worker whose code is not there: starting it again would not help."""

log = structlog.get_logger("sightline.supervisor")


@dataclass(slots=True)
class Child:
    """A worker's process number `number`."""

    name: str
    command: list[str]
    environment: dict[str, str]
    logfile: Path
    beat: Path | None = None
    restarts: int = 0
    absent: bool = False
    _pause_s: float = PAUSE_FIRST_S
    _begun: float = 0.0
    _due: float = 0.0
    _popen: subprocess.Popen[bytes] | None = None
    _identity: Identity | None = field(default=None)

    @classmethod
    def of(cls, worker: Worker, number: int, state: State) -> Child:
        """The child that runs `worker`, without starting it."""
        name = worker.name if worker.processes == 1 else f"{worker.name}-{number}"
        environment = {
            **os.environ,
            "SIGHTLINE_STATE": str(state.root),
            "SIGHTLINE_INSTANCE": str(number),
            "PYTHONUNBUFFERED": "1",
        }
        beat = state.run / "beats" / name if worker.beats else None
        if beat is not None:
            beat.parent.mkdir(parents=True, exist_ok=True)
            environment[VARIABLE] = str(beat)
        command = [sys.executable, "-m", "infra.command", "worker", worker.name]
        return cls(name, command, environment, state.logs / f"{name}.log", beat)

    def start(self) -> None:
        """Start the process; it ends with us."""
        if self.beat is not None:
            self.beat.unlink(missing_ok=True)
        self._popen = spawn(self.command, log=self.logfile, env=self.environment, cwd=REPOSITORY)
        self._identity = Identity.of(self._popen.pid)
        self._begun = time.monotonic()

    def tend(self) -> None:
        """Notice a death; start again when the pause is over."""
        if self.absent:
            return
        if self._popen is not None:
            status = self._popen.poll()
            if status is None:
                return
            self._died(status)
        elif time.monotonic() >= self._due:
            self.restarts += 1
            self.start()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        if self._popen and self._popen.poll() is None:
            self._popen.terminate()

    def stopped(self) -> None:
        """Wait for the end that was asked for, at most `STOP_S`, then force it."""
        if self._popen is None:
            return
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("worker did not stop when asked", worker=self.name)
            self._popen.kill()
            self._popen.wait()
        self._popen = None

    def process(self) -> Process:
        """For the record."""
        condition: Condition
        if self.absent:
            condition = "absent"
        elif self._popen is None:
            condition = "waiting"
        else:
            condition = self._running()
        identity = self._identity if self._popen else None
        pid, started = (identity.pid, identity.started) if identity else (None, None)
        return Process(self.name, "worker", condition, pid, started, self.restarts)

    def _running(self) -> Condition:
        """Of a process that lives: does it get on?"""
        if self.beat is None:
            return "up" if time.monotonic() - self._begun > UP_S else "starting"
        age = age_s(self.beat)
        if age is None:
            return "starting" if time.monotonic() - self._begun < STALLED_S else "stalled"
        return "up" if age < STALLED_S else "stalled"

    def _died(self, status: int) -> None:
        self._popen = None
        if status == EX_CONFIG:
            self.absent = True
            log.warning("worker is not there", worker=self.name, log=str(self.logfile))
            return
        if time.monotonic() - self._begun > STEADY_S:
            self._pause_s = PAUSE_FIRST_S
        log.warning("worker died", worker=self.name, status=status, again_in_s=self._pause_s)
        self._due = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
