"""A worker's process under the supervisor: it comes back after a death, not when its code is missing."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import records
from infra.heartbeat import VARIABLE
from infra.state import REPOSITORY, State
from infra.supervised import EX_CONFIG, Child
from infra.supervisor import Supervisor


def _child(tmp_path: Path, body: str, beat: Path | None = None) -> Child:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), VARIABLE: str(beat or "")}
    return Child("unify", [sys.executable, "-c", body], environment, tmp_path / "unify.log", beat)


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


class TestHeartbeat:
    """A worker is up when what it does succeeds, not when its process lives."""

    def test_a_worker_that_lives_and_achieves_nothing_is_not_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Starting at first, then stalled; a second of life is not enough."""
        monkeypatch.setattr("infra.supervised.STALLED_S", 1.5)
        child = _child(tmp_path, "import time; time.sleep(60)", beat=tmp_path / "beat")
        child.start()
        seen = _conditions_until(child, "stalled")
        child.ask_to_stop()
        child.stopped()
        assert ["starting", "stalled"] == seen

    def test_beats_make_it_up_and_their_end_stalled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It works, and then it hangs: another process of it begins anew, without the old one's beat."""
        works = tmp_path / "works"
        body = "import os, time\nfrom infra.heartbeat import Heartbeat\n"
        body += f"if os.path.exists({str(works)!r}): Heartbeat.of_this_process()()\ntime.sleep(60)"
        child = _child(tmp_path, body, beat=tmp_path / "beat")
        works.touch()
        child.start()
        seen = _conditions_until(child, "up")
        with monkeypatch.context() as patch:
            patch.setattr("infra.supervised.STALLED_S", 0.5)
            _conditions_until(child, "stalled", seen)
        works.unlink()
        pid = child.process().pid
        assert pid is not None
        os.kill(pid, 9)
        _tend_until(child, lambda: child.restarts == 1)
        assert "starting" == child.process().condition
        child.ask_to_stop()
        child.stopped()
        assert ["up", "stalled"] == [c for c in seen if c != "starting"]


def _conditions_until(child: Child, last: str, seen: list[str] | None = None, within_s: float = 20.0) -> list[str]:
    """Conditions one after another, without repetition, added to those `seen`."""
    seen = [] if seen is None else seen
    until = time.monotonic() + within_s
    while not seen or seen[-1] != last:
        assert time.monotonic() < until, seen
        if (now := child.process().condition) not in seen[-1:]:
            seen.append(now)
        time.sleep(0.02)
    return seen


def test_a_full_disk_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the record nor a dead worker's log can be written: those that live go on, and all is tried again."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    one = Supervisor(State.open(tmp_path / "state"), tell=lambda _: None)
    dead, alive = _child(tmp_path, "raise SystemExit(1)"), _child(tmp_path, "import time; time.sleep(60)")
    one.children = [dead, alive]
    for child in one.children:
        child.start()
    monkeypatch.setattr("infra.supervisor.PAUSE_MAX_S", 0.01)
    until = time.monotonic() + 20
    with monkeypatch.context() as patched:
        patched.setattr(records, "write", full)
        patched.setattr("infra.supervised.spawn", full)
        while dead.restarts < 2:
            assert time.monotonic() < until
            one._tend()
            one._record("running")
            time.sleep(0.01)
    assert (None, True) == (records.read(one.state), alive.process().pid is not None)
    one._record("running")
    assert records.read(one.state) is not None
    alive.ask_to_stop()
    alive.stopped()
