"""A worker whose loop stands still is ended with its stacks in its log, so that whoever supervises it starts it again.

Everything a worker waits for has a bound of its own. This is for what has none: seen once in some hundred starts, a member of a
consumer group that never came back from its client library (kafka-python 3.0.12) and was waited for without end.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

HUNG_S: Final = 30
"""Longer than the longest step: a batch that is sorted into records that fail takes 20 s."""

EX_SOFTWARE: Final = 70


def watch(turns: Callable[[], int], hung_s: int = HUNG_S, leave: Callable[[int], object] = os._exit) -> threading.Event:
    """Look once a second whether `turns` has risen; if it has not for `hung_s` looks, leave the process. Set the event to end.

    Looks are counted, not seconds: a process that was frozen as a whole has not stood still.
    """
    enough = threading.Event()

    def look() -> None:
        seen, still = turns(), 0
        while not enough.wait(1.0):
            now = turns()
            seen, still = now, still + 1 if now == seen else 0
            if still >= hung_s:
                log.error("worker-hung", seconds=still, alarm=True)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)  # names of functions and lines, no values (I7)
                leave(EX_SOFTWARE)
                return

    threading.Thread(target=look, name="watch", daemon=True).start()
    return enough
