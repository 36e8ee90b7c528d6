"""The workers of a house as real processes: started, watched, killed, frozen, and started again as the supervisor does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.processes import Identity, end, spawn
from tests.fault.history import History

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = ("unify-0", "unify-1", "relay", "clock", "deliver")
LOOK_S: Final = 0.05

Point = tuple[str, int]
"""A named point and the passing of it, from 1, at which a worker is killed."""


@dataclass(slots=True)
class Worker:
    """One worker process and what is to befall it: `armed` points strike one after another, one a life."""

    name: str
    environment: dict[str, str]
    log: Path
    armed: list[Point] = field(default_factory=list)
    struck: list[Point] = field(default_factory=list)
    deaths: list[int] = field(default_factory=list)
    prefix: tuple[str, ...] = ()
    popen: subprocess.Popen[bytes] | None = None
    point: Point | None = None

    def start(self) -> None:
        """Start it, with the next point armed."""
        self.point = self.armed.pop(0) if self.armed else None
        extra = {} if self.point is None else {"SIGHTLINE_FAULT_POINT": self.point[0], "SIGHTLINE_FAULT_NTH": str(self.point[1])}
        command = [*self.prefix, sys.executable, "-m", "tests.fault.worker", self.name]
        self.popen = spawn(command, log=self.log, env={**self.environment, **extra}, cwd=ROOT)

    def look(self) -> bool:
        """Has it died since? Then how is noted."""
        assert self.popen is not None
        code = self.popen.poll()
        if code is None:
            return False
        self.deaths.append(code)
        if self.point is not None and code == -signal.SIGKILL:
            self.struck.append(self.point)
        elif self.point is not None:
            self.armed.insert(0, self.point)  # it died of something else: the point is still to strike
        return True

    def thawed(self) -> None:
        """Its point is not to strike again when it stopped this life."""
        if self.point is not None and self.environment.get("SIGHTLINE_FAULT_SIGNAL") == "SIGSTOP":
            self.struck.append(self.point)
            self.point = None

    @property
    def pid(self) -> int:
        """Its process, dead or alive."""
        assert self.popen is not None
        return self.popen.pid


class Crew:
    """All workers of a house. Whoever dies is started again until `stop`."""

    def __init__(self, history: History, workers: Mapping[str, Worker]) -> None:
        self.history, self.workers = history, dict(workers)
        self._stopping = threading.Event()
        self._resting: set[str] = set()
        self._lock = threading.RLock()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Start everybody."""
        for worker in self.workers.values():
            worker.start()
        self._keeper.start()

    def add(self, worker: Worker) -> None:
        """One more, started at once."""
        with self._lock:
            worker.start()
            self.workers[worker.name] = worker

    def _keep(self) -> None:
        while not self._stopping.wait(LOOK_S):
            with self._lock:
                for worker in self.workers.values():
                    if worker.name not in self._resting and worker.look() and not self._stopping.is_set():
                        self.history.note("died", worker=worker.name, code=worker.deaths[-1])
                        worker.start()

    def rest(self, name: str, *, kill: bool = True) -> None:
        """End one (SIGKILL, or SIGTERM and wait) and leave it ended until `wake`."""
        with self._lock:
            self._resting.add(name)
            worker = self.workers[name]
        worker.popen.send_signal(signal.SIGKILL if kill else signal.SIGTERM)  # type: ignore[union-attr]
        worker.popen.wait(20)  # type: ignore[union-attr]

    def wake(self, name: str) -> None:
        """Start one that rested."""
        with self._lock:
            self.workers[name].start()
            self._resting.discard(name)

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again."""
        self.history.note("killed", worker=name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.workers[name].pid, signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self.history.note("frozen", worker=name)
        os.kill(self.workers[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT. A point that stops its worker has struck."""
        self.history.note("thawed", worker=name)
        self.workers[name].thawed()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.workers[name].pid, signal.SIGCONT)

    def stopped(self, name: str) -> bool:
        """Is it frozen just now (by itself or by us)?"""
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{self.workers[name].pid}/stat").read_text(errors="replace")
            return stat.rpartition(")")[2].split()[0] in "Tt"
        return False

    def struck(self) -> dict[str, list[Point]]:
        """The points at which each worker was killed."""
        return {w.name: list(w.struck) for w in self.workers.values() if w.struck}

    def deaths(self) -> dict[str, list[int]]:
        """How each one ended, each time."""
        return {w.name: list(w.deaths) for w in self.workers.values() if w.deaths}

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End everybody in good order; who will not is killed."""
        self._stopping.set()
        if self._keeper.is_alive():
            self._keeper.join(5)
        some = [w for w in self.workers.values() if names is None or w.name in names]
        running = [i for w in some if w.popen is not None and (i := Identity.of(w.popen.pid)) is not None]
        for identity in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGCONT)
                os.kill(identity.pid, signal.SIGTERM)
        for identity in running:
            end(identity, grace_s=8)

    def logs(self) -> bytes:
        """Everything the workers wrote."""
        return b"\n".join(w.log.read_bytes() for w in self.workers.values() if w.log.exists())
