"""The processes of a rebuild, one a core: forked before anything is connected: none imports again what all of them use."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

from projections.bulk import Part, Tools, Work

SCHEMA: Final = "rebuilt"
"""Where the new tables fill."""

SIZE: Final = os.cpu_count() or 1


@contextmanager
def crew(tools: Tools) -> Iterator[ProcessPoolExecutor]:
    """A pool that does `run`, `execute` and `fold`; it has ended when this is left.

    Whoever calls has no connection open yet, on `tools` or otherwise: a fork shares what it finds.
    """
    pool = ProcessPoolExecutor(SIZE, multiprocessing.get_context("fork"), _begin, (tools, os.getpid()))
    try:
        for _ in range(SIZE):  # all of them begin with the first task
            pool.submit(ready)
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ready() -> None:
    """Connect, and learn the keys, before there is anything to do. Where that fails, whatever is to be done first tries again."""
    _at_work()


def run(values: Sequence[bytes], writers: dict[str, str], sent: int) -> Part:
    """`Work.run` of this process."""
    return _at_work().run(values, writers, sent)


def execute(statement: str) -> None:
    """`Work.execute` of this process."""
    _at_work().execute(statement)


def fold(child_ids: Sequence[str]) -> int:
    """`Work.fold` of this process."""
    return _at_work().fold(child_ids)


_tools: Tools | None = None
_work: Work | None = None


def _begin(tools: Tools, parent: int) -> None:
    """End with `parent`, which started this process, however and whenever it ends."""
    global _tools  # noqa: PLW0603  one a process, kept before the first run
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _tools = tools
    gc.disable()  # what a run makes is freed by counting references, and all else when the process ends


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _at_work() -> Work:
    """Connected, once."""
    global _work  # noqa: PLW0603  one a process
    if _work is None:
        assert _tools is not None
        _work = Work(_tools, SCHEMA)
    return _work
