"""Nothing is left behind: children end with their parent, and a pid is never mistaken for an earlier process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from infra.processes import Identity, end, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def _gone(identity: Identity, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while identity.alive() and time.monotonic() < until:
        time.sleep(0.02)
    return not identity.alive()


def test_child_ends_when_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent takes the child along."""
    script = (
        "import sys, time; from pathlib import Path; from infra.processes import spawn\n"
        f"child = spawn({SLEEP!r}, log=Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    assert _gone(child)
    parent.stdout.close()


def test_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    """The kernel's death signal follows threads; ours follows the process."""
    made: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: made.append(spawn(SLEEP, log=tmp_path / "log")))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert made[0].poll() is None
    made[0].kill()
    made[0].wait()


def test_end_leaves_a_stranger_with_the_same_pid_alone(tmp_path: Path) -> None:
    """A record with another start time is another process."""
    child = spawn(SLEEP, log=tmp_path / "log")
    mine = Identity.of(child.pid)
    assert mine is not None
    assert not end(Identity(mine.pid, mine.started - 1), grace_s=0.1)
    assert child.poll() is None
    assert end(mine, grace_s=2)
    assert -signal.SIGTERM == child.wait(5)


def test_end_forces_what_does_not_listen(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after its grace."""
    deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"]
    log = tmp_path / "log"
    child = spawn(deaf, log=log)
    while not log.exists() or not log.read_text():
        time.sleep(0.02)
    identity = Identity.of(child.pid)
    assert identity is not None
    assert end(identity, grace_s=0.2)
    assert -signal.SIGKILL == child.wait(5)


def test_zombie_is_not_alive() -> None:
    """A process that ended and was not reaped does not run."""
    child = subprocess.Popen(["/bin/true"])
    identity = None
    until = time.monotonic() + 5
    while (identity := Identity.of(child.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    assert identity is None
    child.wait()
    assert Identity.of(os.getpid()) == Identity.of(os.getpid())
