"""A worker's process under the supervisor: it comes back after a death, not when its code is missing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.supervised import EX_CONFIG, Child


def _child(tmp_path: Path, body: str) -> Child:
    return Child("unify", [sys.executable, "-c", body], dict(os.environ), tmp_path / "unify.log")


def _tend_until(child: Child, done: Callable[[], bool], within_s: float = 10.0) -> None:
    until = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < until, child.process()
        child.tend()
        time.sleep(0.01)


def test_dead_worker_comes_back_within_five_seconds(tmp_path: Path) -> None:
    """I6: a worker that was killed runs again, as another process, and the restart is counted."""
    child = _child(tmp_path, "import time; time.sleep(60)")
    child.start()
    first = child.process().pid
    assert first is not None
    os.kill(first, 9)
    begun = time.monotonic()
    _tend_until(child, lambda: child.restarts == 1)
    assert time.monotonic() - begun < 5
    assert first != child.process().pid
    child.ask_to_stop()
    child.stopped()


def test_pause_grows_for_a_worker_that_keeps_dying(tmp_path: Path) -> None:
    """A broken worker does not eat the machine: three restarts take longer than three first pauses."""
    child = _child(tmp_path, "raise SystemExit(3)")
    child.start()
    begun = time.monotonic()
    _tend_until(child, lambda: child.restarts == 3)
    assert time.monotonic() - begun > 0.2 + 0.4 + 0.8
    child.ask_to_stop()
    child.stopped()


def test_worker_without_code_is_not_started_again(tmp_path: Path) -> None:
    """Exit status 78 says that another start would not help."""
    child = _child(tmp_path, f"raise SystemExit({EX_CONFIG})")
    child.start()
    _tend_until(child, lambda: child.absent)
    time.sleep(0.5)
    child.tend()
    assert ("absent", 0) == (child.process().condition, child.restarts)
