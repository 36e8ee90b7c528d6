"""What the broker, the database and the registry have in common: start, wait until ready, stop, kill, restart."""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import psutil

from infra.errors import StartError
from infra.processes import Account, Identity, spawn


class Part(ABC):
    """One server process on loopback. Not safe to start from two threads at once."""

    name: ClassVar[str]
    ready_timeout_s: ClassVar[float] = 180.0
    """A part that dies is noticed at once, so this only bounds a slow machine: with a load of 20 on 2 cores, 60 s was too short
    for the registry's first start."""

    stop_timeout_s: ClassVar[float] = 20.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    account: Account | None = None
    cwd: Path | None = None

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_mark = 0

    @abstractmethod
    def prepare(self) -> list[str]:
        """Make the data folder if needed, claim ports, write the configuration; returns the command."""

    @abstractmethod
    def ready(self) -> bool:
        """True when the part serves requests now. Quick, and quiet when it does not."""

    @property
    @abstractmethod
    def address(self) -> str:
        """host:port of the part."""

    @property
    def identity(self) -> Identity | None:
        """The running process; None when it is down."""
        process = self._process
        return Identity.of(process.pid) if process and process.poll() is None else None

    def start(self) -> float:
        """Start and wait until ready; returns the seconds it took, 0.0 when it ran already.

        Raises: StartError with the end of the log.
        """
        if self.identity:
            return 0.0
        begun = time.monotonic()
        command = self.prepare()
        self._log_mark = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(command, log=self.log, death_signal=self.death_signal, account=self.account, cwd=self.cwd)
        try:
            self._wait(self._process, begun + self.ready_timeout_s)
        except BaseException:  # interrupted or failed: leave no half-started server behind
            self.kill()
            raise
        return time.monotonic() - begun

    def stop(self) -> float:
        """End it in good order, by force after `stop_timeout_s`; returns the seconds it took."""
        begun = time.monotonic()
        process = self._process
        if process and process.poll() is None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(self.stop_timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None
        return time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL it and its children, as a power cut would."""
        process = self._process
        if process is None:
            return
        try:
            victims = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            victims = []
        for victim in victims:  # the parent first: it must not tidy up after its children
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(victims, timeout=10)
        process.wait(10)
        self._process = None

    def restart(self) -> float:
        """Start again after `kill` or `stop` (or stop first); same port, same data."""
        self.stop()
        return self.start()

    def logged(self) -> str:
        """What it has logged since the last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._log_mark if self._log_mark <= self.log.stat().st_size else 0)
            return file.read().decode(errors="replace")

    def _wait(self, process: subprocess.Popen[bytes], until: float) -> None:
        pause_s = 0.02
        while not self.ready():
            if process.poll() is not None:
                raise StartError(f"{self.name} ended while starting (exit {process.returncode}): {self._last_words()}")
            if time.monotonic() > until:
                raise StartError(f"{self.name} was not ready within {self.ready_timeout_s:.0f} s: {self._last_words()}")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, 0.2)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.logged().splitlines() if line.strip()]
        telling = [line for line in lines if "ERROR" in line or "FATAL" in line or "Exception" in line] or lines
        return f"{telling[-1][:300] if telling else 'nothing logged'}; the log is {self.log}"
