"""`python -m tests.fault.worker NAME`: one real worker, put together as `infra.assembly` does, that kills itself where told.

SIGHTLINE_FAULT_POINT     the named point (`polled`, `in-transaction`, `committed`; `read`, `ledger-sent`, `sent`)
SIGHTLINE_FAULT_NTH       the passing of it, from 1, at which SIGKILL strikes
SIGHTLINE_FAULT_SABOTAGE  a planted defect of `tests.fault.sabotage`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import structlog

from infra import assembly
from infra.logs import configure
from infra.settings import Settings
from tests.fault import sabotage

ROWS = 25
"""A batch is small, so that a few hundred facts make many."""


def kill_at(point: str, nth: int) -> Callable[[str], None]:
    """A hook that kills this process, as a power cut would, at the n-th passing of `point`."""
    passed = 0

    def hook(name: str) -> None:
        nonlocal passed
        if name == point:
            passed += 1
            if passed == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def main(name: str) -> None:
    """Run the worker until SIGTERM."""
    kind, _, number = name.partition("-")
    configure(name)
    settings = Settings.load()
    hook = kill_at(os.environ.get("SIGHTLINE_FAULT_POINT", ""), int(os.environ.get("SIGHTLINE_FAULT_NTH", "1")))
    if planted := os.environ.get("SIGHTLINE_FAULT_SABOTAGE"):
        sabotage.PLANTED[planted]()
    makers: dict[str, Callable[[], assembly.Stoppable]] = {
        "unify": lambda: assembly.unify(settings, int(number or 0), hook, ROWS),
        "relay": lambda: assembly.relay(settings, 0, hook),
        "clock": lambda: assembly.clock(settings, 0),
        "deliver": lambda: assembly.deliver(settings, 0),
    }
    assembly.until_stopped(makers[kind]())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception:  # as `sightline worker` does: logged without its text, then started again by whoever watches
        structlog.get_logger("sightline.worker").exception("worker died")
        os._exit(1)
