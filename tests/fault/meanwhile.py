"""Something that goes on in a thread while a block runs: agencies talk, people decide, somebody reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(name: str, work: Callable[[threading.Event], None], leave_s: float) -> Iterator[threading.Thread]:
    """`work` is told by its event when it has been enough, and has `leave_s` to come to its end. Yields its thread."""
    enough = threading.Event()
    thread = threading.Thread(target=work, args=(enough,), name=name, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        enough.set()
        thread.join(leave_s)
