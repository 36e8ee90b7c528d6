"""`python -m tests.fault.worker NAME`: one real worker, put together as `infra.assembly` does, that fails where told.

SIGHTLINE_FAULT_POINT     the named point (`polled`, `in-transaction`, `committed`; `read`, `ledger-sent`, `sent`;
                          `firing`, `fired`; `delivering`, `delivered`)
SIGHTLINE_FAULT_NTH       the passing of it, from 1, at which the signal strikes
SIGHTLINE_FAULT_SIGNAL    SIGKILL (default) or SIGSTOP
SIGHTLINE_FAULT_CLOCK     a file with the microseconds by which this house's clock is ahead of the machine's
SIGHTLINE_FAULT_SABOTAGE  a planted defect of `tests.fault.sabotage`
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from infra import assembly, stores
from infra.logs import configure
from infra.settings import Settings
from tests.fault import sabotage

ROWS = int(os.environ.get("SIGHTLINE_FAULT_ROWS", "25"))
"""A batch is small, so that a few hundred facts make many."""


def strike_at(point: str, nth: int, what: signal.Signals) -> Callable[[str], None]:
    """A hook that strikes this process, as a power cut would, at the n-th passing of `point`."""
    passed = 0

    def hook(name: str) -> None:
        nonlocal passed
        if name == point:
            passed += 1
            if passed == nth:
                os.kill(os.getpid(), what)

    return hook


def skewed(file: Path) -> Callable[[], int]:
    """This machine's time and as many microseconds as `file` says."""

    def now_us() -> int:
        return time.time_ns() // 1000 + int(file.read_text() or "0")

    return now_us


def main(name: str) -> None:
    """Run the worker until SIGTERM."""
    kind, _, number = name.partition("-")
    configure(name)
    settings = Settings.load()
    if clock := os.environ.get("SIGHTLINE_FAULT_CLOCK"):
        stores.now_us = skewed(Path(clock))
    env = os.environ.get
    what = signal.Signals[env("SIGHTLINE_FAULT_SIGNAL", "SIGKILL")]
    hook = strike_at(env("SIGHTLINE_FAULT_POINT", ""), int(env("SIGHTLINE_FAULT_NTH", "1")), what)
    if planted := env("SIGHTLINE_FAULT_SABOTAGE"):
        sabotage.PLANTED[planted]()
    makers: dict[str, Callable[[], assembly.Stoppable]] = {
        "unify": lambda: assembly.unify(settings, int(number or 0), hook, ROWS),
        "relay": lambda: assembly.relay(settings, 0, hook),
        "clock": lambda: assembly.clock(settings, 0, hook),
        "deliver": lambda: assembly.deliver(settings, 0, hook),
    }
    assembly.until_stopped(makers[kind]())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception:  # as `sightline worker` does: logged without its text, then started again by whoever watches
        structlog.get_logger("sightline.worker").exception("worker died")
        os._exit(1)
