"""Child processes that leave nothing behind: identity by pid and start time, spawn, end.

A pid alone is reused by the kernel; (pid, start time) is not, so a record on disk can be trusted after a crash.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launch.py")

_SPAWNER: Final = ThreadPoolExecutor(1, thread_name_prefix="spawner")
"""One thread that lives as long as the process: the kernel sends a death signal when the *thread* that forked ends,
so a child started from a short-lived thread (a test's, a pool's) would be ended with it."""

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
"""A log beyond this size is moved to `<name>.1` before the next start."""


@dataclass(frozen=True, slots=True)
class Account:
    """An operating-system user to run as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be confused with a later one of the same pid. `started` is in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of a living process; None when there is none, or only its remains (a zombie)."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """True while exactly this process runs."""
        return Identity.of(self.pid) == self


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals = signal.SIGKILL,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in its own session; it gets `death_signal` when this process ends, however it ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name(log.name + ".1"))
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal)), str(uid), str(gid)]
    argv += [str(part) for part in command]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )

    return _SPAWNER.submit(start).result()


def end(identity: Identity, *, grace_s: float, first: signal.Signals = signal.SIGTERM) -> bool:
    """Ask a process (recorded earlier) to end, then force it and its group. True when it was there."""
    if not identity.alive():
        return False
    _signal(identity, first, group=False)
    if not _gone(identity, grace_s):
        _signal(identity, signal.SIGKILL, group=True)
        _gone(identity, 5.0)
    return True


def signal_process(identity: Identity, number: signal.Signals) -> bool:
    """Send one signal to exactly this process. False when it is gone."""
    return identity.alive() and _signal(identity, number, group=False)


def _signal(identity: Identity, number: signal.Signals, *, group: bool) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group and os.getpgid(identity.pid) == identity.pid:  # its own group, never ours
            os.killpg(identity.pid, number)
        else:
            os.kill(identity.pid, number)
        return True
    return False


def _gone(identity: Identity, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while identity.alive():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
