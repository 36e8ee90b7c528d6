"""A loop that stands still ends its process; one that turns, however slowly, does not."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from infra.watch import EX_SOFTWARE, watch


def test_a_loop_that_stands_still_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    """With the stacks of all its threads in the log."""
    left, codes = threading.Event(), list[int]()

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    watch(lambda: 7, 2, leave)
    assert left.wait(15)
    assert [EX_SOFTWARE] == codes
    told = capfd.readouterr()
    assert "worker-hung" in told.out + told.err
    assert "test_a_loop_that_stands_still_is_ended" in told.err, "where the main thread stands"


def test_a_loop_that_turns_is_left_alone() -> None:
    """Each look sees another turn."""
    turns, looked, left = count(), threading.Semaphore(0), threading.Event()

    def turned() -> int:
        looked.release()
        return next(turns)

    enough = watch(turned, 2, lambda _: left.set())
    assert all(looked.acquire(timeout=15) for _ in range(5))
    enough.set()
    assert not left.is_set()
